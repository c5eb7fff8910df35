"""YAML configurations with arrays beside them: exact round trip, clear refusals, nothing executed."""

import math
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.errors import OutputError, PackError
from core.settings.yaml_config import read_yaml, write_yaml


def same(a, b) -> bool:
    """Equal in value, type and dtype."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b) or a != a and b != b
    return a == b


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
arrays = hnp.arrays(
    st.one_of(hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.boolean_dtypes(), hnp.complex_number_dtypes()),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text, st.binary(max_size=8))
numbers = st.one_of(
    st.integers(-128, 127).map(np.int8), st.floats(width=32).map(np.float32), st.booleans().map(np.bool_)
)
plain = st.recursive(
    st.one_of(scalars, arrays, numbers),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(text, st.integers()), inner, max_size=4),
    ),
    max_leaves=8,
)


@given(content=st.dictionaries(text, plain, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plain_data_round_trips_exactly(tmp_path, content):
    files = write_yaml(tmp_path / "cfg.yaml", content)
    assert same(read_yaml(tmp_path / "cfg.yaml"), content)
    assert all(file.is_file() for file in files)
    assert not list(tmp_path.glob("*.part"))


def test_the_text_is_readable(tmp_path):
    emo = np.arange(24, dtype=np.float64).reshape(3, 8)
    write_yaml(tmp_path / "a.yaml", {"default_kwargs": {"emo": emo, "overlap_v2": 70, "fade_out_keys": ("exp",)}})
    lines = (tmp_path / "a.yaml").read_text().splitlines()
    assert lines == [
        "default_kwargs:",
        "  emo: !array 'default_kwargs.emo'",
        "  overlap_v2: 70",
        "  fade_out_keys: !tuple [exp]",
    ]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["default_kwargs.emo"], emo)


def test_without_arrays_there_is_one_file(tmp_path):
    assert write_yaml(tmp_path / "a.yaml", {"base_cfg": {}}) == [tmp_path / "a.yaml"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_names_that_collide_are_kept_apart(tmp_path):
    content = {"a b": np.zeros(1), "a?b": np.ones(2), "a_b": {"": np.full(3, 2.0)}}
    write_yaml(tmp_path / "a.yaml", content)
    assert same(read_yaml(tmp_path / "a.yaml"), content)


@pytest.mark.parametrize("value", [{1, 2}, 2j, OrderedDict(a=1).items(), object(), {(1, 2): 3}])
def test_other_types_are_refused_by_place_and_leave_no_file(tmp_path, value):
    with pytest.raises(OutputError, match="emo"):
        write_yaml(tmp_path / "a.yaml", {"default_kwargs": {"emo": value}})
    assert not list(tmp_path.iterdir())


def test_arrays_that_are_not_there(tmp_path):
    (tmp_path / "a.yaml").write_text("x: !array y\n")
    with pytest.raises(PackError, match=r"a\.npz is missing"):
        read_yaml(tmp_path / "a.yaml")
    np.savez(tmp_path / "a.npz", z=np.zeros(3))
    with pytest.raises(PackError, match="no array 'y'"):
        read_yaml(tmp_path / "a.yaml")
    (tmp_path / "a.npz").write_bytes(b"PK nonsense")
    with pytest.raises(PackError, match=r"a\.npz: not a readable"):
        read_yaml(tmp_path / "a.yaml")


def test_arrays_of_objects_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("x: !array y\n")
    np.savez(tmp_path / "a.npz", y=np.array([{}, None], dtype=object))
    with pytest.raises(PackError, match=r"a\.npz"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "text", ["a: [1", "!!python/object/apply:os.system ['true']", "x: !tuple {a: 1}", "x: !array [1]", "[" * 1200]
)
def test_bad_text_is_one_line(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(PackError, match=r"a\.yaml") as caught:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_made(tmp_path):
    write_yaml(tmp_path / "none" / "a.yaml", {"a": 1})
    assert read_yaml(tmp_path / "none" / "a.yaml") == {"a": 1}
    with pytest.raises(OutputError, match="cannot be written"):
        write_yaml(tmp_path / "none" / "a.yaml" / "b.yaml", {"a": 1})
