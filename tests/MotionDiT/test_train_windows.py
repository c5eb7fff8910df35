"""Samples, index maps, preload pickles and checks of the data against the goldens of the reference (spec 7)."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from MotionDiT import features, preloaded
from MotionDiT.features import DiskClips, Wanted
from MotionDiT.loader import Loader
from MotionDiT.records import Record, read_records, require_files, split
from MotionDiT.windows import Windows, index_map, measure, read_scaling

NAMES = ("mtn", "aud", "emo", "eye_open", "eye_ball", "lmk")
QUICK = ("emo", "eye_open", "eye_ball", "sc")


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("training_dataset.json"), golden("training_dataset.npz")


@pytest.fixture
def records(recorded, tmp_path):
    cases, arrays = recorded
    found = []
    for number, frames in enumerate(cases["frame_nums"]):
        files = {}
        for name in NAMES:
            files[name] = str(tmp_path / f"{name}{number}.npy")
            np.save(files[name], arrays[f"in/clip{number}/{name}"])
        found.append(Record(frames, files))
    np.save(tmp_path / "mean_var.npy", arrays["in/mean_var"])
    return found


def wanted(options):
    extras = tuple(name for name in features.EXTRAS if options.get(f"use_{name}"))
    return Wanted(options.get("motion_feat_start", 0), options["motion_feat_dim"], extras)


def config_names():
    from pathlib import Path

    path = Path(__file__).resolve().parents[1] / "golden" / "training_dataset.json"
    return sorted(json.loads(path.read_text())["configs"])


@pytest.mark.parametrize("name", config_names())
def test_samples_equal_the_reference(recorded, records, tmp_path, name):
    cases, arrays = recorded
    case = cases["configs"][name]
    options = case["options"]
    columns = wanted(options)
    clips = DiskClips(records, columns, keep=bool(options.get("cache")))
    if options.get("preload"):
        preloaded.write_pickle(tmp_path / "p.pkl", [features.read_clip(r, columns) for r in records], np.zeros((0, 2)))
        clips = preloaded.read_pickle(tmp_path / "p.pkl", records, columns)
    scaling = read_scaling(tmp_path / "mean_var.npy", 265) if "mtn_mean_var_npy" in options else None
    relative = tuple(options.get("motion_feat_offset_dim_se", ()))
    last = options.get("use_last_frame", False)
    windows = Windows(clips, cases["seq_len"], columns.extras, last, relative, scaling)
    assert len(windows) == case["len"]
    for index, item in case["items"].items():
        drawn = [value for _, _, value in item["randint_calls_lo_hi_value"]]
        batch = windows.at(np.array([int(index)]), np.array([drawn[0]]), np.array([drawn[-1]]))
        for field in ("kp_seq", "kp_cond", "aud_cond"):
            expected = arrays[f"out/{name}/{index}/{field}"]
            assert getattr(batch, field).dtype == np.float32
            np.testing.assert_allclose(getattr(batch, field)[0], expected, rtol=0, atol=1e-6)


def test_index_maps(recorded):
    cases, _ = recorded
    assert index_map(cases["frame_nums"], cases["seq_len"]).tolist() == cases["idx_map"]
    for case in cases["idx_map_cases"]:
        found = index_map(case["frame_nums"], case["seq_len"])
        assert len(found) == case["num_seq"]
        assert found[:3].tolist() == case["first"][:3]
        assert found[len(found) - len(case["last"]) :].tolist() == case["last"]
        assert np.bincount(found[:, 0], minlength=len(case["frame_nums"])).tolist() == case["per_clip"]


@given(st.lists(st.integers(1, 40), max_size=6), st.integers(1, 30))
def test_every_window_lies_in_its_clip_behind_one_frame(frames, length):
    found = index_map(frames, length)
    expected = [[clip, first] for clip, n in enumerate(frames) for first in range(1, n - length + 1)]
    assert found.tolist() == expected


def test_mean_and_variance(recorded, records):
    _, arrays = recorded
    clips = [features.read_clip(record, Wanted(0, 265, ())) for record in records]
    found = measure(clips)
    np.testing.assert_allclose([found.mean, found.variance], arrays["in/mean_var"], rtol=2e-6, atol=1e-9)
    np.testing.assert_allclose(found.deviation, arrays["out/mean_var/mean_std"][1], rtol=2e-6)


def test_preload_pickle_has_the_reference_structure(recorded, records, tmp_path):
    cases, arrays = recorded
    columns = Wanted(0, 265, QUICK)
    clips = [features.read_clip(record, columns, copy=True) for record in records]
    path = tmp_path / "p.pkl"
    preloaded.write_pickle(path, clips, index_map(cases["frame_nums"], cases["seq_len"]))
    content = pickle.loads(path.read_bytes())
    assert isinstance(content, list) and content[1] == cases["preload_pkl"]["element1"]
    for clip, expected in zip(content[0], cases["preload_pkl"]["clips"], strict=True):
        assert clip.keys() == expected.keys()
        for key in clip.keys() - {"frame_num"}:
            assert [*clip[key].shape] == expected[key]["shape"] and str(clip[key].dtype) == expected[key]["dtype"]
    for key in ("sc", "eye_ball"):
        assert np.array_equal(content[0][0][key], arrays[f"preload/clip0/{key}"])


def test_a_pickle_of_other_clips_is_refused(records, tmp_path):
    columns = Wanted(0, 265, ())
    path = tmp_path / "p.pkl"
    preloaded.write_pickle(path, [features.read_clip(r, columns) for r in records], np.zeros((0, 2)))
    with pytest.raises(InputError, match="another data list"):
        preloaded.read_pickle(path, records[:2], columns)
    with pytest.raises(InputError, match="has no emo"):
        preloaded.read_pickle(path, records, Wanted(0, 265, ("emo",)))
    path.write_bytes(pickle.dumps([[print], []]))
    with pytest.raises(InputError, match="builtins.print"):
        preloaded.read_pickle(path, records, columns)


def test_packed_folder(records, tmp_path):
    columns = Wanted(0, 265, QUICK)
    clips = [features.read_clip(record, columns) for record in records]
    starts = np.cumsum([0, *(clip.frames for clip in clips)])
    folder = tmp_path / "packed"
    folder.mkdir()
    for name in ("mtn", "aud", *QUICK):
        np.save(folder / f"{name}.npy", np.concatenate([clip.arrays[name] for clip in clips]))
    entries = [
        {"name": clip.name, "frame_num": clip.frames, "start": dict.fromkeys(("mtn", "aud", *QUICK), int(start))}
        for clip, start in zip(clips, starts)
    ]
    (folder / "index.json").write_text(json.dumps({"format": "ditto-features-1", "options": {}, "clips": entries}))
    found = preloaded.read_packed(folder, records, columns)
    for clip, expected in zip(found, clips, strict=True):
        assert all(np.array_equal(clip.arrays[name], expected.arrays[name]) for name in expected.arrays)
    with pytest.raises(InputError, match="another data list"):
        preloaded.read_packed(folder, records[1:], columns)
    (folder / "emo.npy").unlink()
    with pytest.raises(InputError, match="emo.npy.*make it with"):
        preloaded.read_packed(folder, records, columns)


def test_bad_features_are_named(records):
    columns = Wanted(0, 265, ("emo",))
    assert features.check(DiskClips(records, columns), columns) == {"aud": 16, "emo": 8}
    bad = np.load(records[1].files["aud"])
    bad[4, 3] = np.nan
    np.save(records[1].files["aud"], bad)
    with pytest.raises(InputError, match=r"aud1\.npy: aud is not finite in frame 4"):
        features.check(DiskClips(records, columns), columns)
    np.save(records[1].files["aud"], bad[:, :9])
    with pytest.raises(InputError, match=r"aud1\.npy: aud is \(13, 9\), expected \(13, 16\)"):
        features.check(DiskClips(records, columns), columns)
    np.save(records[1].files["aud"], bad[:5])
    with pytest.raises(InputError, match=r"aud1\.npy: .*not 13 rows"):
        features.check(DiskClips(records, columns), columns)


def test_records(make_set, tmp_path):
    path = make_set(flip=True)
    records = read_records(path, ("emo",))
    assert [record.frame_num for record in records] == [30, 26, 22] * 2
    for number in (0, 4):
        (tmp_path / records[number].files["aud"]).unlink()
    with pytest.raises(InputError, match=r"2 feature files .*aud/clip0.npy, .*aud_flip/clip1.npy"):
        require_files(records)
    with pytest.raises(InputError, match="entry 0 has no lmk; .*--use_lmk"):
        read_records(path, ("lmk",))
    path.write_text("[]")
    with pytest.raises(InputError, match="has none"):
        read_records(path, ())


def test_a_split_keeps_twins_together(make_set):
    records = read_records(make_set((30, 26, 22, 25), flip=True), ())
    train, held = split(records, 0.25, seed=3)
    assert sorted(train + held) == list(range(8)) and len(held) == 2
    assert records[held[0]].video == records[held[1]].video
    assert (train, held) == split(records, 0.25, seed=3)
    assert split(records, 0, seed=3) == (list(range(8)), [])


class Numbers:
    """Windows whose batches are the numbers of the windows."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def batch(self, chosen, fractions):
        return chosen, fractions


