"""The official analyser with fakes for its networks: who is found, tracked, and what is said of a crop."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.atomic_components.source2info import Source2Info
from core.aux_models.analyser import OfficialAnalyser, motion_from_outputs
from core.aux_models.scrfd_detector import Faces
from core.errors import InputError
from core.settings.options import CropOptions
from core.utils.crop import cut_again

SHAPES = {"pitch": 66, "yaw": 66, "roll": 66, "t": 3, "exp": 63, "scale": 1, "kp": 63}
PARTS = {106: ([33, 35, 40, 39, 87, 89, 94, 93], [52, 61]), 203: ([0, 6, 12, 18, 24, 30, 36, 42], [48, 66])}


def template(count, seed=0):
    """A face-like cloud of `count` points in -0.5..0.5: eyes above, mouth below."""
    points = np.random.default_rng(seed).uniform(-0.5, 0.5, (count, 2)).astype(np.float32)
    eyes, mouth = PARTS[count]
    points[eyes] = [[-0.2, -0.2]] * 4 + [[0.2, -0.2]] * 4
    points[mouth] = [[-0.1, 0.25], [0.1, 0.25]]
    points[[1, 2]] = [[-0.5, -0.5], [0.5, 0.5]]  # the bounds, whatever the random numbers are
    return points


class World:
    """Faces at known places, (centre x, centre y, side), and networks that see them."""

    min_score = 0.5

    def __init__(self, *faces, drift=(0.0, 0.0), growth=1.0, eyes=True):
        self.faces, self.drift, self.growth, self.eyes = faces, np.float32(drift), growth, eyes
        self.searches, self.images = 0, []

    def __call__(self, frame):
        """The detector; the first face gets the lowest score."""
        self.searches += 1
        boxes = np.float32([[x - s / 2, y - s / 2, x + s / 2, y + s / 2] for x, y, s in self.faces]).reshape(-1, 4)
        scores = np.linspace(0.6, 0.9, len(boxes), dtype=np.float32)
        return Faces(boxes, scores, np.zeros((len(boxes), 5, 2), np.float32), float(scores.max(initial=0.3)))

    def landmark106(self, frame, box):
        return (box[:2] + box[2:]) / 2 + template(106) * (box[2] - box[0])

    def landmark203(self, crop, M_c2o):
        """Where the crop's centre is, `drift` sides away and `growth` times as large as a face of this crop."""
        assert crop.shape == (224, 224, 3)
        side = np.linalg.norm(M_c2o[:2, 0]) * 224 / 1.5
        centre = M_c2o[:2, :2] @ [112, 112] + M_c2o[:2, 2]
        up = M_c2o[:2, 1] / np.linalg.norm(M_c2o[:2, 1])
        centre = centre + up * 0.1 * 1.5 * side  # the view is shifted by that much
        return (centre + (template(203) * self.growth + self.drift) * side).astype(np.float32)

    def landmark478(self, crop, expected):
        self.expected = expected
        return np.random.default_rng(1).uniform(0.3, 0.7, (478, 3)).astype(np.float32) if self.eyes else None

    def motion(self, image):
        self.images.append(image)
        return {name: np.full((1, size), i, np.float32) for i, (name, size) in enumerate(SHAPES.items())}

    def appearance(self, image):
        self.images.append(image)
        return "volume"

    def analyser(self):
        return OfficialAnalyser(
            self, self.landmark106, self.landmark203, self.landmark478, self.motion, self.appearance
        )


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)


def test_largest_face_comes_first_with_203_landmarks(frame):
    faces, best = World((100, 100, 50), (400, 200, 150)).analyser().find(frame)
    assert [face.landmarks.shape for face in faces] == [(203, 2)] * 2
    assert np.ptp(faces[0].landmarks[:, 0]) > 2 * np.ptp(faces[1].landmarks[:, 0])
    assert [face.score for face in faces] == pytest.approx([0.9, 0.6]) and best == pytest.approx(0.9)
    assert np.abs(faces[0].landmarks.mean(axis=0) - [400, 200]).max() < 30


