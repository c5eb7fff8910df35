"""What the renderer prepares once per portrait: the feature that the avatar carries, and everything derived from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from core.lite import mesh_regions as regions
from core.lite.head_mask import hair_ring, head_mask, still_points
from core.lite.lids import EYES, EyePatch
from core.lite.motion_space import CROP_SIZE
from core.lite.own_teeth import cut_mouth
from core.lite.teeth import Layer, MouthFrame, Tone, draw_lower, draw_upper

# Opening over mouth width from which the portrait shows the inside of its mouth, and from which it does so fully.
OWN_MOUTH = (0.025, 0.06)
HAIR_DEPTH = 0.25  # of the distance between the outer eye corners, behind the oval
NECK_DROP = (0.22, 0.34)  # of the face height below the chin: side and middle neck points
ANCHORS_PER_SIDE = 8
CAVITY = np.array([[64, 25, 25], [32, 11, 12]], np.float32)  # throat at the rim and deep inside
SOFT_RATIO = (0.8, 0.5)  # ratio of fine to coarser detail in a sharp and in a much enlarged picture
FACE_ROOM = 0.10  # of the face's size, around it
FACE_FADE = 16.0  # pixels
BALL_DEPTH = 0.35  # centre of the head behind the face oval, in distances of the outer eye corners
HIDDEN = 0.02  # cosine to the viewer below which a vertex counts as turned away
LIP_CLEARANCE = 0.05  # mouth widths that skin control points keep from the lips


@dataclass
class LiteFeature:
    """Appearance feature of one source frame.

    Attributes:
        crop: (512, 512, 3) uint8 RGB face crop.
        mesh: (478, 3) float32 face mesh in crop pixels, z in the same unit.
    """

    crop: np.ndarray
    mesh: np.ndarray

    def __post_init__(self) -> None:
        if self.crop.shape != (CROP_SIZE, CROP_SIZE, 3) or self.crop.dtype != np.uint8:
            got = f"{self.crop.shape} {self.crop.dtype}"
            raise ValueError(f"crop must be ({CROP_SIZE}, {CROP_SIZE}, 3) uint8, got {got}")
        if self.mesh.shape != (478, 3):
            raise ValueError(f"mesh must be (478, 3), got {self.mesh.shape}")

    @cached_property
    def appearance(self) -> LiteAppearance:
        """Everything the renderer derives from crop and mesh, made on first use (about 30 ms)."""
        return LiteAppearance.build(self.crop, self.mesh)


@dataclass(frozen=True)
class LiteAppearance:
    """Per-portrait precomputation.

    Attributes:
        crop, mesh: as in LiteFeature, mesh as float64.
        hair: (n, 3) points beside and above the face that turn with the head.
        neck: (3, 2) points below the chin.
        anchors: (n, 2) points of border and background, which never move.
        face_box: (rows, columns) of the part of the crop that is drawn with cubic interpolation.
        face_fade: (h, w) float32, fades that part into the rest.
        eyes: both eyes' lids.
        mouth: the source mouth's axes.
        opening: inner lip opening over mouth width.
        own_mouth: 0 closed mouth with drawn teeth .. 1 the portrait's own open mouth.
        inside: layers of the mouth's interior, back to front.
        face_control, upper_layer, lower_layer: control vertices of the three warps that suit this mesh.
        softness: 0 a sharp picture .. 1 one enlarged fourfold or more; what is drawn is as soft.
        cavity: (2, 3) float32 colours of the throat, at the rim and deep.
    """

    crop: np.ndarray
    mesh: np.ndarray
    hair: np.ndarray
    neck: np.ndarray
    anchors: np.ndarray
    face_box: tuple[slice, slice]
    face_fade: np.ndarray
    eyes: tuple[EyePatch, EyePatch]
    mouth: MouthFrame
    opening: float
    own_mouth: float
    inside: tuple[Layer, ...]
    face_control: np.ndarray
    upper_layer: np.ndarray
    lower_layer: np.ndarray
    softness: float
    cavity: np.ndarray

    @classmethod
    def build(cls, crop: np.ndarray, mesh: np.ndarray) -> LiteAppearance:
        """Prepare a crop (512, 512, 3) uint8 and its mesh (478, 3) for rendering."""
        mesh = mesh.astype(np.float64)
        tone = Tone.measure(crop, mesh[list(regions.SKIN_SAMPLES), :2])
        frame = measure_mouth(mesh)
        opening = mouth_opening(mesh, frame)
        softness = measure_softness(crop, mesh)
        own = float(_smoothstep((opening - OWN_MOUTH[0]) / (OWN_MOUTH[1] - OWN_MOUTH[0])))
        mask, neck = head_mask(crop, mesh), _neck(mesh)
        unit = float(np.linalg.norm(mesh[regions.EYE_OUTER[0]] - mesh[regions.EYE_OUTER[1]]))
        facing = faces_viewer(mesh)
        clear = _control_filter(mesh, frame.width, facing)
        face_box, face_fade = _face_box(mesh)
        return cls(
            crop=crop,
            mesh=mesh,
            hair=hair_ring(mask, mesh, HAIR_DEPTH * unit)[facing[list(regions.UPPER_HALF_OVAL)]],
            neck=neck,
            anchors=np.concatenate([_border(), still_points(crop, mask, mesh, neck)]),
            face_box=face_box,
            face_fade=face_fade,
            eyes=tuple(EyePatch.build(crop, mesh, rings, softness) for rings in EYES),
            mouth=frame,
            opening=opening,
            own_mouth=own,
            inside=_mouth_layers(crop, mesh, frame, tone, own, softness),
            face_control=clear(regions.FACE_CONTROL),
            upper_layer=clear(regions.UPPER_LAYER),
            lower_layer=clear(regions.LOWER_LAYER),
            softness=softness,
            cavity=_cavity(crop, mesh, tone, own),
        )


def measure_mouth(mesh: np.ndarray) -> MouthFrame:
    """Axes of the mouth of a mesh (478, 3) in crop pixels."""
    left, right = (mesh[i] for i in regions.OUTER_CORNERS)
    axis = right[:2] - left[:2]
    axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
    top, bottom = mesh[13, :2], mesh[14, :2]
    origin = top + 0.15 * (bottom - top)
    reach = [max(float(abs((corner[:2] - origin) @ axis)), 4.0) for corner in (left, right)]
    normal = np.array([-axis[1], axis[0]])
    width = max(float(np.linalg.norm(right - left)), 8.0)
    return MouthFrame(origin, axis, reach[0], reach[1], width, max(float((bottom - origin) @ normal), 0.0))


def mouth_opening(mesh: np.ndarray, frame: MouthFrame) -> float:
    """Inner lip opening over mouth width; negative gaps count as closed."""
    return max(float((mesh[14, :2] - mesh[13, :2]) @ frame.normal), 0.0) / frame.width


def measure_softness(crop: np.ndarray, mesh: np.ndarray) -> float:
    """How much a face was enlarged or blurred, 0..1: its finest detail against detail twice as coarse."""
    low = np.clip(mesh[:, :2].min(axis=0).astype(int), 0, CROP_SIZE - 16)
    high = np.clip(mesh[:, :2].max(axis=0).astype(int), low + 16, CROP_SIZE)
    grey = cv2.cvtColor(crop[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY).astype(np.float32)
    once, twice = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (1, 2))
    fine, coarse = (float(np.percentile(np.abs(detail), 95)) for detail in (grey - once, once - twice))
    sharp, soft = SOFT_RATIO
    return float(np.clip((sharp - fine / max(coarse, 0.5)) / (sharp - soft), 0, 1))


def _inner_contours(mesh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    left, right = regions.INNER_CORNERS
    upper, lower = ([left, *ring, right] for ring in (regions.UPPER_INNER, regions.LOWER_INNER))
    return mesh[upper, :2].astype(np.float32), mesh[lower, :2].astype(np.float32)


def _cavity(crop: np.ndarray, mesh: np.ndarray, tone: Tone, own: float) -> np.ndarray:
    """Throat colours; half way to the darkest tones of the portrait's own open mouth if it shows one."""
    colours = tone(CAVITY).astype(np.float32)
    upper, lower = _inner_contours(mesh)
    mask = np.zeros(crop.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(np.concatenate([upper, lower[::-1]])).astype(np.int32)], 1)
    pixels = crop[mask > 0].astype(np.float32)
    grey = pixels.mean(axis=1)
    dark = np.median(pixels[grey <= np.quantile(grey, 0.15)], axis=0)
    seen = np.stack([dark, 0.6 * dark]) * min(1.0, 1.2 * float(colours[0].mean()) / max(float(dark.mean()), 1.0))
    return colours + 0.6 * own * (seen - colours)


