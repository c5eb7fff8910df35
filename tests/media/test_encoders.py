"""The choice of the encoder, with hardware that is there, is not, or is unknown."""

import av
import numpy as np
import pytest

from core.errors import InputError
from core.media import encoders
from core.media.encoders import ENCODERS, choose_encoder, works
from core.media.video_writer import VideoWriter


def test_software_always_works():
    assert works("libx264") and choose_encoder("libx264") == "libx264"
    assert not works("no_such_encoder")


def test_auto_takes_hardware_that_works(monkeypatch):
    monkeypatch.setattr(encoders, "works", lambda name: name in ("libx264", "h264_qsv"))
    assert choose_encoder("auto") == "h264_qsv"
    monkeypatch.setattr(encoders, "works", lambda name: name == "libx264")
    assert choose_encoder("auto") == "libx264"


def test_what_does_not_work_is_replaced_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(encoders, "works", lambda name: name == "libx264")
    assert choose_encoder("h264_nvenc") == "libx264"
    assert "h264_nvenc does not work on this machine" in caplog.text
    with pytest.raises(InputError, match="encoder is 'x264'; use one of auto, libx264"):
        choose_encoder("x264")


@pytest.mark.parametrize("name", [name for name in ENCODERS if name not in ("auto", "libx264")])
def test_encoders_that_work_here_write(tmp_path, name):
    if not works(name):
        pytest.skip(f"{name} is not on this machine")
    writer = VideoWriter(tmp_path / "out.mp4", (256, 256), encoder=name)
    for k in range(6):
        writer.write(np.full((256, 256, 3), 40 * k, np.uint8))
    writer.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        levels = [picture.to_ndarray(format="gray").mean() for picture in container.decode(video=0)]
    assert levels == sorted(levels) and len(levels) == 6
