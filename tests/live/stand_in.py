"""An SDK without models for tests of the server, and the server on a port of its own."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from core.errors import InputError, StageError
from core.media import read_image
from core.motion import SAMPLES_PER_FRAME as BLOCK
from core.pipeline import Cancelled
from core.streaming.pace import Pace
from core.streaming.session import VideoFrame

DELAY = 3  # frames that a session looks ahead
SIZE = (48, 64)


class Session:
    """Frame n comes once block n + DELAY has; its brightness follows the loudness of block n."""

    def __init__(self, options: dict[str, Any]):
        self.options, self.blocks = options, []
        self.rests: list[int] = []
        self.closed = threading.Event()
        self._out: queue.Queue = queue.Queue()

    def push(self, samples: np.ndarray, timeout: float | None = None) -> None:
        if self.closed.is_set():
            raise Cancelled
        self.blocks.append(samples)
        n = len(self.blocks) - 1 - DELAY
        if n >= 0:
            level = min(255, int(50 + 200 * np.abs(self.blocks[n]).max()))
            self._out.put(VideoFrame(np.full((*SIZE, 3), level, np.uint8), n / 25, n, len(self.blocks) * BLOCK))

    def get(self, timeout: float | None = None) -> VideoFrame:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._out.get(timeout=0.02)
            if self.closed.is_set():
                raise StopIteration

    def keep_pace(self) -> Pace:
        return Pace()

    def rest_until(self, index: int) -> None:
        self.rests.append(index)

    def close(self) -> None:
        self.closed.set()


class Sdk:
    """What the server uses of StreamSDK. `hold`: jobs wait for it; `fail`: they raise it."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(audio2motion_cfg={})
        self.sessions: list[Session] = []
        self.jobs: list[dict[str, Any]] = []
        self.registered: list[Path] = []
        self.hold = threading.Event()
        self.hold.set()
        self.fail: Exception | None = None

    def options(self, **given: Any) -> dict[str, Any]:
        return given

    def register(self, path: Path, options: Any) -> Any:
        self.registered.append(Path(path))
        image = read_image(path, options["max_size"])
        if image.max() == 0:
            raise InputError(f"{path}: no face was found")
        return SimpleNamespace(frames=[np.zeros((*SIZE, 3), np.uint8)])

    def session(self, avatar: Any, **options: Any) -> Session:
        self.sessions.append(Session(options))
        return self.sessions[-1]

    def run(self, source: Path, audio: Path, output: Path, progress: Any, **options: Any) -> Any:
        self.jobs.append(options)
        if self.fail is not None:
            raise self.fail
        try:
            progress(0, 10)
            while not self.hold.wait(0.02):
                progress(1, 10)
        except Exception as error:  # as the pipeline does
            raise StageError("writer", error) from error
        Path(output).write_bytes(b"video of " + Path(source).read_bytes()[:4])
        return SimpleNamespace(frames=10, seconds=0.4, elapsed=0.1)


@contextlib.contextmanager
def running(app: Any, **more: Any) -> Iterator[str]:
    """The application on a free port of this machine, as scripts/serve.py runs it; gives its host:port."""
    import uvicorn

    options = {"ws_ping_interval": 1.5, "ws_ping_timeout": 3.0, "ws_max_size": 256 << 10, **more}
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(15)
        listening.close()


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    """Raises AssertionError when it does not become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.01)
