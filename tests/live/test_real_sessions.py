"""The server with the embedded pack: sessions share the models and never mix; memory; the load of many turns."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_in import wait_for

pytest.importorskip("websockets")

from test_stream import PICTURE, SOUND, is_type, session

from core.media import read_audio
from live.pcm import to_pcm

ROOT = Path(__file__).resolve().parents[2]
MOUTH = slice(70, 100), slice(100, 150)  # of the example portrait at 256 pixels


def voice(name: str) -> np.ndarray:
    samples = read_audio(ROOT / "example" / name)[: 16000 * 2]
    return samples / np.abs(samples).max() * 0.7


def conversation(address, speech, out, **start):
    """Speech and what comes back until it is over, sound (n,) and the pictures' mouths; 4 s of idling without any."""
    with session(address, **start) as client:
        client.until(lambda m: isinstance(m, tuple), 20)
        for piece in np.array_split(speech, 50):
            client.ws.send(to_pcm(piece))
        client.send(type="end")
        end, sounds, mouths = time.monotonic() + (40 if len(speech) else 4), [], []
        while time.monotonic() < end and (not len(speech) or sum(map(len, sounds)) < len(speech)):
            message = client.take(10)
            if isinstance(message, dict):
                continue
            if message[0] == SOUND and message[1]:
                sounds.append(np.frombuffer(message[4], "<i2") / 32767)
            elif message[0] == PICTURE:
                picture = cv2.imdecode(np.frombuffer(message[4], np.uint8), 0)
                mouths.append((message[1], picture[MOUTH].astype(float)))
    out.update(sound=np.concatenate(sounds) if sounds else np.zeros(0), mouths=mouths)


def movement(mouths, speaking):
    """Mean change of the mouth's pixels from frame to frame."""
    pairs = [(a[1], b[1]) for a, b in zip(mouths, mouths[1:]) if a[0] == b[0] == speaking]
    return float(np.mean([np.abs(a - b).mean() for a, b in pairs])) if pairs else 0.0


def test_sessions_with_different_voices_never_mix(real_server):
    address, server = real_server
    voices = [voice("sentence.wav"), voice("speech.wav"), np.zeros(0, np.float32)]
    results = [{} for _ in voices]
    threads = [
        threading.Thread(target=conversation, args=(address, speech, out), kwargs={"seed": k})
        for k, (speech, out) in enumerate(zip(voices, results))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for own, other, result in ((voices[0], voices[1], results[0]), (voices[1], voices[0], results[1])):
        heard = result["sound"]
        n = min(len(heard), len(own))
        assert n > 16000
        assert np.abs(heard[:n] - own[:n]).max() < 1e-3
        assert np.corrcoef(heard[:n], np.resize(other, n))[0, 1] < 0.3
        assert movement(result["mouths"], 1) > 2 * movement(results[2]["mouths"], 0)
    assert len(results[2]["sound"]) == 0
    wait_for(lambda: server.sessions.count == 0)


def soak(real_server, seconds: float) -> tuple[float, int]:
    """Growth of memory in MB over turns of speech, interruptions and reconnections; and turns."""
    import psutil

    address, server = real_server
    process, speech = psutil.Process(), to_pcm(voice("sentence.wav"))
    turns, start, first, ahead = 0, time.monotonic(), None, 0.0
    while time.monotonic() - start < seconds:
        with session(address, seed=turns, format=("jpeg", "mp4")[turns % 2]) as client:
            opened = time.monotonic()
            while time.monotonic() - opened < min(60.0, seconds / 4):
                client.ws.send(speech)
                client.send(type="end")
                client.until(is_type("speaking"), 20)
                seen = client.until(is_type("stats"), 20)
                client.send(type="interrupt")
                client.until(is_type("interrupted"))
                turns += 1
                sounds = [m for m in seen if isinstance(m, tuple) and m[0] in (PICTURE, SOUND)]
                ahead = max([ahead, *(abs(a[3] - b[3]) for a, b in zip(sounds, sounds[1:]))])
        wait_for(lambda: server.sessions.count == 0)
        if first is None and time.monotonic() - start > seconds / 3:
            first = process.memory_info().rss
    assert ahead <= 40 * 8  # pictures that were dropped leave a hole, sound does not
    return (process.memory_info().rss - (first or 0)) / 2**20, turns


def test_a_short_soak_leaves_no_threads(real_server):
    before = {thread.name for thread in threading.enumerate()}
    growth, turns = soak(real_server, 6)
    assert turns >= 2
    names = {thread.name for thread in threading.enumerate()} - before
    assert not {name for name in names if name.startswith("conversation")}
    print(json.dumps({"turns": turns, "growth_mb": round(growth, 1)}))


@pytest.mark.slow
@pytest.mark.skipif("DITTO_SOAK" not in os.environ, reason="ten minutes; set DITTO_SOAK=1")
def test_ten_minutes_of_turns_keep_memory_flat(real_server):
    growth, turns = soak(real_server, 600)
    assert turns > 100 and growth < 20
