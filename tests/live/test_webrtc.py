"""WebRTC: an aiortc client against the server, with a stand-in for the models."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from fractions import Fraction

import av
import numpy as np
import pytest
from test_messages import damaged

pytest.importorskip("aiortc")
httpx = pytest.importorskip("httpx")

from aiortc import AudioStreamTrack, RTCPeerConnection, RTCSessionDescription

from live.settings import Limits

TONE = (0.5 * np.sin(np.arange(16000) / 3) * 32767).astype("<i2")


class ToneTrack(AudioStreamTrack):
    """A microphone with a tone, in pieces of 20 ms at 16 kHz."""

    async def recv(self):
        frame = await super().recv()
        loud = av.AudioFrame.from_ndarray(TONE[None, : frame.samples], format="s16", layout="mono")
        loud.pts, loud.time_base, loud.sample_rate = frame.pts, Fraction(1, frame.sample_rate), frame.sample_rate
        return loud


@asynccontextmanager
async def peer(address, microphone=None):
    """(connection, data channel, tracks by kind, messages) of a client."""
    pc, tracks, messages = RTCPeerConnection(), {}, []
    channel = pc.createDataChannel("control")
    channel.on("message", lambda text: messages.append(json.loads(text)))
    pc.on("track", lambda track: tracks.__setitem__(track.kind, track))
    pc.addTransceiver("video", direction="recvonly")
    if microphone is None:
        pc.addTransceiver("audio", direction="recvonly")
    else:
        pc.addTrack(microphone)
    await pc.setLocalDescription(await pc.createOffer())
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"http://{address}/webrtc/offer", json={"sdp": pc.localDescription.sdp}, timeout=20)
        assert answer.status_code == 200, answer.text
    await pc.setRemoteDescription(RTCSessionDescription(answer.json()["sdp"], "answer"))
    try:
        yield pc, channel, tracks, messages
    finally:
        await pc.close()


async def until(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def collect(track, seen):
    while True:
        frame = await track.recv()
        value = frame.to_ndarray(format="gray").mean() if track.kind == "video" else np.abs(frame.to_ndarray()).max()
        seen.append((asyncio.get_running_loop().time(), frame.time, float(value)))


async def first_loud(seen, level):
    await until(lambda: any(value > level for _, _, value in seen))
    return next(when for when, _, value in seen if value > level)


def test_pictures_and_sound_arrive_together(serve):
    address = serve()

    async def talk():
        async with peer(address) as (pc, channel, tracks, messages):
            await until(lambda: pc.connectionState == "connected" and channel.readyState == "open")
            light, sound = [], []
            tasks = [asyncio.create_task(collect(tracks[k], s)) for k, s in (("video", light), ("audio", sound))]
            await until(lambda: len(light) > 25)
            channel.send(TONE.tobytes())
            channel.send('{"type": "end"}')
            seen = await first_loud(light, 100), await first_loud(sound, 4000)
            channel.send('{"type": "ping", "id": 3}')
            await until(lambda: {"type": "pong", "id": 3} in messages)
            for task in tasks:
                task.cancel()
            return light, seen, {message["type"] for message in messages}

    light, (picture, sound), kinds = asyncio.run(talk())
    times = [time for _, time, _ in light]
    assert abs((times[-1] - times[0]) - (len(times) - 1) / 25) < 0.1
    assert abs(picture - sound) < 0.25  # the client's jitter buffer for sound is within it
    assert {"stats", "speaking", "pong"} <= kinds


def test_a_microphone_track_is_spoken_and_an_interruption_is_heard(serve, sdk):
    address = serve()

    async def talk():
        async with peer(address, ToneTrack()) as (pc, channel, _tracks, messages):
            await until(lambda: any(m["type"] == "speaking" and m["on"] for m in messages))
            channel.send('{"type": "interrupt"}')
            await until(lambda: {"type": "interrupted"} in messages)

    asyncio.run(talk())
    assert sdk.sessions[0].rests
    loud = [np.abs(block).max() for block in sdk.sessions[0].blocks]
    assert max(loud) == pytest.approx(0.5, abs=0.1)


def test_a_peer_that_goes_or_falls_silent_is_cleaned_up(serve, sdk):
    address = serve(limits=Limits(silent_seconds=2.0))

    async def talk(quietly):
        async with peer(address) as (pc, channel, _tracks, _messages):
            await until(lambda: channel.readyState == "open")
            if quietly:  # the network goes: nothing is sent or answered any more
                for transceiver in pc.getTransceivers():
                    await transceiver.receiver.transport.transport._connection.close()
                await until(lambda: serve.server.sessions.count == 0, 5)
        await until(lambda: serve.server.sessions.count == 0, 5)

    asyncio.run(talk(False))
    asyncio.run(talk(True))
    assert all(session.closed.is_set() for session in sdk.sessions)


def test_an_offer_without_a_peer_gives_its_place_back(serve):
    address = serve(limits=Limits(sessions=1, start_seconds=1.0))

    async def talk():
        pc = RTCPeerConnection()
        pc.addTransceiver("video", direction="recvonly")
        await pc.setLocalDescription(await pc.createOffer())
        offer = {"sdp": pc.localDescription.sdp}
        await pc.close()
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=20) as http:
            assert (await http.post("/webrtc/offer", json=offer)).status_code == 200
            full = await http.post("/webrtc/offer", json=offer)
            assert full.status_code == 503 and full.headers["retry-after"] == "10"
            assert (await http.get("/ready")).status_code == 503
            await until(lambda: serve.server.sessions.count == 0, 5)
            assert (await http.get("/ready")).status_code == 200

    asyncio.run(talk())


def test_damaged_offers_are_refused_and_leave_nothing(serve, sdk):
    address = serve(limits=Limits(requests=10_000, burst=10_000))
    rng = random.Random(3)

    async def offers():
        pc = RTCPeerConnection()
        pc.addTransceiver("video", direction="recvonly")
        await pc.setLocalDescription(await pc.createOffer())
        good = pc.localDescription.sdp
        await pc.close()
        lines = good.splitlines(keepends=True)
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=20) as http:
            codes = set()
            for k in range(60):
                if k % 2:
                    text = "".join(rng.sample(lines, rng.randrange(1, 5)))
                else:
                    text = "v=0\r\n" + "".join(chr(rng.randrange(32, 1000)) for _ in range(300))
                codes.add((await http.post("/webrtc/offer", json={"sdp": text})).status_code)
            codes.add((await http.post("/webrtc/offer", json={"sdp": "x" * 70_000})).status_code)
            codes.add((await http.post("/webrtc/offer", content=b"\xff")).status_code)
            codes.add((await http.post("/webrtc/offer", json={"sdp": good, "avatar": "../x"})).status_code)
            return codes

    codes = asyncio.run(offers())
    assert codes <= {200, 400, 422} and 400 in codes and 422 in codes
    asyncio.run(until(lambda: serve.server.sessions.count == 0, 10))
    assert all(session.closed.is_set() for session in sdk.sessions)


def test_bad_messages_on_the_channel_are_answered_until_it_is_too_many(serve):
    address = serve(limits=Limits(bad_messages=300))
    rng = random.Random(4)

    async def talk():
        async with peer(address) as (pc, channel, _tracks, messages):
            await until(lambda: channel.readyState == "open")
            for k in range(250):
                channel.send(damaged(rng).encode("utf-8", "replace").decode() if k % 2 else rng.randbytes(7))
            channel.send('{"type": "ping", "id": 9}')
            await until(lambda: {"type": "pong", "id": 9} in messages, 20)
            for _ in range(200):
                channel.send("nonsense")
            await until(lambda: serve.server.sessions.count == 0, 20)
        return [message for message in messages if message["type"] == "error"]

    assert len(asyncio.run(talk())) > 150
