"""The whole preparation with the embedded pack, on very short clips: results, faults, repetition."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.lite.speech_encoder import SpeechEncoder
from core.media import VideoReader, read_audio
from core.motion import YAW, bins_to_degrees
from prepare_data.options import FeatureOptions, RunOptions
from prepare_data.run import ALL_STEPS, run_steps
from prepare_data.status import only_run, status_folder

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "checkpoints" / "ditto_lite"
HERE = RunOptions(workers=0, quiet=True)
FEATURES = FeatureOptions(data_root="ditto_lite", emo_source="neutral")
FRAMES = 12
HANG = 240  # seconds after which a program hangs, not just waits its turn


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, make_clip, write_info, portrait):
    """A data_info.json with good and bad clips, and the summary of its first run."""
    root = tmp_path_factory.mktemp("prepared")
    two = np.concatenate([portrait, portrait[:, ::-1]], axis=1)
    videos = [
        make_clip(root / "in" / "good.mp4"),
        make_clip(root / "in" / "fps 30 'odd'.mp4", fps=30, frames=15),
        make_clip(root / "in" / "two.mp4", picture=two),
        make_clip(root / "in" / "silent.mp4", sound=False),
        make_clip(root / "in" / "nobody.mp4", picture=np.full((128, 128, 3), 90, np.uint8)),
        root / "in" / "empty.mp4",
        damaged(make_clip(root / "in" / "damaged.mp4", frames=40)),
        root / "in" / "missing.mp4",
    ]
    videos[5].touch()
    info = write_info(root, videos)
    return info, run_steps(info, ALL_STEPS, FEATURES, HERE)


def damaged(path):
    """Zeroes in the middle of the file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 6] = bytes(len(content) // 6)
    path.write_bytes(content)
    return path


def arrays(info, name, stem="good"):
    return np.load(info.parent / name / f"{stem}.npy")


def test_good_clips_have_all_features(prepared):
    info, summary = prepared
    assert {Path(one.clip).stem for one in summary.results if one.failed is None} == {"good", "fps 30 'odd'", "two"}
    for folder in ("LP_npy", "LP_npy_flip"):
        assert arrays(info, folder).shape == (FRAMES, 328)
    assert arrays(info, "MP_lmk_npy").shape == (FRAMES, 478, 3) and arrays(info, "eye_open_npy").shape == (FRAMES, 2)
    assert arrays(info, "eye_ball_npy_flip").shape == (FRAMES, 3, 2) and arrays(info, "emo_npy").shape == (FRAMES, 8)
    frames = list(VideoReader(info.parent / "video" / "good.mp4"))
    assert len(frames) == FRAMES and frames[0].shape == (512, 512, 3)
    for path in info.parent.rglob("*.npy"):
        assert np.load(path).dtype == np.float32, path
    assert not list(info.parent.rglob(".prepare*")) and not list(info.parent.rglob("*.tmp"))


def test_speech_features_are_what_inference_computes(prepared):
    info, _ = prepared
    wav = info.parent / "wav" / "good.wav"
    encoder = SpeechEncoder(PACK / "speech_encoder.onnx")
    np.testing.assert_array_equal(arrays(info, "hubert_aud_npy"), np.concatenate(list(encoder.blocks(read_audio(wav)))))


def test_the_mirrored_clip_turns_the_other_way(prepared):
    info, _ = prepared
    yaw, mirrored = (bins_to_degrees(arrays(info, name)[:, YAW]) for name in ("LP_npy", "LP_npy_flip"))
    assert np.abs(yaw + mirrored).max() < 4
    np.testing.assert_allclose(arrays(info, "eye_open_npy")[:, ::-1], arrays(info, "eye_open_npy_flip"), atol=0.25)


@pytest.mark.parametrize(
    ("stem", "reason"),
    [
        ("silent", "no sound"),
        ("nobody", "no face found"),
        ("empty", "empty"),
        ("damaged", "damaged|cannot read|decoded"),
        ("missing", "no such"),
    ],
)
def test_bad_clips_are_reported_with_a_reason(prepared, stem, reason):
    info, summary = prepared
    (result,) = [one for one in summary.failed if Path(one.clip).stem == stem]
    assert result.failed[0] == "crop"
    assert re.search(reason, result.failed[1]), result.failed
    report = json.loads((status_folder(info) / "report.json").read_text())
    assert any(one["failed"] and stem in one["clip"] for one in report["clips"])
    assert any(stem in line and "failed" in line for line in summary.lines())


def test_remarks(prepared):
    _, summary = prepared
    notes = {Path(one.clip).stem: " ".join(one.notes) for one in summary.results}
    assert "30 fps, converted to 25" in notes["fps 30 'odd'"] and "2 faces" in notes["two"] and not notes["good"]
    assert next(summary.lines()) == "8 clips: 3 usable (0 of them finished before), 5 failed"


def test_finished_clips_are_skipped_and_failures_remembered(prepared):
    info, _ = prepared
    before = {path: path.stat().st_mtime_ns for path in info.parent.rglob("*.npy")}
    start = time.perf_counter()
    again = run_steps(info, ALL_STEPS, FEATURES, HERE)
    assert time.perf_counter() - start < 5
    assert not any(one.done for one in again.results) and len(again.failed) == 5
    assert before == {path: path.stat().st_mtime_ns for path in info.parent.rglob("*.npy")}
    assert "3 of them finished before" in next(again.lines())


@pytest.fixture
def single(tmp_path, make_clip, write_info):
    """One clip, prepared up to the motion."""
    info = write_info(tmp_path, [make_clip(tmp_path / "in" / "a.mp4")])
    run_steps(info, ["crop", "audio", "audio_feat", "motion"], FEATURES, HERE)
    return info


def test_changed_options_redo_what_depends_on_them(single):
    changed = replace(FEATURES, crop_scale=2.0)
    (result,) = run_steps(single, ["crop", "audio", "audio_feat", "motion"], changed, HERE).results
    assert result.done == ["crop", "motion"] and result.skipped == ["audio", "audio_feat"]
    assert any("crop_scale 2.2 -> 2.0" in note for note in result.notes)


def test_a_lost_output_is_made_again(single):
    (single.parent / "LP_npy" / "a.npy").unlink()
    (result,) = run_steps(single, ["crop", "audio", "motion"], FEATURES, HERE).results
    assert result.done == ["motion"]


def test_a_new_source_redoes_everything(single, make_clip):
    make_clip(single.parent / "in" / "a.mp4", frames=14)
    (result,) = run_steps(single, ["crop", "audio", "audio_feat", "motion"], FEATURES, HERE).results
    assert result.done == ["crop", "audio", "audio_feat", "motion"]
    assert len(arrays(single, "LP_npy", "a")) == 14


def test_files_made_elsewhere_are_kept_when_whole(single):
    shutil.rmtree(status_folder(single))
    (result,) = run_steps(single, ["audio_feat", "motion"], FEATURES, HERE).results
    assert result.adopted == ["audio_feat", "motion"]
    shutil.rmtree(status_folder(single))
    features = single.parent / "hubert_aud_npy" / "a.npy"
    features.write_bytes(features.read_bytes()[:-100])
    (result,) = run_steps(single, ["audio_feat", "motion"], FEATURES, HERE).results
    assert result.done == ["audio_feat"] and result.adopted == ["motion"]


def test_a_full_disk_fails_the_clip_and_leaves_no_half_file(single, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    features = single.parent / "hubert_aud_npy" / "a.npy"
    old = features.read_bytes()
    monkeypatch.setattr(np, "save", full)
    (result,) = run_steps(single, ["audio_feat"], FEATURES, replace(HERE, overwrite=True)).results
    assert "No space left" in result.failed[1] and features.read_bytes() == old
    monkeypatch.undo()
    (result,) = run_steps(single, ["audio_feat"], FEATURES, HERE).results
    assert result.done == ["audio_feat"]


def test_mirrored_eyes_from_the_plain_ones(single):
    run_steps(single, ["eyes", "eyes_mirrored"], FEATURES, HERE)
    plain, mirrored = (arrays(single, f"eye_ball_npy{flip}", "a") for flip in ("", "_flip"))
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1] * np.array([-1, 1, 1])[:, None])


