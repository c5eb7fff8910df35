"""data_list.json against the reference's, and why clips are left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from prepare_data.gather import Dropped, Gathered, gather, write_list
from prepare_data.options import GatherOptions


@pytest.fixture
def reference(golden, tmp_path, monkeypatch):
    case = golden("training_gather.json")
    monkeypatch.chdir(tmp_path)
    for path, count in case["npy_files_first_dim"].items():
        folder = Path(path).parent.name.removesuffix("_flip")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros((count, *case["npy_trailing_shape"][folder]), np.float32))
    Path("data_info.json").write_text(json.dumps(case["data_info"]))
    return case


def options(args):
    return GatherOptions(**{name.lstrip("-"): True for name in args})


def test_lists_are_those_of_the_reference(reference):
    for name, result in reference["results"].items():
        found = gather("data_info.json", options(result["args"]))
        assert json.dumps(found.records) == json.dumps(result["data_list"]), name
        assert [str(count) for count in found.counts] == result["stdout_counts"], name


def test_what_is_left_out_is_said_once_per_clip(reference):
    found = gather("data_info.json", options(reference["results"]["quick_start"]["args"]))
    lines = "\n".join(found.dropped_lines())
    assert lines.count("short80.mp4") == 1 and "short80.npy: only 80 frames, 81 are needed" in lines
    assert "noemo.mp4: mini/emo_npy/noemo.npy: no such feature file" in lines
    assert "noflip.mp4 (mirrored): mini/LP_npy_flip/noflip.npy" in lines
    assert "noemo" not in "\n".join(found.dropped_lines({"mini/fps25_mp4/noemo.mp4"}))


def test_shorter_windows_need_fewer_frames(reference):
    counts = [gather("data_info.json", GatherOptions(min_frames=n)).counts[0] for n in (80, 81, 82)]
    assert counts == [6, 5, 4]


def test_an_empty_list_is_refused_and_the_old_one_stays(tmp_path):
    (tmp_path / "l.json").write_text("old")
    with pytest.raises(InputError, match="no clip can be used.*too short"):
        write_list(tmp_path / "l.json", Gathered([], [0], [Dropped("a", False, "too short")]))
    assert (tmp_path / "l.json").read_text() == "old"


def test_other_versions_are_refused(reference):
    with pytest.raises(InputError, match="v1 is not implemented"):
        gather("data_info.json", GatherOptions(dataset_version="v1"))
