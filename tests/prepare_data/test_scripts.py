"""The command lines: names and options of the reference, one-line errors, the shell driver."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tyro")
ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "prepare_data" / "scripts"
PACK = str(ROOT / "checkpoints" / "ditto_lite")


def load(path: Path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def info(tmp_path, make_clip, write_info):
    return write_info(tmp_path, [make_clip(tmp_path / "in" / "-odd 'name' $x.mp4")])


def run(name: str, *args: str) -> int:
    return load(SCRIPTS / f"{name}.py").main(list(args))


def test_every_step_by_its_own_script(info, capsys):
    """The commands of the reference's driver, with the embedded pack."""
    root = info.parent
    pack = ["--ditto_pytorch_path", PACK]
    common = ["-i", str(info)]
    assert run("check_ckpt_path", *pack) == 0
    assert run("crop_video_by_LP", *common, *pack, "--workers", "0") == 0
    assert run("extract_audio_from_video", *common, "--workers", "0") == 0
    assert run("extract_audio_feat_by_Hubert", *common, "--data_root", PACK, "--workers", "0") == 0
    for flip in ([], ["--flip_flag"]):
        assert run("extract_motion_feat_by_LP", *common, *pack, *flip, "--workers", "0") == 0
    for flip in ([], ["--flip_lmk_flag"], ["--flip_flag"]):
        assert run("extract_eye_ratio_from_video", *common, *pack, *flip, "--workers", "0") == 0
    assert run("extract_emo_feat_from_video", *common, "--emo_source", "neutral", "--workers", "0") == 0
    flags = ["--use_emo", "--use_eye_open", "--use_eye_ball"]
    listed = str(root / "l.json")
    more = ["--with_flip", "--min_frames", "10"]
    assert run("gather_data_list_json_for_train", *common, "-o", listed, *flags, *more) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.isdigit()] == ["1", "1"]
    made = ["--data_list_json", listed, "--data_preload_pkl", str(root / "p.pkl"), "--data_mmap_dir", str(root / "m")]
    assert run("preload_train_data_to_pkl", *made, *flags, "--use_sc", "--seq_frames", "10") == 0
    records = json.loads(Path(listed).read_text())
    assert [record["emo_source"] for record in records] == ["neutral"] * 2
    assert np.load(records[1]["mtn"]).shape == (12, 328) and "_flip" in records[1]["mtn"]


def test_errors_are_one_line(info, capsys):
    assert run("crop_video_by_LP", "-i", str(info.parent / "none.json")) == 2
    assert run("crop_video_by_LP", "-i", str(info), "--data_root", "ditto_pytorsch") == 2
    assert run("gather_data_list_json_for_train", "-i", str(info), "-o", str(info.parent / "l.json")) == 2
    assert run("preload_train_data_to_pkl", "--data_list_json", str(info)) == 2
    assert run("check_ckpt_path", "--data_root", str(info.parent)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 5 and "no such data_info.json" in lines[0] and "no model pack at ditto_pytorsch" in lines[1]
    assert "no clip can be used" in lines[2] and "nothing to write" in lines[3] and "config.yaml" in lines[4]


def test_failed_clips_give_a_status(tmp_path, make_clip, write_info):
    info = write_info(tmp_path, [make_clip(tmp_path / "in" / f"{n}.mp4", sound=n == "ok") for n in ("ok", "mute")])
    args = ["-i", str(info), "--data_root", PACK, "--workers", "0", "--quiet"]
    assert run("crop_video_by_LP", *args) == 2
    assert run("crop_video_by_LP", *args, "--tolerate_failures") == 0


def test_links_are_those_of_the_reference(golden, tmp_path):
    aux = tmp_path / "aux_models"
    aux.mkdir()
    wanted = golden("training_misc.json")["check_ckpt_path"]["links_made"]
    for link in wanted:
        (aux / Path(link).name).touch()
    script = load(SCRIPTS / "check_ckpt_path.py")
    script.link_face_models(tmp_path)
    script.link_face_models(tmp_path)
    for link, target in wanted.items():
        assert os.readlink(tmp_path / link) == target and (tmp_path / link).is_file()


def test_the_shell_driver(info):
    driver = ["bash", str(ROOT / "prepare_data" / "prepare_data.sh")]
    env = {**os.environ, "PYTHON": sys.executable}
    short = subprocess.run([*driver, "a", "b"], capture_output=True, text=True, env=env, timeout=120)
    assert short.returncode == 2 and short.stderr.startswith("error: usage")
    outputs = [str(info.parent / name) for name in ("l.json", "p.pkl")]
    more = ["--data_root", "ditto_lite", "--seq_frames", "10", "--workers", "0", "--emo_source", "neutral"]
    command = [*driver, str(info), *outputs, *more]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd="/", timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-5:-1] == ["[prepare_data]", *outputs, "DONE"]
    assert "ALL FRAMES ARE MARKED NEUTRAL" in done.stderr
    assert all(Path(path).is_file() for path in outputs)


def test_data_info_for_folders(tmp_path, capsys):
    for folder, names in (("a", ["x.mp4", "Y.MOV", "note.txt"]), ("b", ["z.mkv"])):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    out = tmp_path / "out"
    assert run("make_data_info", str(out), str(tmp_path / "a"), str(tmp_path / "b")) == 0
    content = json.loads((out / "data_info.json").read_text())
    assert [Path(path).name for path in content["fps25_video_list"]] == ["Y.MOV", "x.mp4", "z.mkv"]
    assert content["LP_pkl_list"][0] == str(out / "LP_pkl" / "Y.pkl")
    (tmp_path / "b" / "x.mkv").touch()
    assert run("make_data_info", str(out), str(tmp_path / "a"), str(tmp_path / "b")) == 2
    assert "more than one clip" in capsys.readouterr().err
    assert json.loads((out / "data_info.json").read_text()) == content  # the good one is still there


def test_example_data_info(tmp_path, capsys):
    script = load(ROOT / "example" / "get_data_info_json_for_trainset_example.py")
    assert script.main(tmp_path) == 2
    (tmp_path / "fps25_mp4").mkdir()
    (tmp_path / "fps25_mp4" / "b.mp4").touch()
    assert script.main(tmp_path) == 0
    assert f"saved: {tmp_path / 'data_info.json'}" in capsys.readouterr().out
    assert json.loads((tmp_path / "data_info.json").read_text())["video_list"] == [f"{tmp_path}/video/b.mp4"]


def test_example_clips_without_a_synthesiser_speak_the_recordings(tmp_path, monkeypatch, capsys):
    script = load(ROOT / "example" / "make_trainset_example.py")
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    clips = list(script.spoken(4, tmp_path))
    assert "neither espeak-ng nor flite is installed" in capsys.readouterr().out
    assert len({path.read_bytes() for _, path in clips}) == 4
    from core.media import read_audio

    assert all(len(read_audio(path)) >= 81 * 640 for _, path in clips)


@pytest.mark.slow
def test_example_clips_are_videos_of_25_fps(tmp_path):
    av = pytest.importorskip("av")
    script = load(ROOT / "example" / "make_trainset_example.py")
    assert script.main(["--clips", "1", "--out", str(tmp_path)]) == 0
    (video,) = tmp_path.glob("*.mp4")
    with av.open(str(video)) as container:
        assert container.streams.video[0].average_rate == 25 and container.streams.video[0].frames >= 81
        assert container.streams.audio
