"""The written video, decoded again; and that no failure leaves anything behind."""

import errno
import os
import resource
import stat
import subprocess
import sys
import textwrap
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from core.errors import InputError, OutputError
from core.media import (
    SYNTHETIC_TAG,
    PictureWriter,
    VideoReader,
    VideoWriter,
    check_output,
    is_image,
    is_video,
    read_audio,
)


def frame(index: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A ramp of colours with a bar of 8 columns, the position of which tells the number."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(30, 220, width)[None]
    rgb[..., 1] = np.linspace(200, 60, height)[:, None]
    rgb[..., 2] = 120
    rgb[:, 8 * (index % 16) : 8 * (index % 16) + 8] = 250
    return rgb


def speech(frames: int) -> np.ndarray:
    time = np.arange(640 * frames - 200) / 16000
    return (0.3 * np.sin(2 * np.pi * 300 * time) * np.sin(2 * np.pi * 2 * time)).astype(np.float32)


def wav(folder, samples, rate=16000):
    """The samples, (n,) or (n, channels), as a sound file in a folder beside the tested one."""
    place = folder.parent / f"{folder.name}-sound"
    place.mkdir(exist_ok=True)
    path = place / f"{len(os.listdir(place))}.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def write(path, frames=30, size=(96, 128), **options):
    writer = VideoWriter(path, size, **options)
    for index in range(frames):
        writer.write(frame(index, *size))
    writer.close()
    return path


def boxes(path) -> list[str]:
    """Names of the top-level parts of an mp4, in order."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        names.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return names


def test_frames_sound_and_container(tmp_path):
    audio = speech(30)
    path = write(tmp_path / "out.mp4", audio=wav(tmp_path, audio))
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt, sound.codec_context.name) == ("h264", "yuv420p", "aac")
        assert (video.frames, video.average_rate, video.base_rate) == (30, 25, 25)
        assert float(video.duration * video.time_base) == pytest.approx(1.2)
        assert float(sound.duration * sound.time_base) == pytest.approx(len(audio) / 16000, abs=0.001)
        assert sound.rate == 16000 and container.metadata["comment"] == SYNTHETIC_TAG
        pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(video)]
    assert len(pictures) == 30
    for index, picture in enumerate(pictures):
        assert np.abs(picture.astype(int) - frame(index)).mean() < 5
    names = boxes(path)
    assert names.index("moov") < names.index("mdat")
    back = read_audio(path)
    assert len(audio) <= len(back) <= len(audio) + 1024
    assert np.corrcoef(audio, back[: len(audio)])[0, 1] > 0.99
    assert os.listdir(tmp_path) == ["out.mp4"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert is_video(path) and not is_image(path)


@pytest.mark.parametrize("size", [(96, 128), (720, 1280)])
def test_colours_survive_the_tagged_matrix(tmp_path, size):
    path = write(tmp_path / "out.mp4", 2, size)
    first = next(iter(VideoReader(path)))
    difference = first.astype(int) - frame(0, *size)
    assert np.abs(difference.mean((0, 1))).max() < 1.0 and np.abs(difference).mean() < 4


def test_no_tag_no_audio_and_plain_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("bare.mp4", 3, tag=False)
    with av.open("bare.mp4") as container:
        assert "comment" not in container.metadata and not container.streams.audio


def test_odd_sizes_are_filled_up(tmp_path):
    path = write(tmp_path / "odd.mp4", 3, (97, 127))
    assert next(iter(VideoReader(path))).shape == (98, 128, 3)


def test_sound_longer_and_shorter_than_the_picture(tmp_path):
    for frames, audio in ((5, speech(30)), (30, speech(5)), (1, np.zeros(5, np.float32))):
        path = write(tmp_path / "out.mp4", frames, audio=wav(tmp_path, audio))
        assert abs(len(read_audio(path)) - len(audio)) <= 1024


def test_sound_is_interleaved_with_the_picture(tmp_path):
    path = write(tmp_path / "out.mp4", 250, audio=wav(tmp_path, speech(250)))
    with av.open(str(path)) as container:
        places = {"video": [], "audio": []}
        for packet in container.demux():
            if packet.size:
                places[packet.stream.type].append((packet.pos, float(packet.dts * packet.time_base)))
    middle = [pos for pos, time in places["audio"] if 4 < time < 6]
    ends = [pos for pos, time in places["video"] if time < 2.5 or time > 7.5]
    assert not any(min(middle) < pos < max(middle) for pos in ends)


def test_directories_are_made_and_other_letters_work(tmp_path):
    path = write(tmp_path / "a b" / "ü" / "видео.mp4", 3)
    assert sum(1 for _ in VideoReader(path)) == 3


def test_an_existing_file_is_replaced_only_at_the_end(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_text("old")
    writer = VideoWriter(path, (96, 128))
    writer.write(frame(0))
    assert path.read_text() == "old"
    writer.close()
    writer.close()
    writer.abort()
    assert is_video(path)


def test_abort_removes_everything_that_was_made(tmp_path):
    writer = VideoWriter(tmp_path / "new" / "deep" / "out.mp4", (96, 128), audio=wav(tmp_path, speech(9)))
    writer.write(frame(0))
    writer.abort()
    writer.abort()
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match="after"):
        writer.write(frame(1))


def test_no_frames_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="no frames"):
        VideoWriter(tmp_path / "out.mp4", (96, 128), audio=wav(tmp_path, speech(3))).close()
    assert os.listdir(tmp_path) == []


def test_wrong_frames_and_audio_are_refused(tmp_path):
    writer = VideoWriter(tmp_path / "out.mp4", (96, 128))
    for wrong in (frame(0)[:-2], frame(0).astype(np.float32), frame(0)[..., :1]):
        with pytest.raises(ValueError):
            writer.write(wrong)
    writer.abort()
    with pytest.raises(InputError, match="no such audio file"):
        VideoWriter(tmp_path / "out.mp4", (96, 128), audio=tmp_path / "none.wav")
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, text in [
        (tmp_path, "is a directory"), (tmp_path / "file" / "out.mp4", "cannot write"), (tmp_path / "o.avi", "'.avi'"),
        ("/proc/none/out.mp4", "cannot write"),
    ]:  # fmt: skip
        for attempt in (check_output, lambda path: VideoWriter(path, (96, 128))):
            with pytest.raises(OutputError, match=text):
                attempt(path)
    assert os.listdir(tmp_path) == ["file"]


def test_a_device_is_not_replaced_and_a_name_may_be_too_long(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, text in [(tmp_path / "pipe", "device or pipe"), (tmp_path / ("a" * 300 + ".mp4"), "cannot write there")]:
        with pytest.raises(OutputError, match=text):
            check_output(path)
    assert (tmp_path / "pipe").is_fifo() and os.listdir(tmp_path) == ["pipe"]


def test_the_check_leaves_nothing_and_knows_the_inputs(tmp_path):
    check_output(tmp_path / "a" / "b" / "out.mp4")
    source = tmp_path / "in.mp4"
    source.write_text("x")
    os.symlink(source, tmp_path / "link.mp4")
    for path in (source, tmp_path / "link.mp4", tmp_path / "." / "in.mp4"):
        with pytest.raises(InputError, match="overwrite an input"):
            check_output(path, ["missing.wav", source])
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "link.mp4"]


DISK_FULL = textwrap.dedent("""
    import resource, sys
    import numpy as np
    from core.errors import OutputError
    from core.media import VideoWriter
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    rng = np.random.default_rng(0)
    try:
        writer = VideoWriter(sys.argv[1], (96, 128), audio=sys.argv[3])
        for _ in range(60):
            writer.write(rng.integers(0, 255, (96, 128, 3), np.uint8))
        writer.close()
    except OutputError as error:
        print(error)
        sys.exit(2)
""")


def run_with_file_limit(path, limit: int, sound) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", DISK_FULL, str(path), str(limit), str(sound)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_full_disk_ends_in_one_line_and_nothing_left(tmp_path):
    """A limit on the size of files stands for the full disk: writes fail at the start, half way and at the very end."""
    whole = tmp_path / "whole.mp4"
    sound = wav(tmp_path, np.zeros(16000))
    assert run_with_file_limit(whole, 1 << 30, sound).returncode == 0
    size = whole.stat().st_size
    whole.unlink()
    for limit in (10, size // 3, size - 3000, size - 10):
        done = run_with_file_limit(tmp_path / "deep" / "out.mp4", limit, sound)
        assert done.returncode == 2, (limit, done.stderr)
        assert "out.mp4" in done.stdout and done.stdout.count("\n") == 1 and not done.stderr
        assert os.listdir(tmp_path) == []


def test_no_space_left_while_writing(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "out.mp4", (96, 128))

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(
        writer, "_container", type("Full", (), {"mux": staticmethod(full), "close": lambda self: None})()
    )
    with pytest.raises(OutputError, match="No space left"):
        writer.write(frame(0))
    assert os.listdir(tmp_path) == []


def test_frames_that_never_reached_the_disk_are_noticed(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "out.mp4", (96, 128))
    writer.write(frame(0))
    writer.frames += 1
    with pytest.raises(OutputError, match="1 of 2 frames"):
        writer.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    audio = np.tile(speech(6000)[:, None], (3, 2))  # 48 kHz stereo
    short, long = wav(tmp_path, audio[: 300 * 1920], 48000), wav(tmp_path, audio, 48000)
    write(tmp_path / "short.mp4", 300, audio=short)
    before = peak()
    write(tmp_path / "long.mp4", 6000, audio=long)
    assert peak() - before < 25


def source_video(path, rate, frames, rotation=0):
    """A video at any rate in which frame k has the gray level 4 k."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "1", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * index, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("rate", [25, 50, 30, Fraction(30000, 1001), Fraction(24000, 1001), 10])
def test_reader_resamples_to_25_fps_by_time(tmp_path, rate):
    path = source_video(tmp_path / "in.mp4", rate, 40)
    levels = [picture.mean() / 4 for picture in VideoReader(path)]
    assert len(levels) == round(float(40 / rate) * 25)
    for index, level in enumerate(levels):
        assert abs(level - index / 25 * float(rate)) < 1.01 + float(rate) / 50
    assert sum(1 for _ in VideoReader(path, fps=None)) == 40


def test_reader_applies_the_size_rule_and_can_be_read_twice(tmp_path):
    reader = VideoReader(source_video(tmp_path / "in.mp4", 25, 4), max_size=32)
    assert [picture.shape for picture in reader] == [picture.shape for picture in reader] == [(24, 32, 3)] * 4


def test_reader_names_what_is_wrong(tmp_path):
    (tmp_path / "text.mp4").write_text("nothing")
    for name in ("text.mp4", "none.mp4", "."):
        with pytest.raises(InputError):
            list(VideoReader(tmp_path / name))
    path = source_video(tmp_path / "cut.mp4", 25, 30)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="cut.mp4"):
        list(VideoReader(path))


def test_names_that_look_like_addresses(tmp_path, monkeypatch):
    """ffmpeg takes what stands before a colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    sound = wav(tmp_path, speech(10))
    write("12:30 talk.mp4", frames=10, audio=sound)
    assert is_video("12:30 talk.mp4") and len(list(VideoReader("12:30 talk.mp4"))) == 10
    assert len(read_audio("12:30 talk.mp4")) > 6000


def test_pictures_that_cannot_all_be_put_into_place_leave_none(tmp_path):
    (tmp_path / "f_1.png").mkdir()
    writer = PictureWriter(tmp_path / "f_%d.png", (96, 128))
    for index in range(3):
        writer.write(frame(index))
    with pytest.raises(OutputError, match="cannot write the pictures"):
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["f_1.png"]