def _mouth_layers(
    crop: np.ndarray, mesh: np.ndarray, frame: MouthFrame, tone: Tone, own: float, softness: float
) -> tuple[Layer, ...]:
    drawn = draw_lower(frame, tone, softness)
    if own <= 0:
        return drawn, draw_upper(frame, tone, softness)
    upper, lower = _inner_contours(mesh)
    jaw, skull, has_lower = cut_mouth(crop, upper, lower, frame.width, tone)
    return (jaw, skull) if has_lower else (drawn, jaw, skull)


def faces_viewer(mesh: np.ndarray) -> np.ndarray:
    """(478,) bool: vertices on the side of the head that the picture shows, taking the head for a ball."""
    across = mesh[regions.EYE_OUTER[1]] - mesh[regions.EYE_OUTER[0]]
    down = mesh[regions.CHIN] - mesh[list(regions.EYE_OUTER)].mean(axis=0)
    back = np.cross(across, down)
    back /= max(float(np.linalg.norm(back)), 1e-6)
    centre = mesh[list(regions.FACE_OVAL)].mean(axis=0) + BALL_DEPTH * np.linalg.norm(across) * back
    outwards = mesh - centre
    return -outwards[:, 2] > HIDDEN * np.linalg.norm(outwards, axis=1)


def _control_filter(mesh: np.ndarray, width: float, facing: np.ndarray) -> Callable[[tuple[int, ...]], np.ndarray]:
    """Filter for control vertices: lips, and skin that faces the viewer and lies outside the lips.

    The lips of the mesh are refined and the chin is not: in a shout they overlap, and the warp would fold. So it would
    where the far cheek of a turned head lies behind the near one.
    """
    ring = (61, *regions.UPPER_OUTER, 291, *regions.LOWER_OUTER[::-1])
    outline = mesh[list(ring), :2].astype(np.float32)[:, None]
    lips = set(regions.ALL_LIPS)

    def keep(v: int) -> bool:
        outside = cv2.pointPolygonTest(outline, mesh[v, :2].tolist(), True) < -LIP_CLEARANCE * width
        return v in lips or v in regions.UPPER_LIDS or bool(outside and facing[v])

    return lambda vertices: np.array([v for v in vertices if keep(v)])


