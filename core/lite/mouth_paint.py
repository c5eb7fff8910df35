"""Painting the mouth: two lip layers, and the cavity with teeth and tongue between them (spec lite.md 4.3-4.4)."""

from __future__ import annotations

import cv2
import numpy as np

from core.lite import rbf
from core.lite.appearance import LiteAppearance
from core.lite.mouth import GRID, MouthWarp
from core.lite.teeth import Layer

FEATHER = 12.0  # pixels at the edge of the region
EDGE, SOFT_EDGE = 1.4, 2.6  # pixels, softness of the lip contours; more in soft portraits
LIP_SHADE = (0.5, 0.035)  # strength and reach (mouth widths) of the upper lip's shadow
LIP_FLESH = (0.4, 0.03, 0.02)  # the lower lip's inner side: strength, reach, opening from which it is seen fully
FLESH_GAP = 0.1  # mouth widths between the lips below which less of it is seen, as towards the corners
TINT = (0.78, 1.06)  # least and greatest part of a shadow that falls on a colour: light that comes through lips is red
DIM, LIT = 0.75, (0.03, 0.12)  # light that a slit keeps out of the mouth; openings from which light comes in, and all
LATE = (0.0, 0.05)  # openings beyond the portrait's at which tongue and lower teeth begin to show, and fully show
LINE_SHADE, LINE_WIDTH = 0.32, 0.014  # line between lips that were open in the portrait; width in mouth widths


def paint_mouth(picture: np.ndarray, app: LiteAppearance, mouth: MouthWarp) -> None:
    """Replace the mouth region of a warped crop, (512, 512, 3) uint8, in place."""
    low = np.clip(np.floor(mouth.low).astype(int), 0, picture.shape[1] - 2)
    high = np.clip(np.ceil(mouth.high).astype(int), low + 2, picture.shape[1])
    xs = np.arange(low[0], high[0], dtype=np.float32)
    ys = np.arange(low[1], high[1], dtype=np.float32)
    up_x, up_y = (
        rbf.cubic_matrix((c - mouth.low[k]) * (GRID - 1) / (mouth.high[k] - mouth.low[k]), GRID)
        for k, c in enumerate((xs, ys))
    )
    upper, lower = (_layer(app.crop, flow, up_x, up_y, xs, ys) for flow in (mouth.upper_flow, mouth.lower_flow))
    u, v = _local(mouth, xs, ys)
    top, bottom = _contours(mouth, u)
    outside = np.maximum(np.abs(u) - mouth.half, 0)
    edge = EDGE + SOFT_EDGE * app.softness
    below = np.clip((v - bottom) / (edge + 0.5 * outside) + 0.5, 0, 1)
    region = upper + below[..., None] * (lower - upper)
    _shade_line(region, app, mouth, u, v, (top + bottom) / 2)
    _paint_cavity(region, app, mouth, (low, u, v, top, bottom))
    edge_x = _fade(xs, mouth.low[0], mouth.high[0])
    edge_y = _fade(ys, mouth.low[1], mouth.high[1])
    alpha = (edge_y[:, None] * edge_x[None, :])[..., None]
    target = picture[low[1] : high[1], low[0] : high[0]]
    base = target.astype(np.float32)
    target[:] = np.clip(base + alpha * (region - base) + 0.5, 0, 255).astype(np.uint8)


