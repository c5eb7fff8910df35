"""A headless Chromium for tests of pages, and what its canvas or video shows.

DITTO_SCREENSHOTS=docs/img writes the pictures of the documentation.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MOUTH = (0.38, 0.27, 0.6, 0.4)  # left, top, right, bottom of the example portrait, as parts of the picture
_PIXELS = """([left, top, right, bottom]) => {
  const video = document.getElementById("video"), canvas = document.getElementById("canvas");
  const from = video.hidden ? canvas : video;
  const width = from.videoWidth ?? from.width, height = from.videoHeight ?? from.height;
  if (!width) return null;
  const copy = new OffscreenCanvas(width, height), context = copy.getContext("2d");
  context.drawImage(from, 0, 0);
  const [x, y] = [Math.round(left * width), Math.round(top * height)];
  const data = context.getImageData(x, y, Math.round(right * width) - x, Math.round(bottom * height) - y);
  return [data.width, data.height, Array.from(data.data.filter((_, i) => i % 4 === 1))];
}"""


@contextmanager
def chromium(microphone: Path | None = None) -> Iterator[Any]:
    """A browser whose microphone plays a wav file; skips the test when there is none."""
    api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium")
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def pixels(page: Any, area: tuple[float, float, float, float] = MOUTH) -> np.ndarray:
    """(h, w) green channel of a part of what the page's avatar shows now."""
    found = page.evaluate(_PIXELS, list(area))
    assert found is not None, "there is no picture"
    width, height, data = found
    return np.array(data, np.float32).reshape(height, width)


def movement(page: Any, seconds: float = 1.6, every: float = 0.08) -> float:
    """Mean change of the mouth's pixels between looks."""
    looks = []
    for _ in range(round(seconds / every)):
        looks.append(pixels(page))
        page.wait_for_timeout(1000 * every)
    return float(np.mean([np.abs(a - b).mean() for a, b in zip(looks, looks[1:])]))


def shoot(page: Any, name: str) -> None:
    """A picture of the page for the documentation, when they are asked for."""
    folder = os.environ.get("DITTO_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(__file__).resolve().parents[1] / folder / f"{name}.jpg", type="jpeg", quality=82)
