"""WS /stream on a real server with a stand-in for the models."""

from __future__ import annotations

import gc
import io
import json
import random
import socket
import struct
import threading
import time
from contextlib import contextmanager

import av
import numpy as np
import pytest
from stand_in import wait_for
from test_messages import damaged

pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from core.errors import StageError
from core.media import SYNTHETIC_TAG
from core.motion import SAMPLES_PER_FRAME as BLOCK
from live.settings import Limits

PICTURE, SOUND, MP4 = 1, 2, 3
TONE = (0.5 * np.sin(np.arange(16000) / 3) * 32767).astype("<i2")


class Client:
    """A session over a WebSocket: messages sorted by kind."""

    def __init__(self, ws):
        self.ws = ws

    def send(self, **message):
        self.ws.send(json.dumps(message))

    def take(self, timeout=5.0):
        """A dictionary, or (kind, flags, number, milliseconds, content)."""
        message = self.ws.recv(timeout)
        if isinstance(message, str):
            return json.loads(message)
        kind, flags, zero, number, at = struct.unpack("<BBHII", message[:12])
        assert zero == 0
        return kind, flags, number, at, message[12:]

    def until(self, condition, seconds=10.0):
        """All messages up to the first that fits."""
        end, seen = time.monotonic() + seconds, []
        while time.monotonic() < end:
            seen.append(self.take())
            if condition(seen[-1]):
                return seen
        raise AssertionError(f"nothing fitted among {len(seen)} messages")


def is_type(name):
    return lambda message: isinstance(message, dict) and message["type"] == name


@contextmanager
def session(address, **start):
    with connect(f"ws://{address}/stream", max_size=None, compression=None) as ws:
        client = Client(ws)
        client.send(type="start", **start)
        yield client


def closing(client):
    """(code, reason) with which the server closes, and the messages before."""
    seen = []
    try:
        while True:
            seen.append(client.take())
    except ConnectionClosed as closed:
        return closed.rcvd.code, closed.rcvd.reason, seen


def test_a_turn_of_conversation(serve):
    with session(serve(), seed=4, emotion="happy") as client:
        started = client.take()
        assert started["type"] == "started" and (started["width"], started["height"]) == (64, 48)
        client.until(lambda m: isinstance(m, tuple) and m[0] == PICTURE)
        for piece in np.array_split(TONE, 37):
            client.ws.send(piece.tobytes())
        client.send(type="end")
        begun = client.until(is_type("speaking"))
        assert begun[-1]["on"]
        turn = begun + client.until(is_type("speaking"))
        assert not turn[-1]["on"]
        client.until(is_type("stats"))
    sounds = [m for m in turn if isinstance(m, tuple) and m[0] == SOUND]
    numbers = [m[2] for m in sounds]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert all(m[3] == 40 * m[2] and len(m[4]) == 2 * BLOCK for m in sounds)
    spoken = b"".join(m[4] for m in sounds if m[1] == 1)
    heard = np.frombuffer(spoken, "<i2")[: len(TONE)]
    assert np.abs(heard.astype(int) - TONE).max() <= 1
    assert serve.server.sessions is not None


def test_pictures_belong_to_their_sound(serve):
    import cv2

    with session(serve(), quality=95) as client:
        client.ws.send(TONE.tobytes())
        seen = client.until(lambda m: isinstance(m, tuple) and m[2] > 40)
    for kind, flags, number, _, content in (m for m in seen if isinstance(m, tuple)):
        if kind == PICTURE and number > 1:
            light = cv2.imdecode(np.frombuffer(content, np.uint8), 0).mean()
            assert abs(light - (150 if flags else 50)) < 6, number


def test_options_of_the_session_reach_the_models(serve, sdk):
    with session(serve(), seed=4, emotion="happy") as client:
        client.take()
    assert sdk.sessions[0].options == {"seed": 4, "emo": "happy"}


