"""Command-line flags of the controls, and what they mean together (docs/controls.md)."""

from __future__ import annotations

import argparse
from dataclasses import fields

from core.settings.options import CONTROL_RANGES, ControlOptions
from core.settings.presets import PRESETS

_HELP = {
    "delta_pitch": "degrees added to the pitch of the head; positive looks down",
    "delta_yaw": "degrees added to the yaw; positive turns to the left of the picture",
    "delta_roll": "degrees added to the roll; positive tilts clockwise in the picture",
    "alpha_pitch": "factor on the pitch itself, after --delta_pitch",
    "alpha_yaw": "factor on the yaw itself, after --delta_yaw",
    "alpha_roll": "factor on the roll itself, after --delta_roll",
    "amp_pitch": "how much the head nods; 1 as generated, 0 not at all",
    "amp_yaw": "how much the head turns; 1 as generated, 0 not at all",
    "amp_roll": "how much the head tilts; 1 as generated, 0 not at all",
    "amp_exp": "how much the lips move; 1 as generated",
    "smile": "1 is a full smile, -1 its opposite",
    "emo_strength": "strength of the emotion; 1 as generated, 0 neutral",
    "eye_open": "1 is wide open, 0 as in the source, -1 shut",
    "blink_rate": "blinks per minute; 0 for none",
    "gaze_x": "degrees by which the eyes look to the right of the picture",
    "gaze_y": "degrees by which the eyes look up",
    "vad_alpha": "1 lets the lips speak, 0 lets them rest",
    "delta_exp": "number added to the whole expression, for experiments",
}


def add_control_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every control, and for files of them, to a parser that suppresses what is not given."""
    group = parser.add_argument_group("controls; each can also change over time in a --ctrl file, see docs/controls.md")
    group.add_argument(
        "--preset", choices=PRESETS, help="sets steps, smoothing and sizes; flags that you give take precedence"
    )
    group.add_argument("--ctrl", metavar="FILE", help="controls over time: .yaml, .json or .csv")
    group.add_argument(
        "--more_kwargs", metavar="FILE", help="the reference's options, .pkl or .yaml; flags take precedence"
    )
    for control in fields(ControlOptions):
        limits = CONTROL_RANGES.get(control.name)
        about = f" ({limits[0]:g} .. {limits[1]:g})" if limits else ""
        group.add_argument(f"--{control.name}", type=float, metavar="X", help=_HELP[control.name] + about)
    group.add_argument("--gaze_follow", action="store_true", help="the eyes stay on the viewer when the head turns")
    group.add_argument("--no_gaze_follow", dest="gaze_follow", action="store_false", help="the eyes turn with the head")
    group.add_argument(
        "--fade_type", choices=("", "d0", "s"), help="what fades lead to: the first frame (d0) or the source (s)"
    )
    group.add_argument("--fade_out_keys", metavar="KEYS", help="parts that fade, any of exp,pitch,yaw,roll,t")
    group.add_argument("--vad_parts", choices=("lip", "all"), help="what --vad_alpha brings to rest [lip]")
    group.add_argument(
        "--no_crop_rotation",
        dest="crop_flag_do_rot",
        action="store_false",
        help="do not straighten a tilted face when it is cut out",
    )
