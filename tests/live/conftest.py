"""Servers for the tests: with a stand-in for the models, or with the embedded pack."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_in import Sdk, running

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sdk() -> Sdk:
    return Sdk()


@pytest.fixture
def make_client(sdk, tmp_path):
    """make_client(**settings) -> a client of a fresh server over the same state, for requests without a network."""
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    from fastapi.testclient import TestClient

    from live.server import make_app
    from live.settings import Settings

    opened = []

    def make(**settings):
        client = TestClient(make_app(sdk, Settings(**{"state": tmp_path / "state", **settings})))
        client.__enter__()
        opened.append(client)
        return client

    yield make
    sdk.hold.set()
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def serve(sdk, tmp_path):
    """serve(**settings) -> host:port of a real server with the stand-in."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    pytest.importorskip("websockets")
    from contextlib import ExitStack

    from live.server import make_app
    from live.settings import Settings

    with ExitStack() as stack:

        def start(**settings):
            app = make_app(sdk, Settings(**{"state": tmp_path / "state", **settings}))
            start.server = app.state.server
            return stack.enter_context(running(app))

        yield start


@pytest.fixture(scope="session")
def real_server(tmp_path_factory):
    """(host:port, server) with the embedded pack and small pictures."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    pytest.importorskip("websockets")
    from core.sdk import StreamSDK
    from live.server import make_app
    from live.settings import Limits, Settings

    limits = Limits(sessions=3, requests=1000, burst=1000)
    settings = Settings(state=tmp_path_factory.mktemp("state"), max_size=256, limits=limits)
    app = make_app(StreamSDK(data_root=ROOT / "checkpoints" / "ditto_lite"), settings)
    with running(app) as address:
        yield address, app.state.server


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A grey picture."""
    return cv2.imencode(".jpg", np.full((40, 60, 3), 128, np.uint8))[1].tobytes()


@pytest.fixture(scope="session")
def wav() -> bytes:
    """Half a second of a tone."""
    import io

    import soundfile

    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(np.arange(8000) / 5), 16000, format="WAV")
    return file.getvalue()