def test_mp4_can_be_decoded_as_it_comes(serve):
    with session(serve(), format="mp4") as client:
        described = client.until(is_type("mp4"))[-1]
        assert described["mime"].startswith('video/mp4; codecs="avc1.')
        seen = client.until(lambda m: isinstance(m, tuple) and m[2] >= 30)
    data = b"".join(m[4] for m in seen if isinstance(m, tuple))
    with av.open(io.BytesIO(data)) as container:
        assert container.metadata["comment"] == SYNTHETIC_TAG
        assert len(list(container.decode(video=0))) >= 25


def test_interrupt_is_heard_within_two_frames(serve, sdk):
    with session(serve()) as client:
        client.ws.send(np.tile(TONE, 5).tobytes())
        client.until(is_type("speaking"))
        client.send(type="interrupt")
        at = time.monotonic()
        client.until(lambda m: isinstance(m, tuple) and m[0] == SOUND and not any(m[4]))
        assert time.monotonic() - at < 0.2  # 80 ms, and room for a busy machine
        rest = client.until(is_type("stats"))
        assert not any(any(m[4]) for m in rest if isinstance(m, tuple) and m[0] == SOUND)
        assert sdk.sessions[0].rests


def test_a_text_is_spoken_and_an_interrupted_one_is_not(serve):
    from core.media.spoken_text import installed_voices

    if not installed_voices():
        pytest.skip("no speech synthesiser")
    with session(serve()) as client:
        client.send(type="say", text="Good morning")
        client.until(is_type("speaking"))
        client.send(type="say", text="This is never heard")
        client.send(type="interrupt")
        client.until(is_type("interrupted"))
        rest = client.until(is_type("stats"))[5:] + client.until(is_type("stats"))
        assert not any(m[1] for m in rest if isinstance(m, tuple))
        client.send(type="say", text="Hello", voice="nobody")
        assert client.until(is_type("error"))[-1]["code"] == "not_found"


@pytest.mark.parametrize("first, code", [
    ('{"type": "interrupt"}', "bad_message"),
    ("nonsense", "bad_message"),
    (b"\x00\x00", "bad_message"),
    ('{"type": "start", "token": "right", "avatar": "00000000000000000000000000000000"}', "not_found"),
    ('{"type": "start", "token": "wrong"}', "no_token"),
])  # fmt: skip
def test_a_bad_beginning_is_refused(serve, first, code):
    with connect(f"ws://{serve(token='right')}/stream") as ws:
        ws.send(first)
        closed, reason, seen = closing(Client(ws))
    assert closed == 1008 and reason and seen[-1]["code"] == code


def test_the_token_is_taken_from_the_message_or_the_header(serve):
    address = serve(token="right")
    with session(address, token="right") as client:
        assert client.take()["type"] == "started"
    with connect(f"ws://{address}/stream", additional_headers={"Authorization": "Bearer right"}) as ws:
        client = Client(ws)
        client.send(type="start")
        assert client.take()["type"] == "started"


def test_who_does_not_start_is_sent_away(serve):
    with connect(f"ws://{serve(limits=Limits(start_seconds=0.3))}/stream") as ws:
        assert closing(Client(ws))[0] == 1008


def test_a_full_server_says_so_at_once_and_has_room_again(serve):
    address = serve(limits=Limits(sessions=1))
    with session(address) as client:
        client.until(lambda m: isinstance(m, tuple))
        at = time.monotonic()
        with connect(f"ws://{address}/stream") as second:
            code, reason, seen = closing(Client(second))
        assert time.monotonic() - at < 1
        assert code == 1013 and "try again" in reason and seen[-1]["code"] == "full"
    wait_for(lambda: serve.server.sessions.count == 0)
    with session(address) as client:
        assert client.take()["type"] == "started"


def test_foreign_pages_are_refused(serve):
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{serve()}/stream", additional_headers={"Origin": "https://evil.example"})


