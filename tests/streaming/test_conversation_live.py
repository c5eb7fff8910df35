"""A conversation over the embedded pack: it idles, speaks in time with its lips, and hushes when interrupted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.lite.face_tracker import FaceTracker
from core.media import read_audio
from core.packs.pack import EMBEDDED
from core.sdk import StreamSDK
from core.streaming.conversation import Conversation

ROOT = Path(__file__).resolve().parents[2]
UPPER, LOWER, LEFT, RIGHT = 13, 14, 61, 291


@pytest.fixture(scope="module")
def sdk() -> StreamSDK:
    return StreamSDK(data_root=EMBEDDED)


@pytest.fixture(scope="module")
def avatar(sdk):
    return sdk.register(ROOT / "example" / "portrait.png", sdk.options(online_mode=True, max_size=320))


def openings(moments) -> np.ndarray:
    """Lip opening over mouth width in each picture."""
    tracker = FaceTracker.load(EMBEDDED)
    mesh, out = None, []
    for moment in moments:
        mesh = (tracker.static(moment.image)[0][0] if mesh is None else tracker.track(moment.image, mesh)).mesh
        out.append(np.linalg.norm(mesh[UPPER] - mesh[LOWER]) / np.linalg.norm(mesh[LEFT] - mesh[RIGHT]))
    return np.array(out)


def test_interruption_brings_the_lips_to_rest(sdk, avatar):
    speech = read_audio(ROOT / "example" / "sentence.wav")
    before, after = [], []
    with Conversation(sdk.session(avatar, seed=2)) as talk:
        idle = [next(talk) for _ in range(5)]
        talk.say(speech)
        while sum(m.speaking for m in before) < 30:
            before.append(next(talk))
        talk.interrupt()
        after = [next(talk) for _ in range(25)]
    spoken = [m for m in before if m.speaking]
    rest, talking, hushed = (openings(m) for m in (idle, spoken, after))
    assert talking.max() > rest.max() + 0.06
    assert not any(m.sound.any() for m in after)
    assert hushed[10:].max() < rest.max() + 0.03  # pictures on their way (more on a busy machine), three of easing
    assert [m.index for m in before + after] == list(range(5, len(before) + 30))
