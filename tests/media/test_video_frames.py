"""Random access to a source video, and sources that are not as they should be."""

import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from core.errors import InputError
from core.media import VideoFrames, VideoReader
from core.media import video_frames as module

MILLISECOND = Fraction(1, 1000)


def make(path, frames=90, rate=25, gop=12, times=None, codec="libx264", size=(48, 64)):
    """A video in which frame k has the gray level 2 k + 20 (and a brighter left half), with B frames."""
    options = {"crf": "1", "g": str(gop), "bf": "2"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        if times is not None:
            stream.codec_context.time_base = stream.time_base = MILLISECOND
        for k in range(frames):
            rgb = np.full((*size, 3), 2 * k + 20, np.uint8)
            rgb[:, : size[1] // 2] += 10
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            if times is not None:
                picture.pts, picture.time_base = round(times[k] * 1000), MILLISECOND
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def opened(path, fps=25, max_size=1920):
    shown = list(VideoReader(path, max_size, fps).shown())
    pts = np.array([frame.pts for frame in shown])
    return VideoFrames(path, pts, np.repeat(np.arange(len(shown)), [frame.times for frame in shown]), max_size)


def level(picture):
    return round((picture[:, picture.shape[1] // 2 + 2 :].mean() - 20) / 2)


@pytest.mark.parametrize("gop", [1, 12, 250])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_any_order_gives_the_frames_of_reading_through(tmp_path, monkeypatch, gop, suffix):
    monkeypatch.setattr(module, "_PIECE_FRAMES", (7, 7))
    monkeypatch.setattr(module, "_PICTURES", 3)
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = make(tmp_path / f"in.{suffix}", gop=gop, codec=codec)
    whole, frames = list(VideoReader(path)), opened(path)
    assert len(frames) == len(whole) >= 90
    n = len(whole)
    for index in [*range(n), *range(n - 1, -1, -1), 50, 3, 80, 0, n - 1]:
        np.testing.assert_array_equal(frames[index], whole[index])


def test_pictures_are_shared_and_cannot_be_changed(tmp_path):
    frames = opened(make(tmp_path / "in.mp4", 5))
    assert frames[2] is frames[2]
    with pytest.raises(ValueError):
        frames[2][0] = 0


def test_playing_backwards_does_not_decode_everything_again_and_again(tmp_path, monkeypatch):
    frames = opened(make(tmp_path / "in.mp4", 90, gop=15))
    decoded = []
    monkeypatch.setattr(module, "_PIECE_FRAMES", (15, 15))
    collect = VideoFrames._collect
    monkeypatch.setattr(VideoFrames, "_collect", lambda self, pts: decoded.append(len(pts)) or collect(self, pts))
    for index in (*range(90), *range(89, -1, -1)):
        frames[index]
    assert sum(decoded) <= 180 + 1 and len(frames._pictures) <= 24 and len(frames._pieces) <= 2


def test_threads_that_ask_for_different_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PIECE_FRAMES", (5, 5))
    frames, wrong = opened(make(tmp_path / "in.mp4", 60)), []

    def ask(seed):
        for index in np.random.default_rng(seed).integers(0, 60, 40):
            if abs(level(frames[index]) - index) > 1:
                wrong.append(index)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_variable_frame_rate_is_shown_by_time(tmp_path):
    times = np.cumsum([0, *([0.02] * 20), *([0.1] * 10), 0.5, 0.04])
    path = make(tmp_path / "in.mkv", len(times), times=times)
    frames, originals = opened(path), list(VideoReader(path, fps=None))
    assert len(originals) == len(times) and abs(len(frames) - times[-1] * 25) <= 2
    for index in range(len(frames)):
        expected = np.searchsorted(times, (index + 0.5) / 25 + 1e-6) - 1
        np.testing.assert_array_equal(frames[index], originals[expected])


@pytest.mark.parametrize("rate", [5, 25, 100])
def test_one_frame_is_enough(tmp_path, rate):
    assert {level(picture) for picture in opened(make(tmp_path / "in.mp4", 1, rate))} == {0}


def test_odd_sizes_are_made_even(tmp_path):
    assert opened(make(tmp_path / "in.mkv", 2, size=(47, 63), codec="ffv1"))[1].shape == (46, 62, 3)
    with pytest.raises(InputError, match="leaves nothing"):
        opened(make(tmp_path / "thin.mkv", 2, size=(1, 64), codec="ffv1"))[0]


def rotated(source, path):
    """The same packets with a display matrix of a quarter turn, written into the track header of an mp4."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    assert int.from_bytes(data[at : at + 4], "big") == 0x10000
    matrix = [0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000]
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    return path


def test_rotation_in_the_metadata_is_honoured(tmp_path):
    path = rotated(make(tmp_path / "in.mp4", 3), tmp_path / "turned.mp4")
    picture = opened(path)[1].astype(int)
    assert picture.shape == (64, 48, 3)
    assert picture[:30].mean() > picture[34:].mean() + 5  # what was left is now on top
    np.testing.assert_array_equal(picture, list(VideoReader(path))[1])


def test_a_file_that_changed_is_a_clear_error(tmp_path):
    path = make(tmp_path / "in.mp4", 30)
    frames = opened(path)
    make(path, 10)
    with pytest.raises(InputError, match="can no longer be read"):
        frames[25]
    path.unlink()
    with pytest.raises(InputError, match="in.mp4"):
        opened(make(tmp_path / "other.mp4", 3)).__class__(path, frames._pts, frames._shown, 64)[20]


@pytest.mark.parametrize("share, used", [(0.8, True), (0.3, False)])
def test_a_cut_off_file_is_used_as_far_as_it_goes(tmp_path, caplog, share, used):
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(200):
            rgb = noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    if used:
        count = sum(1 for _ in VideoReader(path))
        assert 140 <= count <= 165 and "only the part before is used" in caplog.text and "of 8.0 s" in caplog.text
    else:
        with pytest.raises(InputError, match="in.mp4: damaged or cut off at 2.* of 8.0 s"):
            list(VideoReader(path))


def test_names_that_look_like_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.mp4", 3).rename(tmp_path / "concat:x %d.mp4")
    assert sum(1 for _ in VideoReader("concat:x %d.mp4")) == 3


def test_play_lists_lead_nowhere(tmp_path):
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError):
        list(VideoReader(path))


@pytest.mark.parametrize("at, used", [(0.8, True), (0.3, False)])
def test_damage_in_the_middle(tmp_path, caplog, at, used):
    path = make(tmp_path / "in.mp4", 100, gop=25)
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov")
    place = start + int(at * (end - start))
    data[place : place + 60] = b"\xff" * 60
    path.write_bytes(data)
    if used:
        assert 50 <= sum(1 for _ in VideoReader(path)) < 100 and "only the part before is used" in caplog.text
    else:
        with pytest.raises(InputError, match="damaged"):
            list(VideoReader(path))
