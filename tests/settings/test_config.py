"""Options and configuration files: precedence, names, types, and that a pickle cannot run anything."""

import os
import pickle
import pickletools
from collections import OrderedDict

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.errors import InputError, PackError
from core.settings.config import load_config
from core.settings.options import PackConfig, RunOptions
from core.settings.run_options import RANGES, make_options, option_names
from core.settings.safe_pickle import load_plain_pickle

# the table of spec section 3
FALLBACKS = {
    "max_size": 1920, "template_n_frames": -1, "crop_scale": 2.3, "crop_vx_ratio": 0, "crop_vy_ratio": -0.125,
    "crop_flag_do_rot": True, "smo_k_s": 13, "emo": 4, "eye_f0_mode": False, "ch_info": None, "overlap_v2": 10,
    "fix_kp_cond": 0, "fix_kp_cond_dim": None, "sampling_timesteps": 50, "online_mode": False,
    "v_min_max_for_clip": None, "smo_k_d": 3, "N_d": -1, "use_d_keys": None, "relative_d": True, "drive_eye": None,
    "delta_eye_arr": None, "delta_eye_open_n": 0, "fade_type": "", "fade_out_keys": ("exp",), "flag_stitching": True,
    "ctrl_info": {}, "overall_ctrl_info": {},
}  # fmt: skip


def flat(options: RunOptions) -> dict:
    """All option values by name."""
    values = {}
    for name, value in vars(options).items():
        values.update(
            vars(value)
            if type(value).__module__ in ("core.settings.options", "core.settings.config")
            else {name: value}
        )
    return values


def test_fallbacks_are_those_of_the_reference():
    values = flat(make_options())
    assert {name: values[name] for name in FALLBACKS} == FALLBACKS
    assert set(values) == set(option_names())


def test_precedence_given_over_pack_over_fallback():
    config = PackConfig(default_kwargs={"overlap_v2": 70, "smo_k_d": 5, "crop_scale": 2})
    options = make_options(config, smo_k_d=1)
    assert (options.motion.overlap_v2, options.motion.smo_k_d, options.motion.fix_kp_cond) == (70, 1, 0)
    assert options.crop.crop_scale == 2.0 and isinstance(options.crop.crop_scale, float)


def test_an_explicit_none_overrides_the_pack():
    config = PackConfig(default_kwargs={"delta_eye_arr": np.ones((2, 63))})
    assert make_options(config).stitch.delta_eye_arr.dtype == np.float32
    assert make_options(config, delta_eye_arr=None).stitch.delta_eye_arr is None
    assert make_options(ctrl_info=None).ctrl_info == {}


def test_nothing_is_shared_with_the_caller_or_the_pack():
    rows, controls = np.ones((2, 63), np.float32), {0: {"delta_pitch": 1.0}}
    config = PackConfig(default_kwargs={"delta_eye_arr": rows, "overall_ctrl_info": {"delta_pitch": 2}})
    options = make_options(config, ctrl_info=controls)
    options.stitch.delta_eye_arr[:] = 0
    options.stitch.overall_ctrl_info["delta_pitch"] = 9
    options.ctrl_info[0]["delta_pitch"] = 9
    assert rows.all() and config.default_kwargs["overall_ctrl_info"] == {"delta_pitch": 2}
    assert controls == {0: {"delta_pitch": 1.0}}


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(InputError, match="'crop_scal'.*did you mean 'crop_scale'"):
        make_options(crop_scal=2)
    with pytest.raises(PackError, match="'overlap'.*'overlap_v2'"):
        make_options(PackConfig(default_kwargs={"overlap": 2}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_size": "big"}, {"max_size": 1.5}, {"max_size": True}, {"max_size": None}, {"crop_scale": "2"},
        {"relative_d": 1}, {"fade_type": 3}, {"fix_kp_cond_dim": [1, 2, 3]}, {"fix_kp_cond_dim": 5},
        {"delta_eye_arr": "x"}, {"delta_eye_arr": [1, 2]}, {"v_min_max_for_clip": [[float("nan")]]},
        {"overall_ctrl_info": 3},
    ],
)  # fmt: skip
def test_wrong_types_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        make_options(**wrong)


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1, 8), st.booleans())
def test_numbers_come_through_and_numpy_scalars_are_accepted(whole, real, flag):
    plain = make_options(max_size=whole, crop_scale=real, relative_d=flag)
    boxed = make_options(max_size=np.int64(whole), crop_scale=np.float64(real), relative_d=np.bool_(flag))
    assert plain == boxed and plain.source.max_size == whole and plain.crop.crop_scale == real


