"""Avatar records for the tests, whose arrays say which frame they belong to."""

import numpy as np

from core.avatars.record import AvatarRecord


def record(found, times=None, complete=True):
    """Frame k has k in all of its arrays, if its face was found."""
    m = len(found)
    times = [1] * m if times is None else times
    level = np.where(found, np.arange(m), -99).astype(np.float32)
    return AvatarRecord(
        shown=np.repeat(np.arange(m, dtype=np.int32), times),
        pts=np.arange(m, dtype=np.int64) * 512,
        found=np.array(found, bool),
        motion=np.repeat(level[:, None], 328, 1),
        M_c2o=level[:, None, None] + np.zeros((1, 3, 3), np.float32),
        eye_open=np.repeat(level[:, None], 2, 1),
        eye_ball=np.repeat(level[:, None], 6, 1),
        mesh=level[:, None, None] + np.zeros((1, 478, 3), np.float32),
        sharpness=level,
        complete=np.array(complete),
    )
