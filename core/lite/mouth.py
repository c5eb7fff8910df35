"""Geometry of the driven mouth: sealed lip contours, two lip layers, where the teeth go (spec lite.md 4.3-4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.lite import mesh_regions as regions
from core.lite.appearance import LiteAppearance
from core.lite.interior import MIDDLE, lip_gaps
from core.lite.pose import HeadPose
from core.lite.rbf import Interpolant

GRID = 24  # nodes per side of the local flow grids
EDGE_POINTS = 5  # still points per side of the region
BORDER = 0.38  # mouth widths around the outer lips
TEETH_DEPTH = 0.06  # mouth widths behind the lips
SEAL = 0.02  # openings well below this count as closed, mouth widths
INSET = 1.3  # pixels at the rim of an open mouth that lips do not take along: they are teeth as often as lip
WIDENED = 0.3  # part by which an open mouth opens wider until that is so
TEETH_DROP = 0.09  # mouth widths that the lower lip rises over the lower teeth when an open mouth closes
CURVE_SAMPLES = 256

UPPER = list(regions.UPPER_INNER)
LOWER = list(regions.LOWER_INNER)
_U_MID, _L_MID = list(regions.UPPER_MIDDLE), list(regions.LOWER_MIDDLE)


@dataclass(frozen=True)
class MouthWarp:
    """One frame's mouth.

    Attributes:
        low, high: (2,) bounds of the region in crop pixels, real-valued.
        upper_flow, lower_flow: (2, GRID, GRID) float32 backward displacement (x, y) of the two lip layers over it.
        origin, axis: (2,) middle between the driven inner corners and unit vector towards the right one.
        half: half the distance between the inner corners, pixels.
        curves: (CURVE_SAMPLES, 2) float32, height of upper and lower inner lip below the axis, pixels, over
            u = -1.5 half .. 1.5 half.
        opening: gap in the middle of the lips over mouth width.
        closing: 0 as open as in the portrait or more .. 1 an open mouth driven shut.
        inner_closing: the same against the picture that the mouth's interior comes from.
        width: driven mouth width, pixels.
        skull, jaw: (2, 3) affines, source crop -> picture, of upper and lower mouth interior.
    """

    low: np.ndarray
    high: np.ndarray
    upper_flow: np.ndarray
    lower_flow: np.ndarray
    origin: np.ndarray
    axis: np.ndarray
    half: float
    curves: np.ndarray
    opening: float
    closing: float
    inner_closing: float
    width: float
    skull: np.ndarray
    jaw: np.ndarray


def warp_mouth(app: LiteAppearance, pose: HeadPose, driven: np.ndarray, base: Interpolant) -> MouthWarp:
    """Geometry of the mouth in a driven mesh (478, 3) in crop pixels; `base` is the whole crop's displacement."""
    source, driven = app.mesh[:, :2].copy(), driven[:, :2].copy()
    width = app.mouth.width * pose.scale
    opening, source_opening = _seal_lips(app, source, driven, pose.scale, width)
    closing = app.own_mouth * float(np.clip(1 - opening / max(source_opening, 1e-3), 0, 1))
    inner_closing = app.interior.closing(opening)
    changed = max(closing, app.own_mouth * float(np.clip((opening / max(source_opening, 1e-3) - 1) / WIDENED, 0, 1)))
    _inset(source, app.mouth.normal * INSET * changed)
    outer = driven[list(regions.OUTER_LIPS)]
    low, high = outer.min(axis=0) - BORDER * width, outer.max(axis=0) + BORDER * width
    nodes = _grid(low, high)
    below = base(nodes)
    flows = []
    for ring in (app.upper_layer, app.lower_layer):
        correction = _correction(source, driven, ring, base, low, high)
        flows.append(np.ascontiguousarray((below + correction(nodes)).T).reshape(2, GRID, GRID))
    origin, axis, half, curves = _curves(driven)
    skull, jaw = _interior_affines(app, pose, source, driven, inner_closing)
    jaw[:, 2] += TEETH_DROP * inner_closing * width * _normal(driven)
    return MouthWarp(low, high, *flows, origin, axis, half, curves, opening, closing, inner_closing, width, skull, jaw)


