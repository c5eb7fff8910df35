"""The 328 columns and the pickle against the reference's."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InputError
from core.settings.safe_pickle import load_plain_pickle
from prepare_data.motion_format import KEYS, to_frames, to_rows, write_pickle


@pytest.fixture
def frames(golden):
    arrays = golden("training_prepare.npz")
    count = len(arrays["lp/in/pitch"])
    return [{key: arrays[f"lp/in/{key}"][i] for key in KEYS} for i in range(count)]


def test_columns_are_those_of_the_reference(golden, frames):
    arrays = golden("training_prepare.npz")
    np.testing.assert_array_equal(to_rows(frames), arrays["lp/npy"])
    np.testing.assert_array_equal(to_rows(frames, with_kp=False), arrays["lp/npy_ignore_kp"])


def test_the_way_back(golden, frames):
    case = golden("training_prepare.json")["lp"]
    back = to_frames(to_rows(frames))
    assert list(back[0]) == case["pkl_key_order"]
    assert {key: list(back[0][key].shape) for key in KEYS} == case["back_shapes"]
    for key in KEYS:
        np.testing.assert_allclose(back[1][key], frames[1][key], atol=1e-6)
    assert set(to_frames(to_rows(frames)[:, :265])[0]) == set(case["back_265"])
    with pytest.raises(InputError, match="265 columns"):
        to_frames(np.zeros((2, 264), np.float32))


def test_the_pickle_is_plain_and_comes_back(tmp_path, frames):
    rows = to_rows(frames)
    write_pickle(tmp_path / "x.pkl", rows)
    content = load_plain_pickle(tmp_path / "x.pkl")
    np.testing.assert_allclose(to_rows(content), rows, atol=1e-6)
    assert [list(frame) for frame in content] == [list(KEYS)] * 2
    assert content[0]["scale"].dtype == np.float32 and content[0]["pitch"].shape == (1, 66)
