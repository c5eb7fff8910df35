"""Timeline files: three formats, interpolation, order, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.settings.timeline import read_timeline

KNOWN = ("delta_yaw", "delta_pitch", "emo")
KEYS = [{"time": 0.0, "delta_yaw": 0}, {"time": 2.0, "delta_yaw": 10, "emo": "happy"}, {"frame": 75, "delta_yaw": -5}]
CSV = "time,frame,delta_yaw,emo\n0.0,,0,\n2.0,,10,happy\n,75,-5,\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.yaml", yaml.safe_dump({"keys": KEYS})),
        ("a.json", json.dumps(KEYS)),
        ("a.csv", CSV),
    ],
)
def test_formats_say_the_same(tmp_path, name, text):
    line = read_timeline(write(tmp_path / name, text), KNOWN)
    assert line[25] == {"delta_yaw": pytest.approx(5.0), "emo": "happy"}
    assert line[50]["delta_yaw"] == 10
    assert line[70]["delta_yaw"] == pytest.approx(-2)
    assert line[10_000]["delta_yaw"] == -5
    assert len(line) == 76 and list(line)[-1] == 75


def test_steps_hold_the_value_before(tmp_path):
    line = read_timeline(write(tmp_path / "a.json", json.dumps({"keys": KEYS, "interpolation": "step"})), KNOWN)
    assert [line[i]["delta_yaw"] for i in (0, 49, 50, 74, 75)] == [0, 0, 10, 10, -5]


def test_unsorted_keys_are_sorted_and_said(tmp_path, caplog):
    straight = read_timeline(write(tmp_path / "a.json", json.dumps(KEYS)), KNOWN)
    mixed = read_timeline(write(tmp_path / "b.json", json.dumps(KEYS[::-1])), KNOWN)
    assert "b.json" in caplog.text and "sorted" in caplog.text
    assert all(straight[i] == mixed[i] for i in range(100))


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(-45, 45)), min_size=1, max_size=12), st.integers(0, 500))
def test_linear_equals_numpy(tmp_path_factory, points, frame):
    at = dict(points)
    path = write(tmp_path_factory.mktemp("t") / "a.json", json.dumps([{"frame": f, "delta_yaw": v} for f, v in points]))
    frames = sorted(at)
    expected = np.interp(frame, frames, [at[f] for f in frames])
    assert read_timeline(path, KNOWN)[frame]["delta_yaw"] == pytest.approx(expected, abs=1e-9)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["keys", "time", "frame", "delta_yaw", "interpolation"]) | st.text(), x)
        ),
        max_leaves=12,
    )
)
def test_anything_else_is_refused_in_one_line(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("t") / "a.json", json.dumps(content))
    try:
        read_timeline(path, KNOWN)
    except InputError as error:
        assert "a.json" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.yaml", "keys: [{time: 0, delta_yow: 1}]", "did you mean 'delta_yaw'"),
        ("a.yaml", "keys: [{delta_yaw: 1}]", "'time' in seconds or 'frame'"),
        ("a.yaml", "keys: [{time: -1, delta_yaw: 1}]", "number from 0 on"),
        ("a.yaml", "keys: [{time: 0, delta_yaw: 1}, {time: 1, delta_yaw: much}]", "'much'"),
        ("a.yaml", "keys: [{time: 0, delta_yaw: 1}]\ninterpolation: cubic", "linear or step"),
        ("a.csv", "time,delta_yaw\n0,1,2\n", "number of cells"),
        ("a.txt", "", ".yaml, .json or .csv"),
        ("a.json", "{", "cannot read"),
    ],
)
def test_bad_files(tmp_path, name, text, words):
    with pytest.raises(InputError, match="(?s)" + words):
        read_timeline(write(tmp_path / name, text), KNOWN)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="nothing.yaml"):
        read_timeline(tmp_path / "nothing.yaml", KNOWN)


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_endless_nesting_is_one_line(tmp_path, name):
    with pytest.raises(InputError, match="cannot read this timeline"):
        read_timeline(write(tmp_path / name, "[" * 5000 + "]" * 5000), KNOWN)
