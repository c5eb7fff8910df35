"""A portrait with hand-made controls, for the tests of the renderer."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from core.lite.appearance import LiteFeature
from core.lite.decode import LiteDecoder
from core.lite.face_tracker import FaceTracker
from core.lite.motion_space import (
    LIP_SLOTS,
    FaceSpace,
    angles_from_rotation,
    blink_array,
    mouth_width,
    normalise_mesh,
)
from core.lite.warp import LiteWarp
from core.motion import rotation_matrix

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "checkpoints" / "ditto_lite"
PORTRAITS = {  # picture -> (mouth open in the picture)
    "astronaut": (ROOT / "example" / "portrait.png", True),
    "hopper": (ROOT / "tests" / "data" / "grace_hopper.jpg", False),
}


class Puppet:
    """A portrait with hand-made controls."""

    def __init__(self, picture: np.ndarray, tracker: FaceTracker, space: FaceSpace):
        mesh = tracker.static(picture)[0][0].mesh
        low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
        scale = 512 / (2.1 * (high - low).max())
        shift = 256 - scale * ((low + high) / 2 - [0, 0.1 * (high - low).max()])
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        self.crop = cv2.warpAffine(picture, matrix, (512, 512), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        mesh = np.column_stack([mesh[:, :2] * scale + shift, mesh[:, 2] * scale]).astype(np.float32)
        self.mesh = tracker.track(self.crop, mesh).mesh
        self.feature = LiteFeature(self.crop, self.mesh)
        self.space, self.tracker = space, tracker
        self.source = space.source_keypoints(self.mesh)
        self.pose = space.pose(normalise_mesh(self.mesh))
        self.warp, self.decode = LiteWarp(space.dense), LiteDecoder()
        self.x_s = self.keypoints()

    def keypoints(self, opening=None, width=0.0, blink=0.0, pitch=0.0, yaw=0.0, roll=0.0) -> np.ndarray:
        """(1, 21, 3) driving keypoints; opening None leaves the mouth as in the picture."""
        exp = self.source.exp.copy()
        if opening is not None:
            lips = list(LIP_SLOTS)
            shape = opening * self.space.modes[0] + width * self.space.modes[1]
            exp[lips] = mouth_width(self.source.kp) * shape[lips]
        exp = exp + blink * blink_array(self.source.kp)[2].reshape(21, 3)
        scale, rotation, t = self.pose
        now = [float(a) for a in angles_from_rotation(rotation)]
        turned = rotation_matrix(now[0] + pitch, now[1] + yaw, now[2] + roll)[0]
        return (scale * (self.source.kp + exp) @ turned + t)[None].astype(np.float32)

    def render(self, **controls) -> np.ndarray:
        return self.show(self.keypoints(**controls))

    def show(self, x_d: np.ndarray) -> np.ndarray:
        return self.decode.decode(self.warp.warp(self.feature, self.x_s, x_d))

    def measure(self, picture: np.ndarray) -> tuple[float, float]:
        """Lip opening over mouth width, and lid opening over eye width (mean of both eyes), by tracking a picture."""
        mesh = self.tracker.track(picture, self.mesh).mesh[:, :2]

        def gap(a, b, left, right):
            return np.linalg.norm(mesh[a] - mesh[b]) / np.linalg.norm(mesh[left] - mesh[right])

        return gap(13, 14, 61, 291), (gap(159, 145, 33, 133) + gap(386, 374, 362, 263)) / 2

    @property
    def outer_lips(self) -> np.ndarray:
        low, high = (f(self.mesh[[61, 291, 0, 17], :2], 0).astype(int) for f in (np.min, np.max))
        mask = np.zeros((512, 512), bool)
        mask[low[1] : high[1] + 40, low[0] : high[0]] = True
        return mask


def load_puppets() -> dict[str, Puppet]:
    """One of each portrait."""
    tracker, space = FaceTracker.load(PACK), FaceSpace.load(PACK / "motion_space.npz")
    read = {name: cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for name, (path, _) in PORTRAITS.items()}
    return {name: Puppet(picture, tracker, space) for name, picture in read.items()}
