"""Live encoding: what comes out can be decoded while it is being written, and picture and sound stay together."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from core.errors import OutputError
from core.media import SYNTHETIC_TAG
from live.muxer import LiveMuxer

BLOCK = 640


class Chunks:
    """A target without seeking, as a socket is."""

    def __init__(self):
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def write_flashes(muxer: LiveMuxer, frames: int) -> None:
    """White pictures and clicks at the same frames: 20, 50."""
    for i in range(frames):
        flash = i in (20, 50)
        image = np.full((64, 96, 3), 255 if flash else 20, np.uint8)
        muxer.write(image, np.float32(0.8 if flash else 0.0) * np.cos(np.arange(BLOCK, dtype=np.float32)))


@pytest.mark.parametrize("form", ["mp4", "flv"])
def test_flash_and_click_stay_together(form):
    target = Chunks()
    muxer = LiveMuxer(target, (64, 96), form)
    write_flashes(muxer, 75)
    muxer.close()
    with av.open(io.BytesIO(bytes(target.data))) as container:
        light = [(f.time, f.to_ndarray(format="gray").mean()) for f in container.decode(video=0)]
    with av.open(io.BytesIO(bytes(target.data))) as container:
        sound = [(f.time, np.abs(f.to_ndarray()).max()) for f in container.decode(audio=0)]
        assert container.metadata.get("comment") == SYNTHETIC_TAG
    assert len(light) == 75
    flashes = [time for time, level in light if level > 128]
    clicks = [time for time, level in sound if level > 0.3]
    origin = light[0][0]
    assert [round(25 * (time - origin)) for time in flashes] == [20, 50]
    for flash in flashes:
        assert min(abs(click - flash) for click in clicks) < 0.13  # a frame of AAC, and its start-up


def test_fragments_leave_at_once():
    target = Chunks()
    muxer = LiveMuxer(target, (64, 96))
    write_flashes(muxer, 10)
    seen = len(target.data)
    assert bytes(target.data[4:8]) == b"ftyp" and target.data.count(b"moof") >= 5
    write_flashes(muxer, 2)
    assert len(target.data) > seen
    muxer.close()


def test_a_lost_picture_is_repeated():
    target = Chunks()
    muxer = LiveMuxer(target, (64, 96))
    for i in range(30):
        muxer.write(np.full((64, 96, 3), 200, np.uint8) if i % 2 == 0 else None, np.zeros(BLOCK, np.float32))
    muxer.close()
    with av.open(io.BytesIO(bytes(target.data))) as container:
        assert [abs(f.to_ndarray(format="gray").mean() - 200) < 4 for f in container.decode(video=0)] == [True] * 30


def test_an_unreachable_target_is_one_line(tmp_path):
    with pytest.raises(OutputError, match="cannot stream there|broke off") as caught:
        muxer = LiveMuxer(str(tmp_path / "missing" / "x.mp4"), (64, 96))
        write_flashes(muxer, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_half_an_hour_stays_together_in_flat_memory(tmp_path):
    psutil = pytest.importorskip("psutil")
    muxer, every = LiveMuxer(str(tmp_path / "long.mp4"), (64, 96)), 60 * 25
    dark, light = np.full((64, 96, 3), 20, np.uint8), np.full((64, 96, 3), 255, np.uint8)
    click = np.float32(0.8) * np.cos(np.arange(BLOCK, dtype=np.float32))
    for i in range(30 * every):
        flash = i % every == 100
        muxer.write(light if flash else dark, click if flash else np.zeros(BLOCK, np.float32))
        if i == 5 * every:
            before = psutil.Process().memory_info().rss
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    muxer.close()
    with av.open(str(tmp_path / "long.mp4")) as container:
        flashes = [f.time for f in container.decode(video=0) if f.to_ndarray(format="gray").mean() > 128]
    with av.open(str(tmp_path / "long.mp4")) as container:
        loud = [f.time for f in container.decode(audio=0) if np.abs(f.to_ndarray()).max() > 0.3]
    clicks = [time for time, last in zip(loud, [-1.0, *loud]) if time - last > 1]
    offsets = np.array(flashes) - np.array(clicks)
    print(f"offset {1000 * offsets.min():.0f} .. {1000 * offsets.max():.0f} ms, memory +{grown:.1f} MB")
    assert len(flashes) == 30 and np.ptp(offsets) < 0.07  # clicks are told apart by AAC's frames of 64 ms
    assert grown < 20
