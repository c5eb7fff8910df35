"""The converter of configurations, as a command."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.settings.config import load_config
from core.settings.run_options import make_options

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "cfg_to_yaml.py"
RNG = np.random.default_rng(0)
RELEASED_LIKE = {
    "base_cfg": {"hubert_cfg": {"model_path": "aux_models/hubert.onnx", "device": "cuda", "force_ori_type": True}},
    "audio2motion_cfg": {"model_path": "models/lmdm.pth", "seq_frames": 80, "w2f_type": "hubert"},
    "default_kwargs": {
        "emo": RNG.random((600, 8)),
        "v_min_max_for_clip": RNG.random((4, 265)).astype(np.float32),
        "delta_eye_arr": RNG.random((15, 63)).astype(np.float32),
        "ch_info": {
            "x_s_info_lst": [{"exp": RNG.random((1, 63)).astype(np.float32), "scale": np.float32(1.3)}],
            "sc": RNG.random(63).astype(np.float32),
            "eye_open_lst": [RNG.random((1, 2))],
            "eye_ball_lst": [RNG.random((1, 6))],
        },
        "fix_kp_cond_dim": [0, 202],
        "fade_out_keys": ["exp"],
        "overall_ctrl_info": {"delta_pitch": 2},
    },
}


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def equal(a, b):
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


def test_a_configuration_like_the_released_ones(tmp_path):
    (tmp_path / "cfg.pkl").write_bytes(pickle.dumps(RELEASED_LIKE, 4))
    result = run(tmp_path / "cfg.pkl")
    assert result.returncode == 0 and result.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cfg.npz", "cfg.pkl", "cfg.yaml"]
    before, after = load_config(tmp_path / "cfg.pkl"), load_config(tmp_path / "cfg.yaml")
    assert all(equal(getattr(before, name), getattr(after, name)) for name in vars(before))
    np.testing.assert_array_equal(make_options(after).condition.emo, RELEASED_LIKE["default_kwargs"]["emo"])


def test_what_the_program_would_refuse_is_noted(tmp_path):
    (tmp_path / "cfg.pkl").write_bytes(pickle.dumps({"default_kwargs": {"max_sise": 3, "overlap": 1}, "more": {}}))
    result = run(tmp_path / "cfg.pkl", tmp_path / "other.yaml")
    assert result.returncode == 0 and (tmp_path / "other.yaml").is_file()
    assert all(name in result.stderr for name in ("'max_sise'", "'overlap'", "'more'"))


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    "content, target, text",
    [
        (pickle.dumps({"a": Evil()}), "out.yaml", "system"),
        (b"nonsense", "out.yaml", "not a usable configuration"),
        (pickle.dumps([1]), "out.yaml", "dictionary"),
        (pickle.dumps({"a": 2j}), "out.yaml", "a is a complex"),
        (pickle.dumps({}), "out.txt", ".yaml"),
        (None, "out.yaml", "cfg.pkl"),
    ],
)
def test_failures_are_one_line_and_leave_nothing(tmp_path, content, target, text):
    if content is not None:
        (tmp_path / "cfg.pkl").write_bytes(content)
    result = run(tmp_path / "cfg.pkl", tmp_path / target)
    assert result.returncode == 2 and text in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and result.stdout == ""
    assert not (tmp_path / target).exists()
