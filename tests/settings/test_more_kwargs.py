"""The reference's dictionary of options."""

from __future__ import annotations

import copy
import pickle

import pytest

from core.errors import InputError, PackError
from core.settings.more_kwargs import options_from


def test_both_parts_become_options_and_controls_are_merged():
    more = {
        "setup_kwargs": {"emo": 3, "ctrl_info": {0: {"delta_yaw": 5, "vad_alpha": 0}, 7: {"delta_pitch": 1}}},
        "run_kwargs": {"fade_in": 5, "ctrl_info": {0: {"delta_yaw": 9}}, "chunksize": (3, 5, 2)},
    }
    before = copy.deepcopy(more)
    assert options_from(more) == {
        "emo": 3,
        "fade_in": 5,
        "chunksize": (3, 5, 2),
        "ctrl_info": {0: {"delta_yaw": 9, "vad_alpha": 0}, 7: {"delta_pitch": 1}},
    }
    assert more == before


@pytest.mark.parametrize("nothing", [None, {}, {"run_kwargs": {}}, {"setup_kwargs": None}])
def test_nothing_given(nothing):
    assert options_from(nothing) == {}


def test_files(tmp_path):
    more = {"run_kwargs": {"fade_out": 4}}
    (tmp_path / "more.pkl").write_bytes(pickle.dumps(more))
    (tmp_path / "more.yaml").write_text("run_kwargs: {fade_out: 4}\n")
    assert options_from(tmp_path / "more.pkl") == options_from(str(tmp_path / "more.yaml")) == {"fade_out": 4}


def test_what_is_refused(tmp_path):
    for wrong in ({"emo": 3}, [1], 5):
        with pytest.raises(InputError, match="setup_kwargs and run_kwargs"):
            options_from(wrong)
    with pytest.raises(InputError, match="'seed'.*fade_in"):
        options_from({"run_kwargs": {"seed": 1}})
    with pytest.raises(InputError, match="no such file"):
        options_from(tmp_path / "no.pkl")
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(PackError, match="evil.pkl"):
        options_from(tmp_path / "evil.pkl")
