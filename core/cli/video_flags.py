"""Command-line flags of video sources, of how the face is laid over them, and of the file that comes out."""

from __future__ import annotations

import argparse

from core.media.encoders import ENCODERS
from core.settings.run_options import CHOICES

_EYES = {"auto": None, "true": True, "false": False}


def add_video_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a parser that suppresses what is not given."""
    _add_source_flags(parser)
    _add_blend_flags(parser)
    _add_result_flags(parser)


def _add_source_flags(parser: argparse.ArgumentParser) -> None:
    video = parser.add_argument_group("video sources")
    video.add_argument(
        "--loop",
        choices=CHOICES["loop"],
        help="if the speech is longer: play back and forth, begin again, or hold the last frame; once: the result is "
        "as long as the source, with the lips at rest after shorter speech [mirror]",
    )
    video.add_argument(
        "--motion_frames",
        type=int,
        metavar="N",
        help="preserve the motion of all frames, but take the resting lips from the first N frames [0: off]",
    )
    video.add_argument(
        "--motion_legacy", action="store_true", help="the same as in the fork, with the lips as they are"
    )
    video.add_argument(
        "--reference_frame",
        type=_frame,
        metavar="auto|N",
        help="frame from which the motion, and with --motion_frames the lips, start [auto: the most neutral one]",
    )
    video.add_argument(
        "--drive_eye",
        type=_eyes,
        metavar="auto|true|false",
        help="true: generated blinks, false: the eyes of the source [auto: generated for a picture]",
    )


def _add_blend_flags(parser: argparse.ArgumentParser) -> None:
    blend = parser.add_argument_group("blending")
    blend.add_argument(
        "--region",
        choices=CHOICES["region"],
        help="what is replaced [auto: the face of a video that keeps its head motion, else the whole crop]",
    )
    blend.add_argument(
        "--blend_mode",
        choices=CHOICES["blend_mode"],
        help="the face gets a soft, narrow or hard edge, is half transparent, or as --blend_alpha says [blend]",
    )
    blend.add_argument(
        "--blend_alpha", type=float, metavar="A", help="share of the rendered face in mode custom, 0 .. 1"
    )
    blend.add_argument(
        "--blend_legacy", action="store_true", help="use the formulas of the fork, which leave a visible border"
    )
    blend.add_argument(
        "--color_match",
        choices=CHOICES["color_match"],
        help="adapt the face to the colours of the frame [auto: if needed]",
    )


def _add_result_flags(parser: argparse.ArgumentParser) -> None:
    out = parser.add_argument_group("result")
    out.add_argument("--fps", type=float, help="frames per second of the result [25]")
    out.add_argument(
        "--encoder", choices=ENCODERS, metavar="NAME", help=f"{', '.join(ENCODERS)} [auto: hardware where it works]"
    )
    out.add_argument(
        "--alpha",
        action="store_true",
        help="keep the transparency of the source; the output is .mov (ProRes 4444), .webm (VP9) or frame_%%05d.png",
    )


def _eyes(text: str) -> bool | None:
    if text not in _EYES:
        raise argparse.ArgumentTypeError(f"'{text}' is not auto, true or false")
    return _EYES[text]


def _frame(text: str) -> int:
    if text == "auto":
        return -1
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is neither auto nor the number of a frame")
    return int(text)
