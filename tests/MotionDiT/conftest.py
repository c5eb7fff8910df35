"""Small training sets with the layout of prepare_data, and commands that run train.py on them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = {"aud": (16,), "emo": (8,), "eye_open": (2,), "eye_ball": (3, 2)}
TINY = [
    *("--use_emo", "--use_last_frame", "--use_last_frame_loss", "--audio_feat_dim", "24", "--seq_frames", "12"),
    *("--latent_dim", "16", "--num_heads", "2", "--ff_size", "24", "--cond_layers", "1", "--num_layers", "1"),
    *("--cpu_threads", "1", "--lr", "1e-3"),
]


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., Path]:
    """make_set(frames=(30, 26, 22), folder="set", **replaced) -> data_list.json of clips with that many frames."""

    def build(frames: tuple[int, ...] = (30, 26, 22), folder: str = "set", flip: bool = False) -> Path:
        rng, records = np.random.default_rng(1), []
        for kind in ("", "_flip")[: 1 + flip]:
            for number, n in enumerate(frames):
                record = {}
                arrays = {"mtn": (328,), **WIDTHS}
                for name, shape in arrays.items():
                    path = tmp_path / folder / f"{name}{kind}" / f"clip{number}.npy"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, (0.3 * rng.standard_normal((n, *shape))).astype(np.float32))
                    record[name] = str(path)
                records.append({**record, "frame_num": n})
        path = tmp_path / folder / "data_list.json"
        path.write_text(json.dumps(records))
        return path

    return build


@pytest.fixture
def train_command(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """train_command(data_list, *flags, name="run", launch=()) -> arguments of subprocess.run for a tiny network."""

    def build(data_list: Path, *flags: Any, name: str = "run", launch: tuple[str, ...] = ()) -> dict[str, Any]:
        program = ["-m", *launch] if launch else []
        run = ["--experiment_dir", str(tmp_path / "exp"), "--experiment_name", name, "--data_list_json", str(data_list)]
        return {
            "args": [sys.executable, *program, "train.py", *run, *TINY, *map(str, flags)],
            "cwd": ROOT / "MotionDiT",
            "env": {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
            "text": True,
        }

    return build
