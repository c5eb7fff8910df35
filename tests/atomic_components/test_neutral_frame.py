"""The frame at rest, and what follows from it for the lips."""

import numpy as np
import pytest

from core.atomic_components.motion_stitch import MotionStitch
from core.atomic_components.neutral_frame import NeutralState, most_neutral
from core.atomic_components.source2info import SourceInfo
from core.atomic_components.source_analysis import make_record
from core.avatars.avatar import Frame
from core.errors import InputError
from core.motion import EXP, YAW, Motion, MotionSpace, degrees_to_bins
from core.settings.options import SourceOptions, StitchOptions


def info(opening=0.0, lids=0.3, yaw=0.0, sharpness=5.0, width=50.0):
    """A face; opening over the width of the inner mouth, yaw in degrees, width of the lips with eyes 100 apart."""
    mesh = np.zeros((478, 3), np.float32)
    mesh[33, 0], mesh[263, 0] = -50, 50
    mesh[61, 0], mesh[291, 0] = -width / 2, width / 2
    mesh[78, 0], mesh[308, 0], mesh[14, 1] = -20, 20, 40 * opening
    data = np.zeros((1, 265), np.float32)
    data[:, YAW] = degrees_to_bins([yaw])
    data[:, 1:67] = data[:, 133:199] = degrees_to_bins([0])
    motion = Motion(data, np.zeros((1, 63), np.float32))
    return SourceInfo(np.eye(3, dtype=np.float32), motion, np.full(2, lids), np.zeros(6), mesh, sharpness)


WORSE = [{"opening": 0.3}, {"lids": 0.05}, {"yaw": 25}, {"sharpness": 1.0}, {"width": 65}]


@pytest.mark.parametrize("flaw", WORSE, ids=lambda flaw: next(iter(flaw)))
def test_one_flaw_is_enough_to_lose(flaw):
    infos = [info(**flaw), info(**flaw), None, info(), info(), info(), info(**flaw), info()]
    assert most_neutral(make_record(infos, range(8), [1] * 8, True)) == 3
    assert most_neutral(make_record(infos, range(8), [2] * 8, True)) == 6, "counted in output frames"


def choose(**options):
    infos = [info(opening=0.3), info(), info(opening=0.1), info()]
    motion = Motion(np.arange(4, dtype=np.float32)[:, None] + np.zeros((4, 265), np.float32), np.zeros((4, 63)))
    motion.kp[:] = np.arange(4)[:, None]
    is_image = options.pop("is_image", False)
    return NeutralState.choose(make_record(infos, range(4), [1] * 4, True), motion, SourceOptions(**options), is_image)


def test_what_stands_for_the_face_at_rest():
    state = choose()
    assert (state.frame, state.sc[0], state.start, state.lips) == (1, 1, None, None)
    assert choose(reference_frame=2).frame == 2 and choose(is_image=True).frame == 0
    assert choose(motion_frames=3).lips == pytest.approx(np.full(63, 1.0))
    assert choose(motion_frames=3, reference_frame=3).lips == pytest.approx(np.full(63, 3.0))
    legacy = choose(motion_frames=3, motion_legacy=True, smo_k_s=13)
    assert (legacy.frame, legacy.sc[0], legacy.lips) == (0, 0, None)
    assert legacy.start == pytest.approx(np.full(265, 1.0)), "the mean of the first frames"
    with pytest.raises(InputError, match="reference_frame is 4; the source has the frames 0 .. 3"):
        choose(reference_frame=4)


def test_lips_return_to_those_of_the_neutral_frames_and_all_else_stays(avatar):
    """Each frame smiles differently; with neutral lips the smile is gone from the lips and still in the cheeks."""
    space, rng = MotionSpace(), np.random.default_rng(0)
    source = Motion(rng.normal(0, 1, (3, 265)).astype(np.float32), np.zeros((3, 63), np.float32))
    source.data[:, :199] = 0
    driving = Motion(np.zeros((3, 265), np.float32))
    neutral = rng.normal(0, 1, 63).astype(np.float32)
    lip = space.lip_mask().reshape(21, 3)[:, 0] == 1

    def shown(**more):
        stitch = MotionStitch(avatar(source, **more), StitchOptions(), space, None)
        frames = [stitch(Frame(i, i, driving[i])) for i in range(3)]
        return np.concatenate([frame.x_d - frame.x_s for frame in frames])

    assert shown() == pytest.approx(np.zeros((3, 21, 3)), abs=1e-5)
    change = shown(lips=neutral)
    assert np.all(change[:, ~lip] == 0)
    wanted = (neutral - source.data[:, EXP]).reshape(3, 21, 3) * (1 + source.data[:, None, :1])
    assert change[:, lip] == pytest.approx(wanted[:, lip], abs=1e-4)