def _seal_lips(
    app: LiteAppearance, source: np.ndarray, driven: np.ndarray, scale: float, width: float
) -> tuple[float, float]:
    """Make the lips meet where they should, in place; returns driven and source opening over mouth width.

    A closed portrait's contours both lie on its lip line, so its own gap is noise: it is taken off the driven gap.
    When the middle closes, the sides close too.
    """
    closed = 1 - app.own_mouth
    normal_s, normal_d = app.mouth.normal, _normal(driven)
    gap_s = lip_gaps(source, normal_s)
    gap_d = (driven[LOWER] - driven[UPPER]) @ normal_d
    gap = np.maximum(gap_d - closed * scale * gap_s, 0)
    opening = float(gap[MIDDLE].mean()) / width
    gap = gap * (1 - np.exp(-((opening / SEAL) ** 2)))
    _spread(source, normal_s, -closed * gap_s)
    _spread(driven, normal_d, gap - gap_d)
    return opening, float(gap_s[MIDDLE].mean()) / app.mouth.width


def _spread(mesh: np.ndarray, normal: np.ndarray, change: np.ndarray) -> None:
    """Widen the gap between the inner lips by `change` (9,) pixels; the middle rings follow half way."""
    shift = 0.5 * change[:, None] * normal
    mesh[UPPER] -= shift
    mesh[LOWER] += shift
    mesh[_U_MID] -= 0.5 * shift
    mesh[_L_MID] += 0.5 * shift


def _inset(mesh: np.ndarray, shift: np.ndarray) -> None:
    mesh[UPPER] -= shift
    mesh[LOWER] += shift


def _normal(mesh: np.ndarray) -> np.ndarray:
    axis = mesh[regions.OUTER_CORNERS[1]] - mesh[regions.OUTER_CORNERS[0]]
    axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
    return np.array([-axis[1], axis[0]])


def _grid(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    xs, ys = (np.linspace(low[k], high[k], GRID) for k in (0, 1))
    return np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)


def _correction(
    source: np.ndarray, driven: np.ndarray, ring: np.ndarray, base: Interpolant, low: np.ndarray, high: np.ndarray
) -> Interpolant:
    """What a lip layer adds to the whole crop's displacement: nothing at the edge of the region."""
    t = np.linspace(0, 1, EDGE_POINTS + 1)[:-1]
    zero, one = np.zeros(EDGE_POINTS), np.ones(EDGE_POINTS)
    edge = np.concatenate([np.stack(side, 1) for side in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))])
    points = driven[ring]
    values = source[ring] - points - base(points)
    all_points = np.concatenate([points, low + edge * (high - low)])
    return Interpolant.fit(all_points, np.concatenate([values, np.zeros((len(edge), 2))]))


def _curves(driven: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    left, right = driven[regions.INNER_CORNERS[0]], driven[regions.INNER_CORNERS[1]]
    origin, span = (left + right) / 2, right - left
    length = max(float(np.linalg.norm(span)), 2.0)
    axis = span / length
    normal = np.array([-axis[1], axis[0]])
    half = length / 2
    at = np.linspace(-1.5 * half, 1.5 * half, CURVE_SAMPLES)
    curves = []
    for ring in (UPPER, LOWER):
        points = driven[ring] - origin
        u = np.concatenate([[-half], np.clip(points @ axis, -half, half), [half]])
        rise = np.arange(len(u)) * 1e-3 * half
        u = np.maximum.accumulate(u - rise) + rise
        v = np.concatenate([[0.0], points @ normal, [0.0]])
        curves.append(_hermite(at, u, v))
    upper, lower = curves
    return origin, axis, half, np.stack([np.minimum(upper, lower), lower], 1).astype(np.float32)


def _hermite(at: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth curve through (u, v), u rising; constant outside."""
    slope = np.gradient(v, u)
    cell = np.clip(np.searchsorted(u, at, side="right") - 1, 0, len(u) - 2)
    step = u[cell + 1] - u[cell]
    t = np.clip((at - u[cell]) / step, 0, 1)
    s = t * t * (3 - 2 * t)
    bend = t * (1 - t) * step * ((1 - t) * slope[cell] - t * slope[cell + 1])
    return v[cell] * (1 - s) + v[cell + 1] * s + bend


def _interior_affines(
    app: LiteAppearance, pose: HeadPose, source: np.ndarray, driven: np.ndarray, closing: float
) -> tuple[np.ndarray, np.ndarray]:
    inside = app.interior
    if app.from_interior is not None:
        pose = app.from_interior.then(pose)
        source = inside.mesh[:, :2].copy()
        _inset(source, inside.normal * INSET * closing)
    z = float(inside.mesh[[13, 14], 2].mean()) + TEETH_DEPTH * inside.width
    skull = pose.plane_affine(z)
    middle = LOWER[2:7]
    jaw = skull.copy()
    jaw[:, 2] += (driven[middle] - source[middle] @ skull[:, :2].T - skull[:, 2]).mean(axis=0)
    return skull, jaw
