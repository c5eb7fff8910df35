"""The rendered face goes back into the frame, in all blend modes."""

import numpy as np
import pytest

from core.atomic_components.putback import PutBack
from core.avatars.avatar import Frame
from core.motion import Motion
from core.settings.options import BlendOptions
from core.utils.mask import blend_mask

PUTBACK = "pipeline_putback.npz"


@pytest.fixture(scope="module")
def render():
    y, x = np.mgrid[0:512, 0:512]
    red, green = 127.5 + 127.5 * np.sin(2 * np.pi * x / 128), 127.5 + 127.5 * np.cos(2 * np.pi * y / 96)
    return np.stack([red, green, (red + green) / 2], axis=2).astype(np.float32)


@pytest.fixture
def put(avatar, picture, motion_of, render):
    """put(M_c2o, options, face) -> the finished picture, over the golden test picture."""

    def run(M_c2o, options=BlendOptions(), face=None, frames=None):
        frames = [picture(270, 360)] if frames is None else frames
        n = len(frames)
        motion = Motion(np.zeros((n, 265), np.float32), np.zeros((n, 63), np.float32))
        stage = PutBack(avatar(motion, frames, np.stack([M_c2o] * n)), blend_mask(options))
        return stage(Frame(0, n - 1, face=render if face is None else face)).image

    return run


@pytest.mark.parametrize("place", ["a", "b"])
def test_matches_the_reference(golden, put, place):
    z = golden(PUTBACK)
    image = put(z[f"M_c2o_{place}"])
    assert image.dtype == np.uint8
    assert np.abs(image[::3, ::3].astype(int) - z[f"ref_{place}"]).max() <= 1


CUSTOM = [f"custom{a}" for a in (0.0, 0.3, 0.7, 1.0)]


@pytest.mark.parametrize("name", ["blend", "strong", "replace", "weak", *CUSTOM])
def test_legacy_modes_match_the_fork(golden, put, name):
    z = golden(PUTBACK)
    mode, alpha = (name[:6], float(name[6:])) if name in CUSTOM else (name, 1.0)
    image = put(z["M_c2o_a"], BlendOptions(mode, alpha, blend_legacy=True))
    difference = np.abs(image[::4, ::4].astype(int) - z[f"fork_{name}_a"])
    assert difference.max() <= 4 and (difference > 1).mean() < 0.002


@pytest.mark.parametrize("name", ["strong", "custom0.0", "custom0.3", "custom0.7"])
def test_modes(golden, put, name):
    z = golden(PUTBACK)
    mode, alpha = (name[:6], float(name[6:])) if name in CUSTOM else (name, 1.0)
    image = put(z["M_c2o_a"], BlendOptions(mode, alpha))
    assert np.abs(image[::4, ::4].astype(int) - z[f"ours_{name}_a"]).max() <= 1


def test_bytes_and_floats_give_the_same_picture(golden, put, render):
    M_c2o = golden(PUTBACK)["M_c2o_a"]
    whole = np.floor(render)
    np.testing.assert_array_equal(put(M_c2o, face=whole.astype(np.uint8)), put(M_c2o, face=whole))


def test_the_source_frame_is_not_changed(golden, put, picture):
    source = picture(270, 360)
    image = put(golden(PUTBACK)["M_c2o_a"], frames=[source])
    np.testing.assert_array_equal(source, picture(270, 360))
    assert np.abs(image.astype(int) - source).max() > 50


def test_video_frames_use_their_own_picture(golden, put, picture):
    M_c2o = golden(PUTBACK)["M_c2o_a"]
    frames = [np.zeros((270, 360, 3), np.uint8), picture(270, 360)]
    np.testing.assert_array_equal(put(M_c2o, frames=frames), put(M_c2o))


def test_a_face_outside_the_frame_changes_nothing(put, picture):
    outside = np.array([[0.5, 0, 2000], [0, 0.5, 0], [0, 0, 1]], np.float32)
    np.testing.assert_array_equal(put(outside), picture(270, 360))


def test_a_constant_face_keeps_its_level_inside(put):
    M_c2o = np.array([[0.3, 0.1, 60], [-0.1, 0.3, 70], [0, 0, 1]], np.float32)
    assert (put(M_c2o, face=np.full((512, 512, 3), 200, np.uint8))[110:150, 145:190] == 200).all()