@pytest.mark.parametrize("drop_last", [True, False])
def test_processes_share_the_batches_of_one(drop_last):
    one = Loader(Numbers(23), 6, seed=1, drop_last=drop_last)
    two = [Loader(Numbers(23), 3, 1, world=2, rank=rank, drop_last=drop_last) for rank in (0, 1)]
    assert one.steps == two[0].steps == (3 if drop_last else 4)
    for number in range(3):
        whole, halves = one.batch(5, number), [loader.batch(5, number) for loader in two]
        for i in (0, 1):
            assert np.array_equal(whole[i], np.concatenate([half[i] for half in halves], axis=-1))
    seen = np.concatenate([batch[0] for _, _, batch in one.epoch(5)])
    assert len(set(seen)) == len(seen) == (18 if drop_last else 23)
    assert not np.array_equal(seen[:6], one.batch(6, 0)[0])


def test_an_epoch_can_begin_in_the_middle():
    loader = Loader(Numbers(40), 4, seed=1, threads=3)
    whole = [(number, batch[0].tolist()) for number, _, batch in loader.epoch(2)]
    assert [number for number, _ in whole] == list(range(10))
    assert [(number, batch[0].tolist()) for number, _, batch in loader.epoch(2, first=7)] == whole[7:]


def test_too_few_windows():
    with pytest.raises(InputError, match=r"7 windows .* 4 on each of 2 processes.* --batch_size 3 or less"):
        Loader(Numbers(7), 4, 0, world=2)