def _layer(crop, flow, up_x, up_y, xs, ys) -> np.ndarray:
    map_x = up_y @ flow[0] @ up_x.T + xs[None, :]
    map_y = up_y @ flow[1] @ up_x.T + ys[:, None]
    return cv2.remap(crop, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _local(mouth: MouthWarp, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dx, dy = (xs - mouth.origin[0])[None, :], (ys - mouth.origin[1])[:, None]
    ax, ay = mouth.axis
    return (dx * ax + dy * ay).astype(np.float32), (dy * ax - dx * ay).astype(np.float32)


def _contours(mouth: MouthWarp, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height of upper and lower inner lip at each pixel's column."""
    n = len(mouth.curves)
    index = (u + 1.5 * mouth.half) * np.float32((n - 1) / (3 * mouth.half))
    both = cv2.remap(mouth.curves[None], index, np.zeros_like(index), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return both[..., 0], both[..., 1]


def _fade(at: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip(np.minimum(at - low, high - at) / FEATHER, 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def _shade_line(region, app, mouth, u, v, seam) -> None:
    """Darken the line between lips that were open in the portrait; closed portraits bring their own."""
    strength = LINE_SHADE * app.own_mouth * mouth.closing * float(np.exp(-((mouth.opening / 0.03) ** 2)))
    if strength < 1e-3:
        return
    ends = np.clip((1.04 - np.abs(u) / mouth.half) / 0.25, 0, 1)
    line = np.exp(-(((v - seam) / (LINE_WIDTH * mouth.width + app.softness)) ** 2)) * ends
    region *= (1 - strength * line)[..., None]


def _paint_cavity(region: np.ndarray, app: LiteAppearance, mouth: MouthWarp, geometry: tuple) -> None:
    low, u, v, top, bottom = geometry
    edge = EDGE + SOFT_EDGE * app.softness
    cover = np.clip((bottom - v) / edge + 0.5, 0, 1) - np.clip((top - v) / edge + 0.5, 0, 1)
    rows = np.flatnonzero(cover.max(axis=1) > 2e-3)
    columns = np.flatnonzero(cover.max(axis=0) > 2e-3)
    if len(rows) == 0:
        return
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    cover, v, top, bottom = cover[box], v[box], top[box], bottom[box]
    origin = (low[0] + columns[0], low[1] + rows[0])
    inside = _interior(app, mouth, v, top, bottom, origin)
    target = region[box]
    target += cover[..., None] * (inside - target)


def _interior(app, mouth, v, top, bottom, origin) -> np.ndarray:
    inside = app.interior
    rim, deep = inside.cavity
    middle = 1 - np.abs(2 * (v - top) / np.maximum(bottom - top, 1) - 1)
    out = rim + np.clip(middle, 0, 1)[..., None] * (deep - rim)
    shown = mouth.opening - inside.own * inside.opening
    late = _smoothstep(shown, *LATE)
    for layer in inside.layers:
        weight = {"wider": late, "same": 1 - late}.get(layer.when, 1.0)
        if weight > 0:
            rgba = _place(layer, mouth.jaw if layer.jaw else mouth.skull, origin, v.shape)
            out = out * (1 - weight * rgba[..., 3:]) + weight * rgba[..., :3]
    strength = (1 - inside.own) + inside.own * mouth.inner_closing
    shade, reach = LIP_SHADE
    dim = DIM * (1 - _smoothstep(mouth.opening, *LIT))
    shadow = strength * (dim + (1 - dim) * shade * np.exp(-np.maximum(v - top, 0) / (reach * mouth.width)))
    tint = np.clip(np.sqrt(rim.mean() / np.maximum(rim, 1)), *TINT).astype(np.float32)
    out += np.minimum(shadow[..., None] * tint, 1) * (0.55 * rim - out)
    share, reach, full = LIP_FLESH
    flesh = share * _smoothstep(shown, 0, full) * np.exp(-np.maximum(bottom - v, 0) / (reach * mouth.width))
    flesh *= np.clip((bottom - top) / (FLESH_GAP * mouth.width), 0, 1)
    out += flesh[..., None] * (inside.flesh - out)
    return app.light * out


def _place(layer: Layer, affine: np.ndarray, origin: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Draw a layer of the source crop, moved by `affine`, into a (h, w, 4) float32 box at `origin`."""
    to_source = np.linalg.inv(affine[:, :2])
    offset = to_source @ (np.array(origin, np.float64) - affine[:, 2]) - np.array(layer.origin)
    matrix = np.column_stack([to_source, offset])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(layer.rgba, matrix, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_CONSTANT)


def _smoothstep(x: float, low: float, high: float) -> float:
    x = min(max((x - low) / (high - low), 0.0), 1.0)
    return x * x * (3 - 2 * x)