@given(st.text(max_size=12))
def test_any_other_name_is_refused(name):
    if name not in option_names():
        with pytest.raises(InputError, match="unknown option"):
            make_options(**{name: 1})


def write_config(path, content):
    path.write_bytes(pickle.dumps(content, 4) if path.suffix == ".pkl" else yaml.safe_dump(content).encode())
    return path


CONTENT = {
    "base_cfg": {"decoder_cfg": {"model_path": "decoder.onnx", "device": "cpu"}},
    "audio2motion_cfg": {"seq_frames": 80},
    "default_kwargs": {"overlap_v2": 70, "fix_kp_cond_dim": [0, 202]},
}


@pytest.mark.parametrize("name", ["cfg.pkl", "cfg.yaml"])
def test_both_file_kinds_give_the_same_config(tmp_path, name):
    config = load_config(write_config(tmp_path / name, CONTENT))
    assert config == PackConfig(**CONTENT)
    assert make_options(config).motion.fix_kp_cond_dim == (0, 202)


@pytest.mark.parametrize(
    "content, text",
    [
        ([1], "list"),
        ({"base_cfgs": {}}, "did you mean 'base_cfg'"),
        ({"base_cfg": [1]}, "not a dictionary"),
        ({"base_cfg": {"decoder_cfg": "x.onnx"}}, "decoder_cfg"),
        ({"default_kwargs": {"max_sise": 3}}, "did you mean 'max_size'"),
        ({"default_kwargs": {"max_size": "x"}}, "max_size"),
    ],
)
@pytest.mark.parametrize("name", ["cfg.pkl", "cfg.yaml"])
def test_bad_configs_name_the_file_and_the_key(tmp_path, name, content, text):
    with pytest.raises(PackError, match=f"{name}.*{text}"):
        load_config(write_config(tmp_path / name, content))


