"""app.py through a real Gradio server and client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.media import VideoReader

ROOT = Path(__file__).resolve().parent.parent
PORTRAIT, SENTENCE = ROOT / "example" / "portrait.png", ROOT / "example" / "sentence.wav"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    gradio_client = pytest.importorskip("gradio_client")
    pytest.importorskip("gradio")
    from app import build_page
    from core.sdk import StreamSDK

    workplace = tmp_path_factory.mktemp("work")
    page = build_page(StreamSDK(data_root=ROOT / "checkpoints" / "ditto_lite"), workplace)
    _, url, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, allowed_paths=[str(workplace)]
    )
    yield gradio_client.Client(url, verbose=False)
    page.close()


def talk(client, **changes):
    from gradio_client import handle_file

    inputs = {
        "picture": handle_file(PORTRAIT),
        "clip": None,
        "sound": handle_file(SENTENCE),
        "text": "",
        "voice": None,
        "emotion": "happy",
        "seed": 1,
        "crop_scale": 2.3,
        "max_size": 256,
    }
    return client.predict(**{**inputs, **changes}, api_name="/talk")


def test_a_portrait_talks(client):
    video, figures = talk(client)
    path = video["video"] if isinstance(video, dict) else video
    frames = list(VideoReader(path))
    assert frames[0].shape == (256, 256, 3)
    assert np.abs(frames[0].astype(int) - frames[len(frames) // 2]).max() > 30
    assert f"{len(frames)} frames" in figures


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"sound": None}, "Give speech first"),
        ({"picture": None}, "Give a portrait first"),
    ],
)
def test_what_is_missing_is_said(client, changes, words):
    with pytest.raises(Exception, match=words):
        talk(client, **changes)


def test_without_gradio_the_extra_is_named(tmp_path):
    (tmp_path / "gradio.py").write_text("raise ModuleNotFoundError('no', name='gradio')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: gradio is not installed; pip install -e '.[app]'\n"
