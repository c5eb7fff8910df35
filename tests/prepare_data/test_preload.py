"""The preload pickle and the memory-mapped folder: content, faults, and when they are made anew."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from core.errors import InputError, OutputError
from core.settings.safe_pickle import load_plain_pickle
from MotionDiT import preloaded
from MotionDiT.features import Wanted, read_clip
from MotionDiT.records import read_records
from prepare_data.options import PreloadOptions
from prepare_data.preload import mean_variance, write_mean_variance, write_mmap, write_pickle

OPTIONS = PreloadOptions(
    seq_frames=12, use_emo=True, use_eye_open=True, use_eye_ball=True, use_sc=True, use_lmk=True, motion_feat_dim=265
)
SHAPES = {"mtn": (328,), "aud": (16,), "emo": (8,), "eye_open": (2,), "eye_ball": (3, 2), "lmk": (478, 3)}
FRAMES = (14, 13, 21)


@pytest.fixture
def records(tmp_path):
    """Three plain clips and a mirrored twin of the first, some arrays longer than `frame_num`."""
    rng = np.random.default_rng(0)
    out = []
    for number, frames in enumerate((*FRAMES, FRAMES[0])):
        record = {}
        for key, shape in SHAPES.items():
            shared = number == 3 and key in ("aud", "emo")
            path = tmp_path / f"{key}_{0 if shared else number}.npy"
            if not shared:
                np.save(path, rng.normal(size=(frames + number % 2, *shape)).astype(np.float32))
            record[key] = str(path)
        out.append({**record, "frame_num": frames})
    return out


@pytest.fixture
def data_list(tmp_path, records):
    path = tmp_path / "list.json"
    path.write_text(json.dumps(records))
    return path


def test_the_pickle_is_as_the_reference_reads_it(tmp_path, data_list, records):
    write_pickle(data_list, tmp_path / "p.pkl", OPTIONS)
    clips, windows = load_plain_pickle(tmp_path / "p.pkl")
    expected = [(clip, first) for clip, n in enumerate((14, 13, 21, 14)) for first in range(1, n - 11)]
    assert windows == [list(one) for one in expected]
    assert list(clips[0]) and {key: clips[1][key].shape for key in clips[1] if key != "frame_num"} == {
        **{"mtn": (13, 265), "aud": (13, 16), "sc": (13, 63), "emo": (13, 8)},
        **{"eye_open": (13, 2), "eye_ball": (13, 6), "lmk": (13, 1434)},
    }
    motion, ball = np.load(records[1]["mtn"]), np.load(records[1]["eye_ball"])
    np.testing.assert_array_equal(clips[1]["mtn"], motion[:13, :265])
    np.testing.assert_array_equal(clips[1]["sc"], motion[:13, 265:])
    np.testing.assert_array_equal(clips[1]["eye_ball"], ball[:13].reshape(13, 6))
    assert type(pickle.loads((tmp_path / "p.pkl").read_bytes())) is list


def test_the_mapped_folder_holds_the_same(tmp_path, data_list):
    write_pickle(data_list, tmp_path / "p.pkl", OPTIONS)
    write_mmap(data_list, tmp_path / "m", OPTIONS)
    clips, _ = load_plain_pickle(tmp_path / "p.pkl")
    index = json.loads((tmp_path / "m" / "index.json").read_text())
    for clip, entry in zip(clips, index["clips"]):
        assert entry["frame_num"] == clip["frame_num"]
        for kind, width in index["dims"].items():
            start = entry["start"][kind]
            rows = np.load(tmp_path / "m" / f"{kind}.npy", mmap_mode="r")[start : start + clip["frame_num"]]
            np.testing.assert_array_equal(rows, clip[kind])
            assert rows.dtype == np.float32 and rows.shape[1] == width
    assert len(np.load(tmp_path / "m" / "aud.npy")) == sum(FRAMES)  # the mirrored clip shares its sound
    assert len(np.load(tmp_path / "m" / "mtn.npy")) == sum(FRAMES) + FRAMES[0]


def test_training_reads_both(tmp_path, data_list):
    write_pickle(data_list, tmp_path / "p.pkl", OPTIONS)
    write_mmap(data_list, tmp_path / "m", OPTIONS)
    extras = ("emo", "eye_open", "eye_ball", "sc")
    listed, wanted = read_records(data_list, extras[:3]), Wanted(0, 265, extras)
    mapped = preloaded.read_packed(tmp_path / "m", listed, wanted)
    pickled = preloaded.read_pickle(tmp_path / "p.pkl", listed, wanted)
    for number in range(4):
        read = read_clip(listed[number], wanted)
        for name in ("mtn", "aud", *extras):
            np.testing.assert_array_equal(mapped[number].arrays[name], read.arrays[name])
            np.testing.assert_array_equal(pickled[number].arrays[name], read.arrays[name])


@pytest.mark.parametrize("write", [write_pickle, write_mmap])
def test_made_anew_only_when_something_changed(tmp_path, data_list, records, write):
    out = tmp_path / "out"
    assert write(data_list, out, OPTIONS)
    assert not write(data_list, out, OPTIONS)
    assert write(data_list, out, PreloadOptions(seq_frames=10, use_emo=True))
    np.save(records[0]["aud"], np.ones((20, 16), np.float32))
    assert write(data_list, out, PreloadOptions(seq_frames=10, use_emo=True))
    data_list.write_text(json.dumps(records[:2]))
    assert write(data_list, out, PreloadOptions(seq_frames=10, use_emo=True))


def test_a_bare_pickle_is_not_taken_for_ours(tmp_path, data_list):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps([[], []]))
    assert write_pickle(data_list, tmp_path / "p.pkl", OPTIONS)
    assert len(load_plain_pickle(tmp_path / "p.pkl")[0]) == 4


def test_all_missing_files_are_named_at_once(tmp_path, data_list, records):
    for path in (tmp_path / "emo_1.npy", tmp_path / "aud_2.npy"):
        path.unlink()
    with pytest.raises(InputError, match="2 feature files.*emo_1.npy.*aud_2.npy"):
        write_pickle(data_list, tmp_path / "p.pkl", OPTIONS)
    assert not (tmp_path / "p.pkl").exists()


def test_nan_is_refused_with_the_file(tmp_path, data_list, records):
    rows = np.load(records[2]["mtn"])
    rows[5, 7] = np.nan
    np.save(records[2]["mtn"], rows)
    for write in (write_pickle, write_mmap):
        with pytest.raises(InputError, match="mtn_2.npy: mtn is not finite in frame 5"):
            write(data_list, tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("key", "array", "said"),
    [
        ("mtn", np.zeros((14, 265), np.float32), "328 columns are needed"),
        ("emo", np.zeros((14, 7), np.float32), "emo is .14, 7."),
        ("aud", np.zeros((3, 16), np.float32), "float32 of shape .3, 16., not 14 rows"),
        ("eye_ball", np.zeros((14, 5), np.float32), "eye_ball is .14, 5."),
        ("aud", np.zeros((14, 16), object), "cannot be read as an npy file"),
    ],
)
def test_unfit_arrays_are_explained(tmp_path, data_list, records, key, array, said):
    np.save(records[0][key], array, allow_pickle=True)
    with pytest.raises(InputError, match=f"{key}_0.npy: .*{said}"):
        write_pickle(data_list, tmp_path / "p.pkl", OPTIONS)


def test_features_of_two_packs_do_not_mix(tmp_path, data_list, records):
    np.save(records[1]["aud"], np.zeros((14, 9), np.float32))
    with pytest.raises(InputError, match=r"aud_1.npy: aud is \(13, 9\), expected \(13, 16\); .*different packs"):
        write_pickle(data_list, tmp_path / "p.pkl", OPTIONS)


def test_a_foreign_folder_is_left_alone(tmp_path, data_list):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "photo.jpg").touch()
    with pytest.raises(InputError, match="holds other files"):
        write_mmap(data_list, tmp_path / "m", OPTIONS)


def test_a_full_disk_leaves_nothing_behind(tmp_path, data_list, monkeypatch):
    from prepare_data import preload

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preload, "_write_header", full)
    with pytest.raises(OutputError, match="No space left"):
        write_mmap(data_list, tmp_path / "m", OPTIONS)
    assert not (tmp_path / "m").exists() and not list(tmp_path.glob(".*"))


def test_mean_and_variance(tmp_path, data_list, records, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mean_variance(data_list, "mv.npy", PreloadOptions())
    rows = np.concatenate([np.load(record["mtn"])[: record["frame_num"], :265] for record in records])
    np.testing.assert_allclose(np.load("mv.npy"), np.stack([rows.mean(0), rows.var(0)]), rtol=1e-5, atol=1e-6)
    assert mean_variance(data_list, PreloadOptions()).shape == (2, 265)


def test_mean_and_variance_are_those_of_the_reference(golden, tmp_path):
    arrays, case = golden("training_dataset.npz"), golden("training_dataset.json")
    records = []
    for number, frames in enumerate(case["frame_nums"]):
        record = {}
        for key in ("mtn", "aud"):
            record[key] = str(tmp_path / f"{key}{number}.npy")
            np.save(record[key], arrays[f"in/clip{number}/{key}"])
        records.append({**record, "frame_num": frames})
    (tmp_path / "l.json").write_text(json.dumps(records))
    wanted = arrays["in/mean_var"]
    found = mean_variance(tmp_path / "l.json", PreloadOptions(motion_feat_dim=wanted.shape[1]))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
