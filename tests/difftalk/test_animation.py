"""A portrait and a recording to a video with the tiny stand-in model, and runs that must be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from core.errors import InputError, PackError
from core.media import VideoReader
from DiffTalk import demo, get_difftalk_inference, inference
from DiffTalk.animation import AnimateOptions, Clip, check_options, read_source
from DiffTalk.checkpoint import named_first_stage, save_checkpoint
from DiffTalk.pictures import MOUTH
from DiffTalk.pipeline import half_or_single, torch_device

EXAMPLE = Path(__file__).parents[2] / "example"
PORTRAIT, SPEECH = EXAMPLE / "portrait.png", EXAMPLE / "sentence.wav"


@pytest.fixture(scope="module")
def checkpoint(tiny_tensors: dict, tiny_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "model.ckpt"
    save_checkpoint(path, tiny_tensors, tiny_config, 5, "whisper-tiny-pca29")
    return path


@pytest.fixture(scope="module")
def pipeline(checkpoint: Path) -> Any:
    return get_difftalk_inference(checkpoint=checkpoint, device="cpu")


def test_video_from_the_command_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "new/out.mp4"
    words = ["--source_video", str(PORTRAIT), "--audio", str(SPEECH), "--output", str(out), "--steps", "2"]
    assert inference.main([*words, "--checkpoint", str(checkpoint), "--max_frames", "3", "--max_size", "320"]) == 0
    assert "3 frames, 2 steps" in capsys.readouterr().out
    assert len(list(VideoReader(out))) == 3
    assert [path.name for path in out.parent.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("reference", ["first", "progressive", str(PORTRAIT)])
def test_only_the_mouth_changes(pipeline: Any, reference: str) -> None:
    person = read_source(PORTRAIT, 320, 1)
    clip = Clip(pipeline, person, AnimateOptions(reference=reference, steps=2))
    face = clip.make([0], np.zeros((1, 8, 16, 29), np.float32))[0]
    frame, made = person.frames[0].astype(int), clip.put_back(0, face).astype(int)
    changed = np.abs(made - frame).max(axis=2)
    x, y = person.landmarks[0, MOUTH].mean(axis=0).astype(int)
    assert changed[y, x] > 0
    top = int(person.landmarks[0, 36:48, 1].max())
    assert not changed[:top].any() and not changed[-5:].any()


def test_speech_decides_the_picture(pipeline: Any) -> None:
    clip = Clip(pipeline, read_source(PORTRAIT, 320, 1), AnimateOptions(steps=2))
    quiet, loud = (clip.make([0], np.full((1, 8, 16, 29), value, np.float32)) for value in (0, 9))
    again = clip.make([0], np.zeros((1, 8, 16, 29), np.float32))
    assert np.array_equal(quiet, again) and not np.array_equal(quiet, loud)


def test_source_frames_run_back_and_forth(pipeline: Any) -> None:
    person = read_source(PORTRAIT, 320, 1)
    longer = type(person)(person.frames * 3, np.repeat(person.landmarks, 3, 0), person.square)
    assert [longer.place(k) for k in range(7)] == [0, 1, 2, 1, 0, 1, 2]
    assert person.place(5) == 0


def test_half_precision_gives_nearly_the_same(pipeline: Any, checkpoint: Path) -> None:
    half = get_difftalk_inference(checkpoint=checkpoint, device="cpu")
    half.model.unet.to(torch.bfloat16)
    half.model.encoders.to(torch.bfloat16)
    half.dtype = torch.bfloat16
    person = read_source(PORTRAIT, 320, 1)
    speech = np.zeros((1, 8, 16, 29), np.float32)
    one, other = (Clip(p, person, AnimateOptions(steps=2)).make([0], speech).astype(float) for p in (pipeline, half))
    assert 0 < np.abs(one - other).mean() < 12


def test_a_cpu_falls_back_to_single_precision(caplog: pytest.LogCaptureFixture) -> None:
    assert half_or_single("fp16", torch.device("cpu")) is torch.float32
    assert "needs a GPU" in caplog.text
    assert half_or_single("fp16", torch.device("cuda")) is torch.float16
    with pytest.raises(InputError, match="fp8"):
        half_or_single("fp8", torch.device("cpu"))
    with pytest.raises(InputError, match="--device tpu9"):
        torch_device("tpu9")


def test_an_untrained_denoiser_never_runs(pipeline: Any, tiny_config: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    save_checkpoint(path, named_first_stage(pipeline.model.first_stage), tiny_config)
    with pytest.raises(PackError, match="only the first stage.*train"):
        get_difftalk_inference(checkpoint=path, device="cpu")
    with pytest.raises(PackError, match="no such checkpoint.*train"):
        get_difftalk_inference(checkpoint=tmp_path / "none.ckpt", device="cpu")


def test_refused_runs_leave_nothing(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    grey = tmp_path / "grey.png"
    import cv2

    cv2.imwrite(str(grey), np.full((128, 128, 3), 128, np.uint8))
    out = tmp_path / "out.mp4"
    common = ["--output", str(out), "--checkpoint", str(checkpoint), "--max_frames", "1", "--steps", "2"]
    cases = [
        (["--source_video", str(grey), "--audio", str(SPEECH), *common], "no face"),
        (["--source_video", str(PORTRAIT), "--audio", str(grey), *common], "no sound"),
        (["--source_video", str(PORTRAIT), "--audio", str(SPEECH), *common, "--steps", "300"], "timestep 999"),
        (["--source_video", str(PORTRAIT), "--audio", str(SPEECH), *common, "--crf", "99"], "--crf 99"),
    ]
    for words, says in cases:
        assert inference.main(words) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and says in error and error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grey.png"]


def test_features_of_another_extractor_are_refused(pipeline: Any, tmp_path: Path) -> None:
    pipeline.audio_features, before = "deepspeech", pipeline.audio_features
    try:
        with pytest.raises(InputError, match="deepspeech"):
            pipeline.animate(PORTRAIT, SPEECH, tmp_path / "o.mp4", max_frames=1, steps=2)
    finally:
        pipeline.audio_features = before


def test_options_out_of_range() -> None:
    for wrong in (AnimateOptions(steps=0), AnimateOptions(max_frames=-1), AnimateOptions(crf=60)):
        with pytest.raises(InputError):
            check_options(wrong)


def test_demo(checkpoint: Path, stand_ins: Any, tmp_path: Path) -> None:
    stand_ins.write_tree(str(tmp_path / "data"))
    words = ["--data", str(tmp_path / "data"), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "video")]
    assert demo.main([*words, "--steps", "2", "--items", "2"]) == 0
    assert sorted(path.name for path in (tmp_path / "video").iterdir()) == ["2_1.png", "2_100.png"]
