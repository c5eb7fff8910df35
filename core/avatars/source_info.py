"""An avatar in the words of the reference: the dictionary `source_info` (spec pipeline.md section 7)."""

from __future__ import annotations

from typing import Any

from core.avatars.avatar import Avatar
from core.motion import SCALE, SLICES


def source_info(avatar: Avatar) -> dict[str, Any]:
    """Lists over the source frames, for callers to read; the run does not look at them.

    `x_s_info_lst` holds a dictionary of (1, n) arrays per frame with the real scale and `kp`; frames and features are
    handed on as they are, so that those of a long video stay where they are.
    """
    frames = []
    for i in range(len(avatar)):
        motion = avatar.motion[i]
        parts = {name: motion.data[:, where] for name, where in SLICES.items()}
        frames.append({**parts, "scale": motion.data[:, SCALE] + 1, "kp": motion.kp})
    return {
        "x_s_info_lst": frames,
        "f_s_lst": avatar.features,
        "M_c2o_lst": list(avatar.M_c2o),
        "eye_open_lst": [row[None] for row in avatar.eye_open],
        "eye_ball_lst": [row[None] for row in avatar.eye_ball],
        "img_rgb_lst": avatar.frames,
        "sc": avatar.sc,
        "is_image_flag": avatar.is_image,
    }
