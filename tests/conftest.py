"""Reference data for the tests. `tests/golden` was recorded from the reference implementation with fake networks."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from core.avatars.avatar import Avatar
from core.motion import EXP, MOTION_DIM, SCALE, SLICES, Motion

settings.register_profile("unhurried", deadline=None)  # a loaded machine is no failure
settings.load_profile("unhurried")

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Registrations go to a folder of the tests, and processes that they start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DITTO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Programs that are started hear Ctrl-C also when the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Any]:
    """golden("name.npz") -> dict of arrays, golden("name.json") -> parsed content."""

    def load(name: str) -> Any:
        path = GOLDEN / name
        if path.suffix == ".json":
            return json.loads(path.read_text())
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def motion_of() -> Callable[..., Motion]:
    """motion_of(arrays, name) -> the motion stored as `name__part`; motion_of(rows) -> from (n, 265) or (n, 328)."""

    def build(arrays: Mapping[str, np.ndarray] | np.ndarray, name: str = "") -> Motion:
        if isinstance(arrays, np.ndarray):
            rows = np.atleast_2d(arrays)
            kp = rows[:, MOTION_DIM:].copy() if rows.shape[1] > MOTION_DIM else None
            return Motion(rows[:, :MOTION_DIM].copy(), kp)
        data = np.concatenate([arrays[f"{name}__{part}"] for part in SLICES], axis=1)
        data[:, SCALE] -= 1
        return Motion(data, arrays.get(f"{name}__kp"))

    return build


@pytest.fixture
def avatar() -> Callable[..., Avatar]:
    """avatar(motion, frames=None, M_c2o=None) -> an avatar with black 8 x 8 frames; a picture if there is one frame."""

    def build(
        motion: Motion, frames: list[np.ndarray] | None = None, M_c2o: np.ndarray | None = None, **more: Any
    ) -> Avatar:
        n = len(motion)
        return Avatar(
            frames=[np.zeros((8, 8, 3), np.uint8)] * n if frames is None else frames,
            M_c2o=np.repeat(np.eye(3, dtype=np.float32)[None], n, 0) if M_c2o is None else M_c2o,
            motion=motion,
            features=[None] * n,
            eye_open=np.zeros((n, 2), np.float32),
            eye_ball=np.zeros((n, 6), np.float32),
            sc=np.zeros(EXP.stop - EXP.start, np.float32) if motion.kp is None else motion.kp[0],
            is_image=n == 1,
            **more,
        )

    return build


@pytest.fixture(scope="session")
def picture() -> Callable[[int, int], np.ndarray]:
    """picture(height, width) -> the uint8 RGB test picture of the golden files: gradients with a chequered overlay."""

    def build(height: int, width: int) -> np.ndarray:
        y, x = np.mgrid[0:height, 0:width]
        planes = [255 * x // (width - 1), 255 * y // (height - 1), 255 * (x + y) // (width + height - 2)]
        image = np.stack(planes, axis=2)
        image[(x // 32 + y // 32) % 2 == 1] += 24
        return np.clip(image - 12, 0, 255).astype(np.uint8)

    return build
