"""A long conversation with the live server: rate, late frames, delay, lips against sound, memory, processor over time.

    python scripts/soak_live.py --minutes 30 --json soak.json

One WebSocket session at 512 x 512 hears a recording over and over, in pieces of 20 ms at the pace of a microphone, with
pauses and interruptions in between. One row per sixth of the time. Lips against sound is the shift at which the opening
of the lips, in the last 20 s of such a period, follows the loudness best: what matters is that it stays the same.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]  # run from a checkout, without installing the project

from core.cli.extras import needs

needs("serve", "psutil", "websockets")

import cv2
from benchmark_live import PIECE, SETTLE, SOUND, server
from websockets.sync.client import connect

from core.lite.face_tracker import FaceTracker
from core.media import read_audio
from core.motion import FPS, SAMPLE_RATE
from core.packs.pack import EMBEDDED

UPPER, LOWER, LEFT, RIGHT = 13, 14, 61, 291  # vertices of the inner lips and the corners of the mouth
PERIODS = 6
TURN, PAUSE, CUT = 20.0, 2.0, 7.0  # seconds of a turn and between turns; every third turn is interrupted after CUT
MOST_SHIFT = 12  # frames between lips and sound that are tried
KEPT = 20.0  # seconds of pictures at the end of a period
SAMPLE_EVERY = 5.0  # seconds between looks at the process


@dataclass
class Log:
    """What came in. `frames`: number -> arrival of the sound and of its picture, loudness. `kept`: JPEGs by number."""

    period: float
    start: float = field(default_factory=time.perf_counter)
    kept: dict[int, bytes] = field(default_factory=dict)
    frames: dict[int, list[float]] = field(default_factory=dict)
    delays: list[tuple[float, float]] = field(default_factory=list)  # when a turn began; seconds until its first sound
    stops: list[tuple[float, float]] = field(default_factory=list)  # the same for interruptions, until silence
    process: list[tuple[float, float, float]] = field(default_factory=list)  # time, resident MB, processor seconds
    stats: list[tuple[float, dict]] = field(default_factory=list)


class Listener:
    """Takes everything that the server sends."""

    def __init__(self, ws, log: Log):
        self._ws, self._log = ws, log
        self.turn_began: float | None = None  # set when a turn begins, cleared by its first sound
        self.cut_at: float | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for message in self._ws:
            self._take(message, time.perf_counter())

    def _take(self, message: str | bytes, now: float) -> None:
        if isinstance(message, str):
            content = json.loads(message)
            if content["type"] == "stats":
                self._log.stats.append((now, content))
            return
        kind, _, _, number, _ = struct.unpack("<BBHII", message[:12])
        row = self._log.frames.setdefault(number, [np.nan] * 3)
        if kind == SOUND:
            sound = np.frombuffer(message, "<i2", offset=12).astype(np.float32)
            row[0], row[2] = now, float(np.sqrt(np.mean(sound**2)))
            self._heard(now, bool(sound.any()))
        else:
            row[1] = now
            if (now - self._log.start) % self._log.period > self._log.period - KEPT:
                self._log.kept[number] = message[12:]

    def _heard(self, now: float, speech: bool) -> None:
        if speech and self.turn_began is not None:
            self._log.delays.append((now, now - self.turn_began))
            self.turn_began = None
        if not speech and self.cut_at is not None:
            self._log.stops.append((now, now - self.cut_at))
            self.cut_at = None


def speak(ws, listener: Listener, pcm: bytes, seconds: float) -> None:
    """One turn at the pace of a microphone."""
    start = listener.turn_began = time.perf_counter()
    for k in range(round(seconds * SAMPLE_RATE / PIECE)):
        wait = start + k * PIECE / SAMPLE_RATE - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        at = 2 * PIECE * k % (len(pcm) - 2 * PIECE)
        ws.send(pcm[at : at + 2 * PIECE])


def watch(process, log: Log, over: threading.Event) -> None:
    """Body of the thread that looks at the server's process."""
    while not over.wait(SAMPLE_EVERY):
        used = sum(process.cpu_times()[:2])
        log.process.append((time.perf_counter(), process.memory_info().rss / 2**20, used))


