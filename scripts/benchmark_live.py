"""Live sessions of this machine: rates, delays, memory, and how many at once. Used by benchmark.py --what live.

    python scripts/benchmark.py --what live
    python scripts/benchmark_live.py --seconds 60 --most 4     # the same alone

Starts scripts/serve.py and talks to it over WebSockets as a microphone would, in pieces of 20 ms. The delay runs from
the moment when the first piece is sent to the arrival of the first picture whose lips have moved.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # run from a checkout, without installing the project

from core.cli.extras import needs

needs("serve", "psutil", "websockets")

import cv2
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from core.media import read_audio
from core.motion import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME

PIECE = SAMPLE_RATE // 50  # samples per message
PICTURE, SOUND = 1, 2
SETTLE = 3.0  # seconds until a session idles evenly
REAL_TIME = 0.98  # of 25 fps, that a session must hold


@dataclass
class Seen:
    """What one client saw. `pictures`: (arrival, frame number, speaking, small grey picture)."""

    pictures: list[tuple[float, int, bool, np.ndarray]] = field(default_factory=list)
    silent: list[tuple[float, bool]] = field(default_factory=list)  # arrival of sound, whether it is silence
    stats: list[dict] = field(default_factory=list)
    error: str | None = None


class Client:
    """One session, read by a thread of its own."""

    def __init__(self, address: str, keep: bool):
        self.seen, self._keep = Seen(), keep
        self._open = ExitStack()
        self._ws = self._open.enter_context(connect(f"ws://{address}/stream", max_size=None, compression=None))
        self._ws.send(json.dumps({"type": "start", "format": "jpeg"}))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def speak(self, samples: np.ndarray) -> float:
        """At the pace of a microphone; returns when the first piece left."""
        pcm, start = (samples * 32767).astype("<i2"), time.perf_counter()
        for at in range(0, len(pcm), PIECE):
            wait = start + at / SAMPLE_RATE - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            self._ws.send(pcm[at : at + PIECE].tobytes())
        self._ws.send('{"type": "end"}')
        return start

    def interrupt(self) -> float:
        """Returns when it left."""
        self._ws.send('{"type": "interrupt"}')
        return time.perf_counter()

    def close(self) -> None:
        """End the session."""
        self._open.close()
        self._reader.join(5)

    def _read(self) -> None:
        try:
            for message in self._ws:
                self._take(message, time.perf_counter())
        except ConnectionClosed as error:
            self.seen.error = str(error)

    def _take(self, message: str | bytes, now: float) -> None:
        if isinstance(message, str):
            content = json.loads(message)
            if content["type"] == "stats":
                self.seen.stats.append(content)
            elif content["type"] == "error":
                self.seen.error = content["message"]
            return
        kind, flags, _, number, _ = struct.unpack("<BBHII", message[:12])
        if kind == SOUND:
            self.seen.silent.append((now, not any(message[12:])))
            return
        data = np.frombuffer(message, np.uint8, offset=12)
        small = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_4) if self._keep else np.zeros(0, np.uint8)
        self.seen.pictures.append((now, number, bool(flags & 1), small))


@contextmanager
def server(pack: str, sessions: int, step: int) -> Iterator[tuple[str, psutil.Process]]:
    """A server of our own: its host:port and process."""
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, str(ROOT / "scripts" / "serve.py"), "--port", "0", "--state", state]
        command += ["--data_root", pack, "--sessions", str(sessions), "--step", str(step)]
        environment = {name: value for name, value in os.environ.items() if name != "DITTO_TOKEN"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            yield process.stdout.readline().strip().removeprefix("http://"), psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(20)


def lips(idle: list[np.ndarray], talking: list[np.ndarray]) -> np.ndarray:
    """Mask of the pixels that speech moves."""
    before, after = (np.abs(np.diff(np.float32(pictures), axis=0)).mean(axis=0) for pictures in (idle, talking))
    score = after - 2 * before
    return score >= np.partition(score.ravel(), -100)[-100]


def first_moved(client: Client, start: float, mask: np.ndarray) -> float | None:
    """Seconds from `start` to the first picture whose lips moved more than they did while idle."""
    changes = [
        (b[0], float(np.abs(b[3][mask].astype(np.float32) - a[3][mask]).mean()))
        for a, b in zip(client.seen.pictures, client.seen.pictures[1:])
    ]
    idle = [change for when, change in changes if start - 1.2 < when < start]
    limit = max(idle) + 2 * float(np.std(idle)) + 0.5
    return next((when - start for when, change in changes if when > start and change > limit), None)


def delays(client: Client, speech: np.ndarray, turns: int) -> dict[str, float]:
    """Delay of the first picture of a turn, of the first moved lips, and of interruptions."""
    time.sleep(SETTLE)
    idle = [picture[3] for picture in client.seen.pictures[-2 * FPS :]]
    client.speak(speech[: 3 * SAMPLE_RATE])
    mask = lips(idle, [picture[3] for picture in client.seen.pictures if picture[2]])
    first, moved, stopped = [], [], []
    for _ in range(turns):
        time.sleep(2.0)
        start = client.speak(speech[: 2 * SAMPLE_RATE])
        first.append(next(p[0] for p in client.seen.pictures if p[0] > start and p[2]) - start)
        moved.append(first_moved(client, start, mask))
        at = client.interrupt()
        time.sleep(0.5)
        stopped.append(next((when - at for when, silent in client.seen.silent if when > at and silent), np.nan))
    lip = [value for value in moved if value is not None]
    return {
        "first PCM to first picture of the speech, ms, median": 1000 * float(np.median(first)),
        "first PCM to first moved lips, ms, median": 1000 * float(np.median(lip)) if lip else np.nan,
        "first PCM to first moved lips, ms, worst": 1000 * float(np.max(lip)) if lip else np.nan,
        "interruption to silence, ms, worst": 1000 * float(np.nanmax(stopped)),
    }


def audio_needed(pack: str, source: Path, step: int) -> float:
    """Milliseconds of speech that must have been heard before a frame can be made, at most."""
    from core.sdk import StreamSDK
    from live.settings import low_delay

    sdk = StreamSDK(data_root=pack)
    options = {**low_delay(sdk.config, step), "max_size": 128}
    frames = sdk.stream(source, np.zeros((2 * FPS, SAMPLES_PER_FRAME), np.float32), **options)
    return 1000 / FPS * max(-(-frame.heard // SAMPLES_PER_FRAME) - frame.index for frame in frames)


def hold(address: str, process: psutil.Process, speech: np.ndarray, count: int, seconds: float) -> dict[str, float]:
    """`count` sessions that speak without a pause: frames per second of the slowest, processor, underruns, memory."""
    clients = [Client(address, keep=False) for _ in range(count)]
    time.sleep(SETTLE)
    for client in clients:
        client.seen.pictures.clear()
    before = [len(c.seen.stats) and c.seen.stats[-1]["underruns"] for c in clients]
    busy, memory, start = sum(process.cpu_times()[:2]), process.memory_info().rss, time.perf_counter()
    long = np.resize(speech, round(seconds * SAMPLE_RATE))
    talkers = [threading.Thread(target=client.speak, args=(long,)) for client in clients]
    for talker in talkers:
        talker.start()
    for talker in talkers:
        talker.join()
    elapsed = time.perf_counter() - start
    cores = (sum(process.cpu_times()[:2]) - busy) / elapsed
    fps = min(len(client.seen.pictures) for client in clients) / elapsed
    late = sum(client.seen.stats[-1]["underruns"] for client in clients) - sum(before)
    grown = (process.memory_info().rss - memory) / 2**20
    for client in clients:
        client.close()
    time.sleep(1.0)
    return {"fps": fps, "cores": cores, "underruns": float(late), "grown": grown}


def live(
    pack: str, source: Path, audio: Path, turns: int = 5, seconds: float = 20.0, most: int | None = None, step: int = 1
) -> dict[str, float]:
    """Rows of the table."""
    speech = read_audio(audio)
    speech = speech[np.argmax(np.abs(speech) > 0.1 * np.abs(speech).max()) :]  # begins with speech
    most = most or 2 * (os.cpu_count() or 1)
    needed = audio_needed(pack, source, step)
    rows = {"speech needed before the first frame, ms": needed}
    with server(pack, most + 1, step) as (address, process):
        client = Client(address, keep=True)
        rows |= delays(client, speech, turns)
        client.close()
        time.sleep(SETTLE)  # for the server to clean up
        real_time = 0
        for count in range(1, most + 1):
            found = hold(address, process, speech, count, seconds)
            if count == 1:
                rows |= {
                    "one session, pictures per second": found["fps"],
                    "one session, processor cores": found["cores"],
                    "one session, underruns": found["underruns"],
                    f"memory growth in {seconds:g} s, MB": found["grown"],
                }
            if found["fps"] < REAL_TIME * FPS:
                break
            real_time = count
    return rows | {"sessions that stay real-time": float(real_time)}


def rows(args: argparse.Namespace) -> dict[str, float]:
    """Rows for `benchmark.py --what live`."""
    pack = "auto" if args.pack == "ditto_lite" else args.pack
    return live(pack, args.source, args.audio, max(args.runs, 3), args.seconds or 20.0)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default="auto", help="folder of a model pack, or 'auto' [auto]")
    parser.add_argument("--source", type=Path, default=ROOT / "example" / "portrait.png")
    parser.add_argument("--audio", type=Path, default=ROOT / "example" / "speech.wav")
    parser.add_argument("--turns", type=int, default=5, help="turns whose delay is measured [5]")
    parser.add_argument("--seconds", type=float, default=20.0, help="of speech per number of sessions [20]")
    parser.add_argument("--step", type=int, default=1, help="of the server [1]")
    parser.add_argument("--most", type=int, help="sessions to try at most [twice the number of cores]")
    for name, value in live(**vars(parser.parse_args())).items():
        print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main()
