"""Chin and jaw of widely open mouths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.lite import mesh_regions as regions
from core.lite.jaw import CHIN_GAP, LIP_SLOT, WHOLE_JAW, with_chin, with_jaw
from core.lite.motion_space import CHIN, SLOT_VERTICES, FaceSpace

SPACE = Path(__file__).resolve().parents[2] / "checkpoints" / "ditto_lite" / "motion_space.npz"
UNIT = 120.0  # pixels between the outer eye corners


@pytest.fixture(scope="module")
def mesh() -> np.ndarray:
    """(478, 3) mean face in the middle of a 512 crop."""
    return FaceSpace.load(SPACE).canonical.astype(np.float64) * UNIT + np.array([256, 230, 0])


def test_a_chin_in_its_place_stays_there(mesh):
    assert with_chin(mesh) is mesh


def test_a_chin_left_behind_by_the_lips_is_brought_below_them(mesh):
    shout = mesh.copy()
    shout[list(regions.LOWER_OUTER + regions.LOWER_INNER), 1] += 0.3 * UNIT
    fixed = with_chin(shout)
    assert fixed[152, 1] - fixed[17, 1] == pytest.approx(CHIN_GAP * UNIT, abs=0.5)
    assert np.array_equal(fixed[list(regions.ALL_LIPS)], shout[list(regions.ALL_LIPS)])
    above = shout[:, 1] < shout[2, 1]
    assert np.abs(fixed[above] - shout[above]).max() < 1  # nothing above the nose moves
    rows = [fixed[v, 1] for v in (200, 199, 175, 152)]
    assert rows == sorted(rows)


def lifted(mesh: np.ndarray, rise: float) -> tuple[np.ndarray, np.ndarray]:
    """Residual of a lower lip that rises by `rise` mouth widths, the chin by half of that; and source keypoints."""
    source = mesh[list(SLOT_VERTICES)]
    residual = np.zeros((21, 3))
    residual[LIP_SLOT, 1] = -rise * np.linalg.norm(mesh[291] - mesh[61])
    residual[CHIN, 1] = residual[LIP_SLOT, 1] / 2
    return residual, source


def test_small_ways_and_opening_leave_the_chin_to_the_motion(mesh):
    for rise in (WHOLE_JAW[0] - 0.01, 0.0, -0.6):
        residual, source = lifted(mesh, rise)
        assert with_jaw(residual, source) is residual


def test_the_chin_of_a_shout_that_closes_goes_all_the_way_and_never_jumps(mesh):
    shares = []
    for rise in np.linspace(0.01, 0.6, 100):
        residual, source = lifted(mesh, rise)
        shares.append(with_jaw(residual, source)[CHIN, 1] / residual[LIP_SLOT, 1])
    assert shares[0] == 0.5 and shares[-1] == pytest.approx(1)
    assert np.all(np.diff(shares) >= -1e-9) and np.diff(shares).max() < 0.03