def test_missing_and_damaged_config_files(tmp_path):
    with pytest.raises(PackError, match="no such"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    (tmp_path / "object.yaml").write_text("a: !!python/object/apply:os.system ['true']")
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x04 nonsense")
    for name in ("bad.yaml", "object.yaml", "bad.pkl"):
        with pytest.raises(PackError, match=name) as caught:
            load_config(tmp_path / name)
        assert "\n" not in str(caught.value)


# --- the restricted unpickler ---


def load(data: bytes, path):
    path.write_bytes(data)
    return load_plain_pickle(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("pickles") / "x.pkl"


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


arrays = hnp.arrays(
    st.one_of(hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.boolean_dtypes(), hnp.complex_number_dtypes()),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers())
plain = st.recursive(
    st.one_of(scalars, arrays, arrays.map(lambda a: a.ravel()[0] if a.size else 0)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=4),
        st.dictionaries(st.text(), inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=8,
)


@given(value=plain, protocol=st.integers(2, 5))
def test_plain_data_round_trips(file, value, protocol):
    assert same(value, load(pickle.dumps(value, protocol), file))


def test_both_names_of_numpys_core_and_fortran_order(file):
    value = {"a": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "b": np.float32(2.5), "c": np.arange(3, dtype=">i2")}
    data = pickle.dumps(value, 2)  # protocol 2 spells module names as lines of text
    for ours in (data.replace(b"numpy._core", b"numpy.core"), data.replace(b"numpy.core", b"numpy._core")):
        assert same(value, load(ours, file))


class Evil:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        Evil(os.system, ("touch pwned",)),
        Evil(eval, ("open('pwned', 'w')",)),
        Evil(getattr, ("", "join")),
        Evil(bytearray, (1 << 40,)),
        {"deep": [Evil(os.system, ("touch pwned",))]},
        np.array([{}, None], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        np.array(["text"]),
        np.load,
        int,
        RunOptions(),
        lambda: None,
    ],
)
def test_everything_else_is_refused(file, tmp_path, monkeypatch, value, protocol):
    monkeypatch.chdir(tmp_path)
    try:
        data = pickle.dumps(value, protocol)
    except (pickle.PicklingError, AttributeError):
        pytest.skip("cannot be written either")
    with pytest.raises(PackError) as caught:
        load(data, file)
    assert "\n" not in str(caught.value) and not (tmp_path / "pwned").exists()


def test_a_bare_allowed_callable_is_refused(file):
    for name in (b"numpy\nndarray", b"numpy\ndtype", b"numpy.core.multiarray\n_reconstruct", b"_codecs\nencode"):
        with pytest.raises(PackError):
            load(b"\x80\x02c" + name + b"\n.", file)


@given(st.binary(max_size=80))
def test_random_bytes_only_ever_raise_a_pack_error(file, data):
    try:
        load(b"\x80\x04" + data + b".", file)
    except PackError:
        pass


def test_numpy_numbers_in_sets_come_through(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": {np.float32(2.5)}, "b": frozenset([np.int64(3)])}))
    value = load_plain_pickle(tmp_path / "a.pkl")
    assert value == {"a": {2.5}, "b": frozenset([3])}


@given(st.data())
def test_damaged_array_pickles_only_ever_raise_a_pack_error(file, data):
    good = bytearray(pickle.dumps({"a": np.arange(12.0).reshape(3, 4), "b": [np.int16(3)]}, 4))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        list(pickletools.genops(bytes(good)))
    except Exception:
        pass  # not even well-formed; the loader must cope all the same
    try:
        load(bytes(good), file)
    except PackError:
        pass


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(InputError, match=f"'delta_exp' is {value}; it must be a finite number"):
        make_options(delta_exp=value)


@pytest.mark.parametrize("name", RANGES)
def test_values_out_of_range_are_refused_with_the_range(name):
    low, high = RANGES[name]
    for value in (low, high):
        make_options(**{name: value})
    for value in (low - 1, high + 1):
        with pytest.raises(InputError, match=f"'{name}' is {value}; it must be {low} .. {high}"):
            make_options(**{name: value})


def test_the_pack_has_other_defaults_online():
    pack = PackConfig(default_kwargs={"overlap_v2": 20, "smo_k_d": 5}, online_kwargs={"overlap_v2": 75})
    assert make_options(pack).motion.overlap_v2 == 20
    online = make_options(pack, online_mode=True).motion
    assert (online.overlap_v2, online.smo_k_d) == (75, 5)
    assert make_options(pack, online_mode=True, overlap_v2=60).motion.overlap_v2 == 60
    by_itself = PackConfig(default_kwargs={"online_mode": True, "overlap_v2": 20}, online_kwargs={"overlap_v2": 75})
    assert make_options(by_itself).motion.overlap_v2 == 75
    assert make_options(by_itself, online_mode=False).motion.overlap_v2 == 20
    with pytest.raises(PackError, match="overlap_v3"):
        make_options(PackConfig(online_kwargs={"overlap_v3": 1}))


def test_sizes_of_an_audio_window_are_three_whole_numbers():
    assert make_options(chunksize=[3, 5, 2]).chunksize == (3, 5, 2)
    assert make_options().chunksize is None
    for wrong in ((3, 5), 5, "3,5,2", (3, 5, 2.5), (1, 2, None), (3, float("inf"), 2), (3, float("nan"), 2)):
        with pytest.raises(InputError, match="chunksize.*3 whole numbers"):
            make_options(chunksize=wrong)