def _face_box(mesh: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    room = FACE_ROOM * (high - low)
    low = np.clip((low - room).astype(int), 0, CROP_SIZE - 8)
    high = np.clip((high + room).astype(int), low + 8, CROP_SIZE)
    edges = []
    for n in high - low:
        t = np.clip((np.minimum(np.arange(n), np.arange(n)[::-1]) + 1) / FACE_FADE, 0, 1)
        edges.append((t * t * (3 - 2 * t)).astype(np.float32))
    box = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
    return box, edges[1][:, None] * edges[0]


def _neck(mesh: np.ndarray) -> np.ndarray:
    chin, top = mesh[regions.CHIN, :2], mesh[10, :2]
    down = chin - top
    side = np.array([-down[1], down[0]])
    return np.stack([chin + NECK_DROP[k != 0] * down + 0.22 * k * side for k in (-1, 0, 1)])


def _border() -> np.ndarray:
    line = np.linspace(0, CROP_SIZE - 1, ANCHORS_PER_SIDE + 1)[:-1]
    back, zero, far = CROP_SIZE - 1 - line, np.zeros(len(line)), np.full(len(line), CROP_SIZE - 1.0)
    sides = [(line, zero), (far, line), (back, far), (zero, back)]
    return np.concatenate([np.stack(side, 1) for side in sides])


def _smoothstep(x: float) -> float:
    x = float(np.clip(x, 0, 1))
    return x * x * (3 - 2 * x)