def test_no_face_gives_the_best_score(frame):
    faces, best = World().analyser().find(frame)
    assert faces == [] and best == pytest.approx(0.3)


def test_tracking_follows_without_a_search(frame):
    world = World((400, 200, 150))
    previous = template(203) * 150 + [400, 200]
    face = world.analyser().track(frame, previous.astype(np.float32))
    assert world.searches == 0 and face.landmarks.shape == (203, 2)
    np.testing.assert_allclose(face.landmarks.mean(axis=0), previous.mean(axis=0), atol=15)


@pytest.mark.parametrize("change", [{"drift": (0.7, 0)}, {"growth": 0.5}, {"growth": 2.0}, {"drift": (np.nan, 0)}])
def test_implausible_tracking_searches_again(frame, change):
    world = World((400, 200, 150), (100, 100, 150), **change)
    previous = (template(203) * 150 + [120, 110]).astype(np.float32)
    face = world.analyser().track(frame, previous)
    assert world.searches == 1
    if np.isfinite(face.landmarks).all():  # the nearer of the two
        assert np.linalg.norm(face.landmarks.mean(axis=0) - [100, 100]) < np.linalg.norm(
            face.landmarks.mean(axis=0) - [400, 200]
        )


def test_a_face_that_left_the_frame_is_lost(frame):
    previous = (template(203) * 100 + [660, 200]).astype(np.float32)
    assert World().analyser().track(frame, previous) is None


def test_crop_and_description(frame):
    world = World((320, 240, 150))
    analyser = world.analyser()
    faces, _ = analyser.find(frame)
    info = Source2Info(analyser, CropOptions())(frame, faces[0])
    assert info.motion.data.shape == (1, 265) and info.motion.kp.shape == (1, 63) and info.mesh.shape == (478, 3)
    assert analyser.feature(cut_again(frame, info.M_c2o, analyser.border), info.mesh) == "volume"
    assert info.eye_open.shape == (2,) and info.eye_ball.shape == (6,)
    motion_image, appearance_image = world.images
    np.testing.assert_allclose(appearance_image, motion_image, atol=2 / 255)
    assert motion_image.shape == appearance_image.shape == (1, 3, 256, 256)
    assert motion_image.dtype == np.float32 and 0 <= motion_image.min() and motion_image.max() <= 1
    to_crop = np.linalg.inv(info.M_c2o)
    in_crop = faces[0].landmarks @ to_crop[:2, :2].T + to_crop[:2, 2]
    assert 0 < in_crop.min() and in_crop.max() < 512
    assert world.expected.centre == pytest.approx((in_crop.min(0) + in_crop.max(0)) / 2, abs=1)


def test_networks_get_the_crop_in_rgb_reduced_by_area(frame):
    world = World()
    crop = cv2.resize(frame, (512, 512))
    seen = world.analyser().describe(crop, template(203) * 300 + 256)
    want = cv2.resize(crop, (256, 256), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)[None] / 255
    np.testing.assert_allclose(world.images[0], want, atol=1e-6)
    assert seen.landmarks.shape == (478, 3) and seen.landmarks.max() > 200  # crop pixels


def test_no_eyes_is_a_clear_error(frame):
    with pytest.raises(InputError, match="no eyes recognised"):
        World(eyes=False).analyser().describe(cv2.resize(frame, (512, 512)), template(203) * 300 + 256)


def test_motion_is_laid_out_as_everywhere():
    outputs = World().motion(None)
    outputs["exp"] = outputs["exp"].reshape(1, 21, 3)
    motion = motion_from_outputs(outputs)
    assert motion.scale.item() == 5 and motion.data[0, 0] == 4
    assert motion.pitch.max() == 0 and motion.yaw.max() == 1 and motion.roll.max() == 2
    assert motion.t.max() == 3 and motion.exp.min() == 4 and motion.kp.min() == 6
