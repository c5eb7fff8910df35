"""Items, masks and references against recorded numbers of the reference, and data sets that are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")

from core.errors import InputError
from DiffTalk.dataset import SamplingFaces, TalkingFaces, read_counts, reference_frames
from DiffTalk.pictures import first_masked_row, keep_mask, read_landmarks

TRAINING = {"1_1": "1_150", "1_2": "1_150", "1_150": "1_1"}


@pytest.fixture
def tree(stand_ins: Any, tmp_path: Path) -> Path:
    stand_ins.write_tree(str(tmp_path))
    return tmp_path


def as_bytes(picture: Any) -> np.ndarray:
    return np.rint((picture.numpy() + 1) * 127.5).astype(np.uint8)


@pytest.mark.parametrize("stem", TRAINING)
def test_training_items(golden: Any, tree: Path, stem: str) -> None:
    recorded = golden("difftalk_dataset.npz")
    item = TalkingFaces(tree, "data_train.txt", 64, 30).item(stem, TRAINING[stem])
    for name in ("image", "image_mask", "reference_img"):
        assert np.array_equal(as_bytes(item[name]), recorded[f"train/size64/{stem}/{name}_u8"]), name
    for name in ("landmarks", "audio_smooth"):
        np.testing.assert_allclose(item[name], recorded[f"train/size64/{stem}/{name}"], atol=1e-5)
    assert item["frame_id"] == 1


@pytest.mark.parametrize("stem", ["2_1", "2_100"])
def test_sampling_items(golden: Any, tree: Path, stem: str) -> None:
    recorded = golden("difftalk_dataset.npz")
    items = SamplingFaces(tree, "data_test.txt", 256, 33)
    item = items[items.stems.index(stem)]
    assert item["reference_path"].endswith("2_1.jpg")
    for name in ("landmarks", "landmarks_all", "audio_smooth", "inference_mask", "scaler"):
        np.testing.assert_allclose(item[name], recorded[f"inference/size256/{stem}/{name}"], atol=1e-5, err_msg=name)
    first_row = golden("difftalk_dataset.json")["first_masked_row"][f"inference/size256/{stem}"]
    rows = np.flatnonzero((as_bytes(item["image_mask"]) != 0).any(axis=(1, 2)))
    assert rows.max() == first_row - 1


def test_masks_of_large_pictures(golden: Any, tree: Path) -> None:
    recorded = golden("difftalk_dataset.npz")
    for stem in TRAINING:
        points = read_landmarks(tree / "HDTF/landmarks" / f"{stem}.lms")
        mask = keep_mask(points, 512, 512, 256)
        assert np.array_equal(mask, recorded[f"inference/size256/{stem}/inference_mask"])
    assert first_masked_row(points, 30, 2.0) == 112


def test_reference_range(golden: Any) -> None:
    counts = {"1": 200, "2": 150}
    for stem, expected in golden("difftalk_dataset.json")["reference_candidates"].items():
        identity, frame = stem.split("_")
        found = reference_frames(int(frame), counts[identity])
        assert {"lowest": found.min(), "highest": found.max(), "count": len(found)} == expected


def test_short_clips_use_the_farthest_frame() -> None:
    assert reference_frames(60, 119).tolist() == [1]
    assert reference_frames(10, 50).tolist() == [49]


def test_references_change_with_the_epoch_and_repeat_with_the_seed(tree: Path) -> None:
    for frame in range(70, 150):
        (tree / f"HDTF/images/1_{frame}.jpg").write_bytes(b"x")
    one, two = (TalkingFaces(tree, "data_train.txt", 64, 30, seed=5) for _ in range(2))
    first = one.reference(0)
    assert first == two.reference(0)
    drawn = set()
    for one.epoch in range(10):
        drawn.add(one.reference(0))
    assert len(drawn) > 3 and first in drawn


def _remove_picture(tree: Path) -> None:
    (tree / "HDTF/images/1_2.jpg").unlink()


def _cut_landmarks(tree: Path) -> None:
    (tree / "HDTF/landmarks/1_2.lms").write_text("1 2\n3 4\n")


def _normalise_landmarks(tree: Path) -> None:
    path = tree / "HDTF/landmarks/1_2.lms"
    np.savetxt(path, np.loadtxt(path) / 512)


def _short_audio(tree: Path) -> None:
    np.save(tree / "HDTF/audio_smooth/1_2.npy", np.zeros((7, 16, 29), np.float32))


def _pickled_audio(tree: Path) -> None:
    np.save(tree / "HDTF/audio_smooth/1_2.npy", np.array([{}]), allow_pickle=True)


def _wide_picture(tree: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48)).save(tree / "HDTF/images/1_2.jpg")


def _no_counts(tree: Path) -> None:
    (tree / "HDTF/data.txt").unlink()


def _bad_stem(tree: Path) -> None:
    (tree / "data_train.txt").write_text("1-2\n")


BROKEN = [
    (_remove_picture, "1_2 .picture."),
    (_cut_landmarks, "68 landmarks"),
    (_normalise_landmarks, "pixels"),
    (_short_audio, r"7, 16, 29"),
    (_pickled_audio, "damaged"),
    (_wide_picture, "square"),
    (_no_counts, "data.txt"),
    (_bad_stem, "1-2"),
]


@pytest.mark.parametrize(("breaks", "says"), BROKEN)
def test_broken_data_is_refused_in_one_line(tree: Path, breaks: Any, says: str) -> None:
    breaks(tree)
    with pytest.raises(InputError, match=says) as refused:
        items = TalkingFaces(tree, "data_train.txt", 64, 30)
        items.item("1_2", "1_1")
    assert "\n" not in str(refused.value)


def test_missing_files_can_be_skipped(tree: Path) -> None:
    _remove_picture(tree)
    items = TalkingFaces(tree, "data_train.txt", 64, 30, missing="skip")
    assert items.stems == ["1_1", "1_150"]


def test_mask_that_misses_the_mouth_is_refused(stand_ins: Any) -> None:
    points = stand_ins.tree_landmarks((1, 1)).astype(float)
    points[48:68, 1] -= 200
    with pytest.raises(InputError, match="cover the mouth"):
        keep_mask(points, 512, 512, 256, "frame 7")


def test_counts_go_by_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("3 120\n1 90\n")
    assert read_counts(path) == {3: 120, 1: 90}
    path.write_text("anna.mp4 120\nbert.mp4 90\n")
    assert read_counts(path) == {1: 120, 2: 90}