def converse(address: str, process, pcm: bytes, seconds: float) -> Log:
    """The whole conversation."""
    log, over = Log(seconds / PERIODS), threading.Event()
    watcher = threading.Thread(target=watch, args=(process, log, over))
    with connect(f"ws://{address}/stream", max_size=None, compression=None) as ws:
        ws.send('{"type": "start", "format": "jpeg"}')
        listener, end, turn = Listener(ws, log), time.perf_counter() + seconds, 0
        watcher.start()
        time.sleep(SETTLE)
        while time.perf_counter() < end:
            turn += 1
            cut = turn % 3 == 0
            speak(ws, listener, pcm, CUT if cut else TURN)
            ws.send('{"type": "interrupt"}' if cut else '{"type": "end"}')
            listener.cut_at = time.perf_counter() if cut else None
            time.sleep(PAUSE)
        over.set()
        watcher.join()
    return log


def openings(pictures: list[bytes]) -> np.ndarray:
    """Opening of the lips over the width of the mouth in each picture."""
    tracker, mesh, out = FaceTracker.load(EMBEDDED), None, []
    for data in pictures:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        mesh = (tracker.static(image)[0][0] if mesh is None else tracker.track(image, mesh)).mesh
        out.append(np.linalg.norm(mesh[UPPER] - mesh[LOWER]) / np.linalg.norm(mesh[LEFT] - mesh[RIGHT]))
    return np.array(out)


def shift(loudness: np.ndarray, lips: np.ndarray) -> float:
    """Milliseconds by which the lips follow the sound (negative: go before it)."""
    loud, inner = np.log(loudness + 30), slice(MOST_SHIFT, len(lips) - MOST_SHIFT)
    fits = [np.corrcoef(loud[inner], np.roll(lips, -k)[inner])[0, 1] for k in range(-MOST_SHIFT, MOST_SHIFT + 1)]
    best = int(np.clip(np.argmax(fits), 1, len(fits) - 2))
    left, middle, right = fits[best - 1 : best + 2]
    return 1000 / FPS * (best - MOST_SHIFT + 0.5 * (left - right) / (left - 2 * middle + right))


def period(log: Log, rows: np.ndarray, start: float, end: float) -> dict[str, float]:
    """One row of the table."""
    rows = rows[(rows[:, 1] >= start) & (rows[:, 1] < end)]
    inside = [p for p in log.process if start <= p[0] < end]
    delays, stops = ([1000 * s for when, s in part if start <= when < end] for part in (log.delays, log.stops))
    gaps = np.diff(rows[:, 2][np.isfinite(rows[:, 2])])
    stats = [s for when, s in log.stats if when < end]
    numbers = [int(n) for n in rows[:, 0] if int(n) in log.kept]
    lips = openings([log.kept[n] for n in numbers])
    return {
        "minutes": (end - start) / 60,
        "fps": len(gaps) / (rows[-1, 1] - rows[0, 1]),
        "latest_picture_ms": 1000 * float(gaps.max()) - 1000 / FPS,
        "underruns": stats[-1]["underruns"],
        "dropped": stats[-1]["dropped"],
        "missing_pictures": int(np.isnan(rows[:, 2]).sum()),
        "picture_after_sound_ms": 1000 * float(np.nanmax(rows[:, 2] - rows[:, 1])),
        "lips_after_sound_ms": shift(np.array([log.frames[n][2] for n in numbers]), lips),
        "delay_ms_median": float(np.median(delays)) if delays else np.nan,
        "delay_ms_worst": max(delays, default=np.nan),
        "interrupted_ms_worst": max(stops, default=np.nan),
        "memory_mb": inside[-1][1],
        "cores": (inside[-1][2] - inside[0][2]) / (inside[-1][0] - inside[0][0]),
    }


def report(log: Log, seconds: float) -> list[dict[str, float]]:
    """A row per period."""
    rows = np.array([[number, *log.frames[number]] for number in sorted(log.frames)])
    start, length = log.start, seconds / PERIODS
    return [period(log, rows, start + k * length, start + (k + 1) * length) for k in range(PERIODS)]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--audio", type=Path, default=ROOT / "example" / "speech.wav", help="16 kHz mono after reading")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()
    samples = read_audio(args.audio)
    samples = samples[np.argmax(np.abs(samples) > 0.1 * np.abs(samples).max()) :]  # begins with speech
    pcm = (samples * 32767).astype("<i2").tobytes()
    with server("auto", 1, 1) as (address, process):
        rows = report(converse(address, process, pcm, 60 * args.minutes), 60 * args.minutes)
    for row in rows:
        print(" ".join(f"{name}={value:.2f}" for name, value in row.items()))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
