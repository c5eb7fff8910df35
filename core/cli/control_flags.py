"""Command-line flags of the controls, and what they mean together (docs/controls.md)."""

from __future__ import annotations

import argparse
from dataclasses import fields

from core.settings.options import CONTROL_RANGES, ControlOptions
from core.settings.presets import PRESETS

_HELP = {
    "delta_pitch": "degrees added to the head's angle; positive looks down",
    "delta_yaw": "positive turns to the left of the picture",
    "delta_roll": "positive tilts clockwise in the picture",
    "alpha_pitch": "factor on the angle itself, after --delta_pitch",
    "alpha_yaw": "the same for the yaw",
    "alpha_roll": "the same for the roll",
    "amp_pitch": "size of the head's nodding; 1 as generated, 0 none",
    "amp_yaw": "size of its turning",
    "amp_roll": "size of its tilting",
    "amp_exp": "size of the lips' motion; 1 as generated",
    "smile": "1 a full smile, -1 the opposite",
    "emo_strength": "size of the emotion; 1 as generated, 0 neutral",
    "eye_open": "1 wide eyes, 0 as in the source, -1 shut",
    "blink_rate": "blinks per minute; 0 none",
    "gaze_x": "look so many degrees to the right of the picture",
    "gaze_y": "look so many degrees up",
    "vad_alpha": "1 the lips speak, 0 they rest",
    "delta_exp": "number added to the whole expression, for experiments",
}


def add_control_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every control, and for files of them, to a parser that suppresses what is not given."""
    group = parser.add_argument_group("controls; each also works over time in a file of --ctrl, see docs/controls.md")
    group.add_argument("--preset", choices=PRESETS, help="steps, smoothing and sizes; other flags go before it")
    group.add_argument("--ctrl", metavar="FILE", help="controls over time: .yaml, .json or .csv")
    group.add_argument("--more_kwargs", metavar="FILE", help="the reference's options, .pkl or .yaml; flags go first")
    for control in fields(ControlOptions):
        limits = CONTROL_RANGES.get(control.name)
        about = f" ({limits[0]:g} .. {limits[1]:g})" if limits else ""
        group.add_argument(f"--{control.name}", type=float, metavar="X", help=_HELP[control.name] + about)
    group.add_argument("--gaze_follow", action="store_true", help="the eyes stay on the viewer when the head turns")
    group.add_argument("--no_gaze_follow", dest="gaze_follow", action="store_false", help="they turn with the head")
    group.add_argument("--fade_type", choices=("", "d0", "s"), help="fades go to: the first frame (d0), the source (s)")
    group.add_argument("--fade_out_keys", metavar="KEYS", help="parts that fade, of exp,pitch,yaw,roll,t")
    group.add_argument("--vad_parts", choices=("lip", "all"), help="what --vad_alpha brings to rest [lip]")
    group.add_argument(
        "--no_crop_rotation", dest="crop_flag_do_rot", action="store_false", help="cut a tilted face out as it is"
    )
