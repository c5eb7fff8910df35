"""Options of one run, one frozen dataclass per concern. Field names are the keyword names of the reference (spec 3).

How values become options: `core.settings.run_options`.
"""

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
    sampler: str = "ddim"  # "ddim" as the reference, or "dpm", DPM-Solver++ (2M), for which 10 to 15 steps are enough
    v_min_max_for_clip: np.ndarray | None = None  # rows 0 and 1 bound each of the 265 numbers; None leaves them alone
    smo_k_d: int = 3  # frames averaged in generated scale, pose and translation; 1 is off
    first_chunk: int = 0  # online: new frames of the first window, for an early start; 0: as all others


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
    gaze_follow: bool | None = None  # the eyes stay on the viewer when the head turns; None: as suits the pack


@dataclass(frozen=True)
class ControlOptions:
    """What the face does besides speaking. The same names work frame by frame in `ctrl_info`, which takes precedence.

    None leaves it to `overall_ctrl_info`, and that to the motion model. See CONTROL_RANGES and docs/controls.md.
    """

    delta_pitch: float | None = None  # degrees added to the head's angle; positive looks down
    delta_yaw: float | None = None  # positive turns to the left of the picture
    delta_roll: float | None = None  # positive tilts clockwise in the picture
    alpha_pitch: float | None = None  # factor on the angle itself, after the delta
    alpha_yaw: float | None = None
    alpha_roll: float | None = None
    amp_pitch: float | None = None  # factor on the head's motion, its way from the pose of the source
    amp_yaw: float | None = None
    amp_roll: float | None = None
    amp_exp: float | None = None  # factor on the motion of the lips
    smile: float | None = None  # 1 a full smile, -1 corners of the mouth down
    emo_strength: float | None = None  # factor on the emotion; 0 neutral
    eye_open: float | None = None  # 1 wide, 0 as in the source, -1 shut
    blink_rate: float | None = None  # blinks per minute
    gaze_x: float | None = None  # degrees to the right of the picture
    gaze_y: float | None = None  # degrees up
    vad_alpha: float | None = None  # 1 the lips speak, 0 they rest
    delta_exp: float | None = None  # number added to all of the expression


_TURN, _GAIN, _SIGNED = (-90.0, 90.0), (-10.0, 10.0), (-1.0, 1.0)
CONTROL_RANGES = {  # control of one number -> least and greatest value
    **{f"delta_{angle}": _TURN for angle in ("pitch", "yaw", "roll")},
    **{f"alpha_{angle}": _GAIN for angle in ("pitch", "yaw", "roll")},
    **{f"amp_{angle}": (0.0, 3.0) for angle in ("pitch", "yaw", "roll")},
    **{"amp_exp": (0.0, 2.0), "smile": _SIGNED, "emo_strength": (0.0, 2.0), "eye_open": _SIGNED},
    **{"blink_rate": (0.0, 60.0), "gaze_x": (-30.0, 30.0), "gaze_y": (-30.0, 30.0)},
    "vad_alpha": (0.0, 1.0),
}


@dataclass(frozen=True)
class BlendOptions:
    """How the rendered face is laid over the source frame."""

    blend_mode: str = "blend"  # blend, strong, replace, weak or custom
    blend_alpha: float = 1.0  # share of the rendered face in custom mode, 0..1
    blend_legacy: bool = False  # the mask formulas of the fork, which leave a visible border
    mask_ratio_w: float = 0.9  # part of the crop's width that is not feathered
    mask_ratio_h: float = 0.9  # part of the crop's height that is not feathered
    # what is replaced: crop, or face, lower (below the eyes), mouth, which follow the face; auto: the face of a video
    # whose head moves as it did, which leaves hair and background untouched; else the crop
    region: str = "auto"
    color_match: str = "auto"  # colours of the face brought to the frame's: on, off, auto (where regions need it)


@dataclass(frozen=True)
class SourceOptions:
    """How the source is read and registered."""

    max_size: int = 1920  # longest side of source frames in pixels; <= 0 leaves them alone
    template_n_frames: int = -1  # frames of a source video that are used; <= 0: as many as the output has, or all
    smo_k_s: int = 13  # frames averaged in the motion of a source video
    resample: bool = True  # take a source video's frames by their time; off: one per output frame, whatever its rate
    cache: bool = True  # keep what was found in a source on disk, for the next run with it
    loop: str = "mirror"  # after a source video's end: mirror, loop, hold; once: the result is as long as the source
    reference_frame: int = -1  # frame of a source video that motion starts from; -1: its most neutral one
    motion_frames: int = 0  # take the lips at rest from the first frames of a source video; 0: from every frame itself
    motion_legacy: bool = False  # motion_frames as in the fork, which keeps every frame's lips and smooths nothing
    alpha: bool = False  # keep the transparency of the source


@dataclass(frozen=True)
class WriterOptions:
    """How the result is written."""

    crf: int = 18  # quality of x264, 0 (lossless) .. 51
    tag: bool = True  # say in the file's metadata that the video is synthetic
    fps: float = 25.0  # frames per second of the result; the motion is resampled
    encoder: str = "auto"  # H.264 by hardware where it works, else libx264; or the name of an encoder


@dataclass(frozen=True)
class RunOptions:
    """Everything that decides a run besides source, audio and pack."""

    source: SourceOptions = field(default_factory=SourceOptions)
    crop: CropOptions = field(default_factory=CropOptions)
    condition: ConditionOptions = field(default_factory=ConditionOptions)
    motion: MotionOptions = field(default_factory=MotionOptions)
    stitch: StitchOptions = field(default_factory=StitchOptions)
    control: ControlOptions = field(default_factory=ControlOptions)
    blend: BlendOptions = field(default_factory=BlendOptions)
    writer: WriterOptions = field(default_factory=WriterOptions)
    seed: int = 0  # decides head motion, blinks and sampling noise
    online_mode: bool = False  # motion from chunks of audio instead of the whole clip
    chunksize: tuple[int, int, int] | None = None  # online: past, current, future frames per window; None: the pack's
    vad: bool = False  # rest the lips while the sound holds no voice, by an energy gate; packs may do so by themselves
    N_d: int = -1  # output frames; -1: not known yet
    fade_in: int = -1  # frames over which the motion grows from the fade target; -1 none
    fade_out: int = -1  # frames over which it returns there; -1 none
    # output frame -> controls, or a list of the controls of frame 0, 1, ..
    ctrl_info: Mapping[int, Mapping[str, Any]] | Sequence[Mapping[str, Any]] = field(default_factory=dict)
    preset: str = ""  # see core.settings.presets; what is given by name takes precedence
    ch_info: Mapping[str, Any] | None = None  # reference character in place of the source's own state (spec 8.4)


@dataclass(frozen=True)
class PackConfig:
    """What a pack's configuration file holds."""

    base_cfg: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # model name -> path, device, ...
    audio2motion_cfg: Mapping[str, Any] = field(default_factory=dict)  # motion model and what its condition holds
    default_kwargs: Mapping[str, Any] = field(default_factory=dict)  # options of runs with this pack
    online_kwargs: Mapping[str, Any] = field(default_factory=dict)  # those that are different in online mode
    motion_space: Mapping[str, Any] = field(default_factory=dict)  # what the 21 keypoints mean, where not the usual
