"""Short clips for the tests of the preparation: the example portrait, turned a little, with the example speech."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.media import VideoWriter, read_audio, read_image
from prepare_data.data_info import data_info_for
from prepare_data.sound import write_wav

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 12


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """(256, 256, 3) uint8 RGB."""
    return cv2.resize(read_image(ROOT / "example" / "portrait.png"), (256, 256), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="session")
def make_clip(portrait: np.ndarray) -> Callable[..., Path]:
    """make_clip(path, frames=12, fps=25, sound=True, picture=None) -> a video of the portrait, turning a little."""
    speech = read_audio(ROOT / "example" / "speech.wav")[16000:]

    def make(
        path: Path, frames: int = FRAMES, fps: int = 25, sound: bool = True, picture: np.ndarray | None = None
    ) -> Path:
        image = portrait if picture is None else picture
        path.parent.mkdir(parents=True, exist_ok=True)
        wav = path.with_suffix(".wav")
        if sound:
            write_wav(wav, speech[: round(frames * 16000 / fps)])
        height, width = image.shape[:2]
        writer = VideoWriter(path, (height, width), fps=fps, audio=wav if sound else None, tag=False)
        for k in range(frames):
            turn = cv2.getRotationMatrix2D((width / 2, height / 2), 3 * np.sin(k / 3), 1)
            writer.write(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE))
        writer.close()
        wav.unlink(missing_ok=True)
        return path

    return make


@pytest.fixture(scope="session")
def write_info() -> Callable[..., Path]:
    """write_info(folder, videos) -> the data_info.json for these videos, everything made below `folder`."""

    def write(folder: Path, videos: list[Path]) -> Path:
        path = folder / "data_info.json"
        path.write_text(json.dumps(data_info_for([str(video) for video in videos], folder)))
        return path

    return write
