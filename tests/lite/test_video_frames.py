"""Frames of a video: one mouth for all of them, and a head that is held is not drawn anew."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from puppet import Puppet, load_puppets

from core.avatars.features import LazyFeatures
from core.lite.analyser import MeshAnalyser
from core.lite.appearance import LiteFeature
from core.lite.motion_space import EYE_SLOTS, LIP_SLOTS, RIGID_SLOTS, SLOT_VERTICES
from core.lite.pose import HeadPose
from core.lite.video_look import OPENING, VideoLook, open_mouths
from core.motion import rotation_matrix

MOVE = np.array([[0.95, 0, 20], [0, 0.95, 8.0]])
BROW = next(k for k in range(21) if k not in (*LIP_SLOTS, *EYE_SLOTS, *RIGID_SLOTS))


@pytest.fixture(scope="module")
def open_face() -> Puppet:
    return load_puppets()["astronaut"]


@pytest.fixture(scope="module")
def shut_face(open_face) -> Puppet:
    """The same face in another frame of the video: mouth shut, a little to the side and further away."""
    shut = cv2.warpAffine(open_face.render(opening=0.0), MOVE, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    return Puppet(shut, open_face.tracker, open_face.space)


@pytest.fixture(scope="module")
def video(open_face, shut_face) -> tuple[Puppet, Puppet]:
    """Both, with the look of their video."""
    faces = (open_face, shut_face)
    look = VideoLook.find(np.stack([face.mesh for face in faces]), lambda i: faces[i].crop)
    for face in faces:
        face.feature = LiteFeature(face.crop, face.mesh, look)
    return faces


def mouth_of(face: Puppet, picture: np.ndarray) -> np.ndarray:
    """(40, 80, 3) float32, the picture around the mouth as it would be without the move of the head."""
    left, right = face.mesh[[61, 291], :2]
    top = face.mesh[2, :2]
    target = np.array([[8, 20], [72, 20], [40, 2]], np.float32)
    matrix = cv2.getAffineTransform(np.stack([left, right, top]).astype(np.float32), target)
    return cv2.warpAffine(picture, matrix, (80, 40), flags=cv2.INTER_AREA).astype(np.float32)


def test_every_frame_shows_the_same_teeth(video):
    one, other = video
    expected = mouth_of(one, one.render(opening=0.3))
    alone = LiteFeature(other.crop, other.mesh)
    drawn = other.decode(other.warp(alone, other.x_s, other.keypoints(opening=0.3)))
    shared, unshared = (
        np.abs(mouth_of(other, picture) - expected)[16:34, 24:56].mean()
        for picture in (other.render(opening=0.3), drawn)
    )
    assert shared < 0.75 * unshared


def test_teeth_follow_the_light(video):
    face = video[0]
    dim = LiteFeature(face.crop // 2, face.mesh, face.feature.look)
    controls = face.x_s, face.keypoints(opening=0.3)
    bright, dark = (mouth_of(face, face.decode(face.warp(f, *controls)))[16:34, 24:56] for f in (face.feature, dim))
    assert abs(dark.mean() / bright.mean() - 0.5) < 0.05


def test_only_the_lower_face_of_a_held_head_is_drawn(video):
    face = video[0]
    deformation = face.warp(face.feature, face.x_s, face.keypoints(opening=0.4))
    rows, columns = deformation.box
    assert deformation.maps.shape == (2, rows.stop - rows.start, columns.stop - columns.start)
    assert (rows.stop - rows.start) * (columns.stop - columns.start) < 0.4 * 512**2
    picture = face.decode(deformation)
    outside = np.ones((512, 512), bool)
    outside[deformation.box] = False
    assert np.array_equal(picture[outside], face.crop[outside])
    edge = np.abs(picture.astype(int) - face.crop)[deformation.box]
    assert max(edge[0].max(), edge[-1].max(), edge[:, 0].max(), edge[:, -1].max()) <= 2


def test_a_held_head_looks_as_if_it_had_moved_by_nothing(video):
    face = video[0]
    x_d = face.keypoints(opening=0.35, width=0.1)
    held, moved = (face.warp(face.feature, face.x_s, x) for x in (x_d, x_d + np.float32([3e-5, 0, 0])))
    assert held.box is not None and moved.box is None
    difference = np.abs(face.decode(held).astype(int) - face.decode(moved))
    assert difference.mean() < 0.7
    lips = face.outer_lips
    assert difference[lips].mean() < 3


def test_brows_and_blinks_move_in_a_held_head(video):
    face = video[0]
    x_d = face.x_s.copy()
    x_d[0, BROW, 1] -= 0.03
    brow = face.mesh[SLOT_VERTICES[BROW], :2].astype(int)
    around = slice(brow[1] - 12, brow[1] + 12), slice(brow[0] - 12, brow[0] + 12)
    assert np.abs(face.show(x_d).astype(int) - face.crop)[around].max() > 15
    _, open_eyes = face.measure(face.crop)
    assert face.measure(face.render(blink=1.0))[1] < 0.45 * open_eyes


def test_a_picture_is_drawn_as_a_whole(open_face):
    alone = LiteFeature(open_face.crop, open_face.mesh)
    assert open_face.warp(alone, open_face.x_s, open_face.x_s).box is None


def test_well_open_mouths_apart_from_each_other_are_looked_at(open_face):
    meshes = np.repeat(open_face.mesh[None], 40, axis=0)
    width = np.linalg.norm(meshes[0, 61] - meshes[0, 291])
    meshes[:, 14, :2] = meshes[:, 13, :2]
    for frame in (9, 10, 30):
        meshes[frame, 14, 1] += OPENING[0] * width
    chosen = open_mouths(meshes)
    assert {9, 30} <= set(chosen) and 10 not in chosen
    assert chosen == sorted(chosen)
    assert open_mouths(meshes[:1]) == [0]


def test_frames_of_a_video_share_their_look_and_a_picture_has_none(open_face):
    analyser = MeshAnalyser(open_face.tracker, open_face.space)
    frames, M_c2o = [open_face.crop] * 3, np.repeat(np.eye(3, dtype=np.float32)[None], 3, axis=0)
    meshes = np.repeat(open_face.mesh[None], 3, axis=0)
    features = LazyFeatures(analyser, frames, M_c2o, meshes, np.array([0, 1, 1]))
    assert features[0] is not features[1] and features[1] is features[2]
    assert features[0].look is features[1].look is not None
    assert LazyFeatures(analyser, frames[:1], M_c2o[:1], meshes[:1], np.zeros(1, int))[0].look is None


def test_poses_one_after_the_other():
    rng = np.random.default_rng(0)
    first, second = (
        HeadPose(s, rotation_matrix(*angles)[0].astype(float), *rng.uniform(0, 500, (2, 3)))
        for s, angles in ((1.1, (5, -9, 3)), (0.8, (-4, 7, 20)))
    )
    points = rng.uniform(0, 500, (20, 3))
    assert np.allclose(first.then(second)(points), second(first(points)))