def test_two_runs_at_a_time_are_refused(single):
    with only_run(status_folder(single), "0.-1"):
        with pytest.raises(InputError, match="another preparation"):
            run_steps(single, ["crop"], FEATURES, HERE)


def test_missing_lists_and_empty_slices_are_refused(tmp_path, single):
    content = json.loads(single.read_text())
    del content["fps25_video_list"]
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="has no fps25_video_list"):
        run_steps(tmp_path / "other.json", ["crop"], FEATURES, HERE)
    with pytest.raises(InputError, match="leaves no clips"):
        run_steps(single, ["crop"], FEATURES, replace(HERE, data_start=5))


def command(info, *more):
    script = ROOT / "prepare_data" / "prepare.py"
    outputs = [str(info), str(info.parent / "list.json"), str(info.parent / "p.pkl")]
    options = ["--data_root", "ditto_lite", "--emo_source", "neutral", "--seq_frames", "10"]
    return [sys.executable, str(script), *outputs, *options, *more]


def workers_of(process):
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_killed_runs_and_workers(tmp_path, make_clip, write_info):
    """kill -9 of the program, then of a worker in the middle of a clip: the rest goes on, a repetition completes it."""
    pytest.importorskip("tyro")
    info = write_info(tmp_path, [make_clip(tmp_path / "in" / f"{k}.mp4", frames=16) for k in range(3)])
    status = status_folder(info)

    def run_until(steps):
        process = subprocess.Popen(command(info, "--workers", "1"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while process.poll() is None and count_steps(status) < steps:
            time.sleep(0.02)
        return process

    process = run_until(2)
    orphans = workers_of(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for_end(orphans)
    done = count_steps(status)
    assert 0 < done < 3 * len(ALL_STEPS) and not (tmp_path / "list.json").exists()

    process = run_until(done + 2)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    output = process.communicate(timeout=HANG)[0].decode()
    assert process.returncode == 2 and "was killed (SIGKILL)" in output and "2 usable" in output, output

    finished = subprocess.run(command(info, "--workers", "1"), capture_output=True, text=True, timeout=HANG)
    assert finished.returncode == 0 and "3 usable" in finished.stdout and "DONE" in finished.stdout, finished
    assert len(json.loads((tmp_path / "list.json").read_text())) == 6
    assert not list(tmp_path.rglob(".prepare*"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_an_interrupted_run_cleans_up(tmp_path, make_clip, write_info):
    pytest.importorskip("tyro")
    info = write_info(tmp_path, [make_clip(tmp_path / "in" / "a.mp4", frames=60)])
    process = subprocess.Popen(
        command(info, "--workers", "1"),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )
    while process.poll() is None and not list((tmp_path / "video").glob(".prepare*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=HANG)[1].decode()
    assert process.returncode == 130 and "the same command goes on" in said and "Traceback" not in said
    assert not list(tmp_path.rglob(".prepare*")) and not list(tmp_path.rglob("*.tmp"))


def count_steps(status):
    total = 0
    for path in status.glob("*-*.json"):
        try:
            total += len(json.loads(path.read_text())["steps"])
        except (ValueError, OSError):
            pass  # just being replaced
    return total


def wait_for_end(pids):
    """The orphaned workers end their step, then notice."""
    end = time.monotonic() + HANG
    while any(Path(f"/proc/{pid}").is_dir() for pid in pids):
        assert time.monotonic() < end, "an orphaned worker goes on"
        time.sleep(0.05)


@pytest.mark.slow
def test_ray_gives_the_same(prepared, tmp_path, make_clip, write_info):
    pytest.importorskip("ray")
    info, summary = prepared
    videos = [Path(one.clip) for one in summary.results if Path(one.clip).stem in ("good", "two", "nobody")]
    other = write_info(tmp_path, videos)
    on_ray = run_steps(other, ALL_STEPS, FEATURES, RunOptions(workers=2, engine="ray", quiet=True))
    assert [one.failed is None for one in on_ray.results] == [True, True, False]
    for name in ("LP_npy", "hubert_aud_npy", "eye_ball_npy_flip", "emo_npy"):
        np.testing.assert_array_equal(arrays(other, name), arrays(info, name))
