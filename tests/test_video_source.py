"""A moving source through the main job with the embedded pack: it keeps its own movement and gets new lips."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from core.errors import InputError
from core.media import VideoReader, VideoWriter, read_audio, read_image
from core.sdk import StreamSDK
from core.settings.run_options import make_options

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
FRAMES = 8


def pan(k: int) -> np.ndarray:
    """The example portrait, 3 pixels further to the right in every frame."""
    picture = read_image(EXAMPLE / "portrait.png")
    matrix = np.float32([[1, 0, 3 * k], [0, 1, 0]])
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / "pan.mp4"
    first = pan(0)
    writer = VideoWriter(path, first.shape[:2], crf=5)
    for k in range(FRAMES):
        writer.write(pan(k))
    writer.write(np.full_like(first, 128))  # the face is gone
    writer.close()
    return path


@pytest.fixture(scope="module")
def sdk() -> StreamSDK:
    return StreamSDK()


def test_the_face_is_followed_and_a_lost_frame_is_filled(sdk, video, caplog):
    avatar = sdk.register(video, make_options(sdk.config))
    assert len(avatar) == FRAMES + 1 and not avatar.is_image
    assert f"no face in 1 of {FRAMES + 1} frames" in caplog.text
    nose = np.concatenate([avatar.mesh[:, 4, :2], np.ones((FRAMES + 1, 1))], axis=1)
    place = np.einsum("nij,nj->ni", avatar.M_c2o, nose)[:, :2]
    np.testing.assert_allclose(np.diff(place[:FRAMES], axis=0), np.tile([3, 0], (FRAMES - 1, 1)), atol=0.7)
    np.testing.assert_allclose(place[FRAMES], place[FRAMES - 1], atol=1e-2)


def test_output_shows_the_source_played_back_and_forth(sdk, video, tmp_path, caplog):
    speech = read_audio(EXAMPLE / "speech.wav")[16000 : 16000 + 640 * (FRAMES + 4)]
    soundfile.write(tmp_path / "speech.wav", speech, 16000)
    result = sdk.run(video, tmp_path / "speech.wav", tmp_path / "out.mp4", template_n_frames=FRAMES, crf=5)
    assert result.frames == FRAMES + 4 and "no face" not in caplog.text
    for index, picture in enumerate(VideoReader(result.output)):
        shown = pan(index if index < FRAMES else 2 * FRAMES - 1 - index)
        edge = np.abs(picture[:, -60:].astype(int) - shown[:, -60:])
        assert edge.mean() < 3
    registered = sdk.register(video, make_options(sdk.config, template_n_frames=3))
    assert len(registered) == 3


def test_a_video_without_a_face(sdk, tmp_path):
    writer = VideoWriter(tmp_path / "grey.mp4", (128, 128))
    for _ in range(2):
        writer.write(np.full((128, 128, 3), 128, np.uint8))
    writer.close()
    with pytest.raises(InputError, match="grey.mp4: no face found in any of 2 frames"):
        sdk.register(tmp_path / "grey.mp4")
