"""app.py in a real browser: a portrait and a recording become a video that plays."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import chromium, shoot

ROOT = Path(__file__).resolve().parent.parent
PORTRAIT, SENTENCE = ROOT / "example" / "portrait.png", ROOT / "example" / "sentence.wav"
_SHOWN = """async () => {
  const video = document.querySelector("video");
  await new Promise((ready) => video.readyState > 1 ? ready() : video.addEventListener("loadeddata", ready));
  const copy = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext("2d");
  const sums = [];
  for (const time of [0, 0.5, 1, 1.5]) {
    const seeked = new Promise((done) => video.addEventListener("seeked", done, { once: true }));
    video.currentTime = time + 0.01;
    await seeked;
    copy.drawImage(video, 0, 0);
    sums.push(copy.getImageData(0, 0, video.videoWidth, video.videoHeight).data.reduce((a, b) => a + b, 0));
  }
  return [video.videoWidth, video.videoHeight, video.duration, sums];
}"""


def test_a_video_is_made_and_plays(tmp_path):
    pytest.importorskip("gradio")
    from app import build_page
    from core.sdk import StreamSDK

    built = build_page(StreamSDK(data_root=ROOT / "checkpoints" / "ditto_lite"), tmp_path)
    options = {"prevent_thread_lock": True, "quiet": True, "allowed_paths": [str(tmp_path)]}
    _, url, _ = built.launch(server_name="127.0.0.1", **options)
    try:
        with chromium() as browser:
            page = browser.new_page(viewport={"width": 1200, "height": 1080})
            page.goto(url)
            page.get_by_role("tab", name="Speech").wait_for(timeout=30000)
            page.get_by_text("Controls").click()
            page.get_by_label("number input for Longest side").fill("256")
            page.get_by_role("button", name="Make it talk").click()
            page.wait_for_selector("video", timeout=120000)
            page.evaluate("() => window.scrollTo(0, 0)")
            page.wait_for_timeout(2000)
            shoot(page, "app")
            width, height, seconds, sums = page.evaluate(_SHOWN)
            assert max(width, height) == 256 and seconds > 3
            assert len(set(sums)) == 4  # four different pictures
            assert "real time" in page.inner_text("body")
    finally:
        built.close()
