"""What the renderer prepares once per portrait: the feature that the avatar carries, and everything derived from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from core.lite import mesh_regions as regions
from core.lite.head_mask import hair_ring, head_mask, still_points
from core.lite.interior import Interior, measure_mouth, mouth_opening, own_share, skin_light
from core.lite.jaw import with_chin
from core.lite.lids import EYES, EyePatch
from core.lite.motion_space import CROP_SIZE, RIGID, pose_from_points
from core.lite.pose import HeadPose
from core.lite.softness import measure_softness
from core.lite.teeth import MouthFrame
from core.lite.video_look import VideoLook

HAIR_DEPTH = 0.25  # of the distance between the outer eye corners, behind the oval
NECK_DROP = (0.22, 0.34)  # of the face height below the chin: side and middle neck points
ANCHORS_PER_SIDE = 8
FACE_ROOM = 0.10  # of the face's size, around it
FACE_FADE = 16.0  # pixels
BALL_DEPTH = 0.35  # centre of the head behind the face oval, in distances of the outer eye corners
HIDDEN = 0.02  # cosine to the viewer below which a vertex counts as turned away
LIGHT_RANGE = (0.4, 1.6)  # by which the inside of a mouth follows the light of a video
LIP_CLEARANCE = 0.05  # mouth widths that skin control points keep from the lips


@dataclass
class LiteFeature:
    """Appearance feature of one source frame.

    Attributes:
        crop: (512, 512, 3) uint8 RGB face crop.
        mesh: (478, 3) float32 face mesh in crop pixels, z in the same unit.
        look: what it shares with the other frames of its video; None for a picture.
    """

    crop: np.ndarray
    mesh: np.ndarray
    look: VideoLook | None = None

    def __post_init__(self) -> None:
        if self.crop.shape != (CROP_SIZE, CROP_SIZE, 3) or self.crop.dtype != np.uint8:
            got = f"{self.crop.shape} {self.crop.dtype}"
            raise ValueError(f"crop must be ({CROP_SIZE}, {CROP_SIZE}, 3) uint8, got {got}")
        if self.mesh.shape != (478, 3):
            raise ValueError(f"mesh must be (478, 3), got {self.mesh.shape}")

    @cached_property
    def appearance(self) -> LiteAppearance:
        """Everything the renderer derives from crop and mesh, made on first use (30 ms; 3 ms in a video)."""
        return LiteAppearance.build(self.crop, self.mesh, self.look)


@dataclass(frozen=True)
class LiteAppearance:
    """Per-portrait precomputation.

    Attributes:
        crop, mesh: as in LiteFeature; the mesh float64, its chin below the lips.
        facing: (478,) bool, vertices on the side of the head that the picture shows.
        neck: (3, 2) points below the chin.
        mouth: the source mouth's axes.
        own_mouth: 0 a mouth that is closed in the picture .. 1 one that shows its inside.
        interior: what is seen between the lips.
        from_interior: from the interior's crop to this one; None where they are the same.
        light: brightness of this crop over that of the interior's.
        face_control, upper_layer, lower_layer: control vertices of the three warps that suit this mesh.
        softness: 0 a sharp picture .. 1 one enlarged fourfold or more; what is drawn is as soft.
    """

    crop: np.ndarray
    mesh: np.ndarray
    facing: np.ndarray
    neck: np.ndarray
    mouth: MouthFrame
    own_mouth: float
    interior: Interior
    from_interior: HeadPose | None
    light: float
    face_control: np.ndarray
    upper_layer: np.ndarray
    lower_layer: np.ndarray
    softness: float

    @classmethod
    def build(cls, crop: np.ndarray, mesh: np.ndarray, look: VideoLook | None = None) -> LiteAppearance:
        """Prepare a crop (512, 512, 3) uint8 and its mesh (478, 3) for rendering; `look` for a frame of a video."""
        mesh = with_chin(mesh.astype(np.float64))
        frame = measure_mouth(mesh)
        softness = measure_softness(crop, mesh) if look is None else look.softness
        facing = faces_viewer(mesh)
        clear = _control_filter(mesh, frame.width, facing)
        return cls(
            crop=crop,
            mesh=mesh,
            facing=facing,
            neck=_neck(mesh),
            mouth=frame,
            own_mouth=own_share(mouth_opening(mesh, frame)),
            interior=Interior.build(crop, mesh, frame, softness) if look is None else look.interior,
            from_interior=None if look is None else _pose_between(look.interior.mesh, mesh),
            light=1.0 if look is None else _light(crop, mesh, look.interior),
            face_control=clear(regions.FACE_CONTROL),
            upper_layer=clear(regions.UPPER_LAYER),
            lower_layer=clear(regions.LOWER_LAYER),
            softness=softness,
        )

    # What follows is made when it is asked for: a frame of a video that keeps its head still needs none of it.

    @cached_property
    def _head(self) -> np.ndarray:
        return head_mask(self.crop, self.mesh)

    @cached_property
    def hair(self) -> np.ndarray:
        """(n, 3) points beside and above the face that turn with the head."""
        unit = float(np.linalg.norm(self.mesh[regions.EYE_OUTER[0]] - self.mesh[regions.EYE_OUTER[1]]))
        return hair_ring(self._head, self.mesh, HAIR_DEPTH * unit)[self.facing[list(regions.UPPER_HALF_OVAL)]]

    @cached_property
    def anchors(self) -> np.ndarray:
        """(n, 2) points of border and background, which never move."""
        return np.concatenate([_border(), still_points(self.crop, self._head, self.mesh, self.neck)])

    @cached_property
    def face_box(self) -> tuple[tuple[slice, slice], np.ndarray]:
        """(rows, columns) of the part that is drawn with cubic interpolation, and (h, w) float32 that fades it out."""
        return _face_box(self.mesh)

    @cached_property
    def eyes(self) -> tuple[EyePatch, EyePatch]:
        """Both eyes' lids."""
        return tuple(EyePatch.build(self.crop, self.mesh, rings, self.softness) for rings in EYES)


def _light(crop: np.ndarray, mesh: np.ndarray, interior: Interior) -> float:
    return float(np.clip(skin_light(crop, mesh) / interior.light, *LIGHT_RANGE))


def _pose_between(source: np.ndarray, driven: np.ndarray) -> HeadPose:
    """Similarity that takes the skull of one mesh (478, 3) to that of another."""
    rigid = list(RIGID)
    scale, rotation, _ = pose_from_points(driven[rigid], source[rigid])
    return HeadPose(float(scale), rotation, source[rigid].mean(axis=0), driven[rigid].mean(axis=0))


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
