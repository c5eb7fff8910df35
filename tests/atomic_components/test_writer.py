"""The last stage: frames in order into the file; a failed run leaves none."""

import os

import numpy as np
import pytest

from core.atomic_components.writer import Writer
from core.avatars.avatar import Frame
from core.errors import StageError
from core.media import VideoReader, VideoWriter
from core.pipeline import Pipeline


def picture(level: int) -> np.ndarray:
    return np.full((32, 48, 3), level, np.uint8)


def test_frames_reach_the_file(tmp_path):
    writer = Writer(VideoWriter(tmp_path / "out.mp4", (32, 48)))
    with Pipeline([writer.stage()]) as pipeline:
        for index in range(5):
            pipeline.put(Frame(index, 0, image=picture(40 * index)))
    assert writer.frames == 5
    levels = [frame.mean() for frame in VideoReader(tmp_path / "out.mp4")]
    np.testing.assert_allclose(levels, [0, 40, 80, 120, 160], atol=3)


def test_a_gap_is_an_error_and_leaves_no_file(tmp_path):
    writer = Writer(VideoWriter(tmp_path / "out.mp4", (32, 48)))
    pipeline = Pipeline([writer.stage()]).start()
    pipeline.put(Frame(0, 0, image=picture(0)))
    pipeline.put(Frame(2, 0, image=picture(0)))
    with pytest.raises(StageError, match="frame 2 came where 1 was due"):
        pipeline.close()
    assert os.listdir(tmp_path) == []


def test_cancel_leaves_no_file(tmp_path):
    writer = Writer(VideoWriter(tmp_path / "out.mp4", (32, 48)))
    pipeline = Pipeline([writer.stage()]).start()
    pipeline.put(Frame(0, 0, image=picture(0)))
    pipeline.cancel()
    assert os.listdir(tmp_path) == []