def test_a_failing_stage_ends_the_session_with_a_reason(serve, sdk):
    with session(serve()) as client:
        client.until(lambda m: isinstance(m, tuple))
        fake = sdk.sessions[0]

        def broken(samples, timeout=None):
            raise StageError("warp_f3d", RuntimeError("secret"))

        fake.push = broken
        code, reason, seen = closing(client)
    assert code == 1011 and "secret" not in reason
    wait_for(lambda: serve.server.sessions.count == 0)


def test_two_thousand_bad_messages_neither_crash_nor_leak(serve):
    address = serve(limits=Limits(bad_messages=10**6))
    rng = random.Random(2)
    with session(address) as client:
        client.take()
        before = threading.active_count()
        threading.Thread(target=closing, args=(client,), daemon=True).start()
        for k in range(2500):
            text = damaged(rng).encode("utf-8", "replace").decode()
            client.ws.send(text if k % 3 else rng.randbytes(2 * rng.randrange(500) + 1))
        client.ws.send('{"type": "ping", "id": 77}')
        wait_for(lambda: "ditto_bad_messages_total" in serve.server.metrics.text().decode())
        gc.collect()
        assert threading.active_count() <= before + 3
    wait_for(lambda: serve.server.sessions.count == 0)
    counted = next(
        float(line.split()[1]) for line in serve.server.metrics.text().decode().splitlines()
        if line.startswith("ditto_bad_messages_total")
    )  # fmt: skip
    assert counted >= 1900
    with session(address) as client:
        assert client.take()["type"] == "started"


def test_too_many_bad_messages_end_the_session(serve):
    with session(serve(limits=Limits(bad_messages=3))) as client:
        client.take()
        for _ in range(5):
            client.ws.send("nonsense")
        code, _, seen = closing(client)
    assert code == 1008 and seen[-1]["code"] == "bad_messages"


def test_huge_messages_are_cut_off(serve):
    with session(serve()) as client:
        client.take()
        client.ws.send(b"\x00" * 300_000)
        assert closing(client)[0] == 1009


def test_a_flood_of_speech_is_refused_and_the_session_lives(serve):
    with session(serve()) as client:
        client.take()
        for _ in range(25):
            client.ws.send(np.tile(TONE, 6).tobytes())
        assert "waiting to be spoken" in client.until(is_type("error"))[-1]["message"]
        client.send(type="interrupt")
        client.until(is_type("interrupted"))


def raw_session(address):
    """A socket after the handshake and start, that answers nothing from here on."""
    host, port = address.split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    raw.sendall(
        f"GET /stream HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in raw.recv(1000)
    text = b'{"type": "start"}'
    raw.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    return raw


@pytest.mark.parametrize("goes", [True, False])
def test_a_client_that_vanishes_is_cleaned_up_within_5_s(serve, sdk, goes):
    raw = raw_session(serve())
    wait_for(lambda: serve.server.sessions.count == 1 and sdk.sessions)
    if goes:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    wait_for(lambda: serve.server.sessions.count == 0, 5.5)
    wait_for(lambda: sdk.sessions[0].closed.is_set(), 1)
    raw.close()


def test_a_slow_reader_loses_pictures_but_no_sound():
    """At the bridge: a reader that is away for a second."""
    import asyncio

    from stand_in import Session

    from core.streaming.conversation import Conversation
    from live.bridge import AsyncConversation

    async def watch():
        async with AsyncConversation(Conversation(Session({}))) as live:
            await anext(live)
            await asyncio.sleep(1.5)
            return [await anext(live) for _ in range(40)], live.dropped

    moments, dropped = asyncio.run(watch())
    assert [m.index for m in moments] == list(range(1, 41))
    lost = [m for m in moments if m.image is None]
    assert 15 < len(lost) <= dropped and all(len(m.sound) == BLOCK for m in moments)
    assert moments[-1].image is not None
