"""Options of one run, one frozen dataclass per concern. Field names are the keyword names of the reference (spec 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class CropOptions:
    """How the face is cut out of the source frame."""

    crop_scale: float = 2.3  # side of the crop over the side of the landmark square; larger shows more around the face
    crop_vx_ratio: float = 0.0  # shift to the right, in crop sides
    crop_vy_ratio: float = -0.125  # shift down, in crop sides; negative is up
    crop_flag_do_rot: bool = True  # turn the crop so that the face is upright


@dataclass(frozen=True)
class ConditionOptions:
    """What the motion model is told besides the speech."""

    # label 0..7 or name, a list of them (mixed), a list of lists (one row per frame, repeated), or a (m, 8) float array
    emo: Any = 4
    eye_f0_mode: bool = False  # use the eye state of source frame 0 for all frames


@dataclass(frozen=True)
class MotionOptions:
    """How windows of generated motion become one sequence."""

    overlap_v2: int = 10  # frames shared by neighbouring windows, 0 .. window - 1
    fix_kp_cond: int = 0  # reset the carried pose every n windows; 0 never resets, negative never carries
    fix_kp_cond_dim: tuple[int, int] | None = None  # [start, end) of the motion vector that a reset leaves alone
    sampling_timesteps: int = 50  # steps of the diffusion sampler
    v_min_max_for_clip: np.ndarray | None = None  # rows 0 and 1 bound each of the 265 numbers; None leaves them alone
    smo_k_d: int = 3  # frames averaged in generated scale, pose and translation; 1 is off


@dataclass(frozen=True)
class StitchOptions:
    """How generated motion is laid over the source's own."""

    # parts taken from the generated motion, or part -> factor; None: all but scale for a picture, exp for a video
    use_d_keys: Sequence[str] | Mapping[str, float] | None = None
    relative_d: bool = True  # add the change since the first generated frame instead of using it as it is
    drive_eye: bool | None = None  # eyes from the generated motion or the blink rows; None: yes for a picture
    delta_eye_arr: np.ndarray | None = None  # (m, 63) one blink, row 0 = open; None: the avatar's own, if it has one
    delta_eye_open_n: int | Sequence[int] = 0  # frames between blinks; 0 random 60..100, negative none, list cycled
    fade_type: str = ""  # what fades go to: "" nothing, "d0" the first frame, "s" the source
    fade_out_keys: Sequence[str] | None = ("exp",)  # parts that fade; None: all
    flag_stitching: bool = True  # run the stitching network, if the pack has one
    overall_ctrl_info: Mapping[str, Any] = field(default_factory=dict)  # controls of every frame, below per-frame ones
    vad_parts: str = "lip"  # what vad_alpha fades towards the source: "lip", or "all" as the reference did


@dataclass(frozen=True)
class BlendOptions:
    """How the rendered face is laid over the source frame."""

    blend_mode: str = "blend"  # blend, strong, replace, weak or custom
    blend_alpha: float = 1.0  # share of the rendered face in custom mode, 0..1
    blend_legacy: bool = False  # the mask formulas of the fork, which leave a visible border
    mask_ratio_w: float = 0.9  # part of the crop's width that is not feathered
    mask_ratio_h: float = 0.9  # part of the crop's height that is not feathered
