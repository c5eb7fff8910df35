"""What a run makes of moving and transparent sources: rates, ends, sequences, opacity, through the embedded pack."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile

from core.errors import InputError, OutputError
from core.media import read_audio, read_image
from core.sdk import StreamSDK

EXAMPLE = Path(__file__).resolve().parents[2] / "example"
SIZE = 224
FRAMES = 10


@pytest.fixture(scope="module")
def sdk() -> StreamSDK:
    return StreamSDK()


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, read_audio(EXAMPLE / "speech.wav")[16000 : 16000 + 640 * FRAMES], 16000)
    return path


@pytest.fixture(scope="module")
def cut_out(tmp_path_factory) -> Path:
    """The example portrait with a transparent left quarter and top."""
    rgb = cv2.resize(read_image(EXAMPLE / "portrait.png"), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    alpha = np.full((SIZE, SIZE), 255, np.uint8)
    alpha[:, : SIZE // 4] = alpha[: SIZE // 16] = 0
    path = tmp_path_factory.mktemp("cut out") / "cut.png"
    cv2.imwrite(str(path), np.dstack([rgb[..., ::-1], alpha]))
    return path


def pictures(path: Path, form: str = "rgb24") -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=form) for frame in container.decode(video=0)]


def run(sdk, speech, output, source=EXAMPLE / "avatar.mp4", **options):
    options = {"max_size": SIZE, "template_n_frames": FRAMES, **options}
    return sdk.run(source, speech, output, **options)


@pytest.mark.parametrize("fps, frames", [(50, 20), (30, 12), (12.5, 5), (29.97, 12)])
def test_other_rates_last_as_long_and_show_the_same(sdk, speech, tmp_path, fps, frames):
    result = run(sdk, speech, tmp_path / "out.mp4", EXAMPLE / "portrait.png", fps=fps, crf=5)
    assert result.frames == frames and result.seconds == pytest.approx(0.4, abs=1 / fps)
    with av.open(str(result.output)) as container:
        rate = container.streams.video[0].average_rate
        assert rate == (Fraction(30000, 1001) if fps == 29.97 else Fraction(fps))
        sound = container.streams.audio[0]
        assert float(sound.duration * sound.time_base) == pytest.approx(0.4, abs=0.03)
    if fps == 50:
        plain = run(sdk, speech, tmp_path / "plain.mp4", EXAMPLE / "portrait.png", crf=5)
        double, single = pictures(result.output), pictures(plain.output)
        for k in range(FRAMES):
            assert np.abs(double[2 * k].astype(int) - single[k]).mean() < 1.5
            if 0 < k < FRAMES - 1:
                between = double[2 * k + 1].astype(float)
                low, high = (np.abs(between - single[j]).mean() for j in (k, k + 1))
                assert max(low, high) < np.abs(single[k].astype(float) - single[k + 1]).mean() + 1.5


def test_a_video_at_another_rate_takes_its_own_frames(sdk, tmp_path):
    avatar = sdk.register(EXAMPLE / "avatar.mp4", sdk.options(fps=50, N_d=5, max_size=SIZE))
    assert avatar.rate == 50 and len(avatar) == 10
    assert [avatar.source_at(tick) for tick in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(InputError, match="fps is 25, but this video was registered for 50"):
        sdk.run(avatar, EXAMPLE / "speech.wav", tmp_path / "out.mp4")


def test_once_is_as_long_as_the_source(sdk, speech, tmp_path):
    long = run(sdk, EXAMPLE / "speech.wav", tmp_path / "cut.mp4", loop="once", template_n_frames=6)
    short = run(sdk, speech, tmp_path / "rest.mp4", loop="once", template_n_frames=FRAMES + 5)
    assert (long.frames, short.frames) == (6, FRAMES + 5)
    assert len(read_audio(long.output)) == pytest.approx(6 * 640, abs=1100)
    with pytest.raises(InputError, match="picture, which has no end"):
        run(sdk, speech, tmp_path / "no.mp4", EXAMPLE / "portrait.png", loop="once")


@pytest.mark.parametrize("fps, own", [(24, 5), (29.97, 7), (60, 11), (10, 3)])
def test_once_at_another_rate_has_the_frames_of_the_source(sdk, speech, tmp_path, fps, own):
    result = run(sdk, speech, tmp_path / "once.mp4", loop="once", fps=fps, template_n_frames=own)
    assert result.frames == own == len(pictures(result.output))
    with av.open(str(result.output)) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(own / fps, abs=0.5 / fps)


def test_a_registered_picture_cannot_be_shown_once(sdk, speech, tmp_path):
    avatar = sdk.register(EXAMPLE / "portrait.png")
    with pytest.raises(InputError, match="is a picture, which has no end"):
        sdk.run(avatar, speech, tmp_path / "no.mp4", loop="once")


@pytest.mark.parametrize("loop, order", [
    ("mirror", [0, 1, 2, 2, 1, 0]), ("loop", [0, 1, 2, 0, 1, 2]), ("hold", [0, 1, 2, 2, 2, 2]),
])  # fmt: skip
def test_a_sequence_of_pictures_is_played_in_order(sdk, tmp_path, loop, order):
    folder = tmp_path / "in"
    folder.mkdir()
    picture = read_image(EXAMPLE / "portrait.png", SIZE)
    (folder / "7.png").mkdir()  # no picture, whatever its name
    for k in range(3):  # 9, 10, 11: sorted by number, not by letters
        marked = picture.copy()
        marked[:16, :16] = 100 * k
        cv2.imwrite(str(folder / f"a{9 + k}.png"), marked[..., ::-1])
    out = tmp_path / "out" / "f_%03d.png"
    for source in (folder, folder / "a%d.png"):
        avatar = sdk.register(source, sdk.options(loop=loop))
        assert len(avatar) == 3 and [avatar.source_index(i) for i in range(6)] == order
    soundfile.write(tmp_path / "s.wav", read_audio(EXAMPLE / "speech.wav")[: 6 * 640], 16000)
    sdk.run(folder, tmp_path / "s.wav", out, loop=loop)
    shown = [read_image(out.parent / f"f_{i:03d}.png")[4, 4, 0] for i in range(6)]
    assert shown == [100 * k for k in order] and len(list(out.parent.iterdir())) == 6
    with pytest.raises(InputError, match="mix with the pictures"):
        sdk.run(folder, tmp_path / "s.wav", folder / "f_%03d.png")
    with pytest.raises(InputError, match="no pictures are named like this"):
        sdk.register(folder / "b%d.png")


@pytest.mark.parametrize("name", ["out.mov", "out.webm", "f_%02d.png"])
def test_opacity_reaches_the_result(sdk, speech, cut_out, tmp_path, name):
    sdk.run(cut_out, speech, tmp_path / name, alpha=True)
    if name.endswith("png"):
        got = cv2.cvtColor(cv2.imread(str(tmp_path / "f_05.png"), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
        assert len(list(tmp_path.iterdir())) == FRAMES
    else:
        avatar = sdk.register(tmp_path / name, sdk.options(alpha=True, template_n_frames=6, cache=False))
        got = np.dstack([avatar.frames[5], avatar.alpha[5]])
        assert read_audio(tmp_path / name).std() > 0.01
    assert got.shape == (SIZE, SIZE, 4)
    assert got[-40:, : SIZE // 4 - 8, 3].max() < 10 and got[SIZE // 8 :, SIZE // 2 :, 3].min() > 245
    source = read_image(cut_out)
    assert np.abs(got[-20:, -60:, :3].astype(int) - source[-20:, -60:]).mean() < 6


def test_opacity_moves_with_the_head(sdk, cut_out, speech, tmp_path):
    still, turned = tmp_path / "a%d.png", tmp_path / "b%d.png"
    sdk.run(cut_out, speech, still, alpha=True)
    sdk.run(cut_out, speech, turned, alpha=True, overall_ctrl_info={"delta_roll": 12})
    paths = still, turned
    before, after = (cv2.imread(str(path) % 5, cv2.IMREAD_UNCHANGED)[..., 3] for path in paths)
    assert np.abs(before.astype(int) - after).max() > 100


def test_opacity_is_refused_where_there_is_none(sdk, speech, cut_out, tmp_path):
    with pytest.raises(OutputError, match="cannot hold transparency; name the output .mov"):
        sdk.run(cut_out, speech, tmp_path / "out.mp4", alpha=True)
    for source in (EXAMPLE / "portrait.png", EXAMPLE / "avatar.mp4"):
        with pytest.raises(InputError, match="no transparency; leave out --alpha"):
            sdk.run(source, speech, tmp_path / "out.mov", alpha=True, template_n_frames=2)
    assert list(tmp_path.iterdir()) == []
