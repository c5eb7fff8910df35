"""Presets stand between the pack's defaults and what is given by name."""

import pytest

from core.errors import InputError
from core.settings.options import PackConfig
from core.settings.run_options import make_options

PACK = PackConfig(default_kwargs={"overlap_v2": 70, "smo_k_s": 13, "sampling_timesteps": 10})


def test_a_preset_goes_before_the_pack_and_after_what_is_given():
    options = make_options(PACK, preset="quality", sampling_timesteps=33)
    motion = options.motion
    assert (motion.sampling_timesteps, motion.overlap_v2, motion.smo_k_d, options.source.smo_k_s) == (33, 15, 5, 13)
    assert make_options(PACK, preset="fast").source.max_size == 512
    assert make_options(PACK).motion.overlap_v2 == 70


def test_online_mode_keeps_an_overlap_that_works():
    assert make_options(PACK, preset="fast", online_mode=True).motion.overlap_v2 == 70
    pack = PackConfig(online_kwargs={"overlap_v2": 75})
    assert make_options(pack, preset="fast", online_mode=True).motion.overlap_v2 == 75


def test_source_smoothing_that_a_pack_has_turned_off_stays_off():
    assert make_options(PackConfig(default_kwargs={"smo_k_s": 1}), preset="quality").source.smo_k_s == 1


def test_unknown_preset():
    with pytest.raises(InputError, match="fast, balanced or quality"):
        make_options(PACK, preset="best")


@pytest.mark.parametrize("name, value", [("smile", 1.2), ("gaze_x", -40), ("blink_rate", 100), ("amp_exp", -1)])
def test_controls_out_of_range(name, value):
    with pytest.raises(InputError, match=f"{name}.*{value}.*must be"):
        make_options(PACK, **{name: value})


def test_controls_of_the_wrong_type():
    with pytest.raises(InputError, match="smile"):
        make_options(PACK, smile="much")
    assert make_options(PACK, smile=None).control.smile is None
