"""Control messages: what is taken, and that nothing else gets through."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pydantic")

from live.faults import Fault
from live.messages import End, Interrupt, Ping, Say, Start, parse

GOOD = [
    {"type": "start", "format": "mp4", "seed": 3, "emotion": "happy", "token": "x"},
    {"type": "interrupt"}, {"type": "end"}, {"type": "say", "text": "Hello"}, {"type": "ping", "id": 4},
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)


def test_good_messages_are_taken():
    kinds = [type(parse(json.dumps(message))) for message in GOOD]
    assert kinds == [Start, Interrupt, End, Say, Ping]
    assert parse('{"type": "start"}').avatar == "example"


@pytest.mark.parametrize("text, words", [
    ("", "not a JSON object"),
    ("[" * 10_000, "not a JSON object"),
    ("[]", "dictionary"),
    ('{"type": "boom"}', "does not match any of the expected tags"),
    ('{"type": "start", "avatar": "../../etc/passwd"}', "avatar"),
    ('{"type": "start", "seed": "1"}', "seed"),
    ('{"type": "start", "seed": true}', "seed"),
    ('{"type": "start", "quality": 1e400}', "quality"),
    ('{"type": "start", "emotion": "neutral\\u0000"}', "emotion"),
    ('{"type": "start", "chunksize": [1, 2, 3]}', "chunksize"),
    ('{"type": "say", "text": ""}', "text"),
    ('{"type": "ping", "id": NaN}', "id"),
    ("x" * 20_000, "at most"),
])  # fmt: skip
def test_bad_messages_are_one_line(text, words):
    with pytest.raises(Fault, match=words) as caught:
        parse(text)
    assert caught.value.status == 400 and "\n" not in str(caught.value) and len(str(caught.value)) < 300


@settings(max_examples=600)
@given(JSON)
def test_any_json_is_a_message_or_a_fault(value):
    try:
        parse(json.dumps(value))
    except Fault:
        pass


def damaged(rng: random.Random) -> str:
    """A good message with something wrong in it."""
    message = dict(rng.choice(GOOD))
    key = rng.choice([*message, "extra", "__proto__"])
    message[key] = rng.choice([None, -1, 2**70, 1.5, "", "\x00", "../..", [], {}, [[]], True, "a" * 5000])
    text = json.dumps(message)
    if rng.random() < 0.3:
        text = text[: rng.randrange(len(text))]
    if rng.random() < 0.3:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(['"', "{", "\ud800", "\x00", "NaN", "9" * 4400]) + text[at:]
    return text


def test_two_thousand_damaged_messages_raise_nothing_but_faults():
    rng, refused = random.Random(1), 0
    for _ in range(2500):
        try:
            parse(damaged(rng))
        except Fault:
            refused += 1
    assert refused > 2000
