"""Draw the picture strips of docs/controls.md: every control at some of its values, on one portrait.

python scripts/make_control_gallery.py                          # all of them into docs/img/
python scripts/make_control_gallery.py --source_path me.jpg --output_path strips/ --only smile gaze_x
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # run from a checkout, without installing the project

from core.cli.program import Parser, run_program, set_up_logging
from core.errors import InputError, OutputError
from core.utils.whole_file import whole_file

QUIET, SPEAKING = 11, 53  # frames of the speech that are shown: lips together, and an open mouth
MARGIN = 8  # frames of speech after the one that is shown
SPOKEN = ("amp_exp", "vad_alpha", "fade_alpha")  # strips that show the latter
FACE = (slice(100, 430), slice(95, 425))  # part of the crop that is shown
STILL = {"amp_pitch": 0, "amp_yaw": 0, "amp_roll": 0, "blink_rate": 0}
LEVEL = (-1, -0.5, 0, 0.5, 1)
TURN = (-8, -4, 0, 4, 8)
STRIPS: dict[str, list[dict[str, Any]]] = {
    "emo": [{"emo": e} for e in ("neutral", "happy", "sad", "angry", "fear", "surprise", "disgust", "contempt")],
    "emo_strength": [{"emo": "happy", "emo_strength": x} for x in (0, 0.5, 1, 1.5, 2)],
    "emo_mixture": [{"emo": e} for e in ("happy:1", "happy:0.6,surprise:0.4", "happy:0.3,surprise:0.7", "surprise:1")],
    "smile": [{"smile": x} for x in LEVEL],
    "gaze_x": [{"gaze_x": x} for x in (-25, -12, 0, 12, 25)],
    "gaze_y": [{"gaze_y": x} for x in (-25, -12, 0, 12, 25)],
    "gaze_follow": [{"delta_yaw": x, "gaze_follow": on} for on in (False, True) for x in (-8, 8)],
    "eye_open": [{"eye_open": x} for x in LEVEL],
    "delta_pitch": [{"delta_pitch": x} for x in TURN],
    "delta_yaw": [{"delta_yaw": x} for x in TURN],
    "delta_roll": [{"delta_roll": x} for x in TURN],
    "amp_exp": [{"amp_exp": x} for x in (0, 0.5, 1, 1.5, 2)],
    "vad_alpha": [{"vad_alpha": x} for x in (0, 0.25, 0.5, 1)],
    "fade_alpha": [
        {"ctrl_info": {SPEAKING: {"fade_alpha": x}}, "delta_yaw": 6, "emo": "happy"} for x in (1, 0.66, 0.33, 0)
    ],
    "crop_scale": [{"crop_scale": x} for x in (1.8, 2.3, 3.0)],
}
HEIGHT, LIMIT = 220, 60_000  # pixels of a strip, bytes of its file


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--source_path", type=Path, default=ROOT / "example" / "portrait.png")
    parser.add_argument("--audio_path", type=Path, default=ROOT / "example" / "sentence.wav")
    parser.add_argument("--output_path", type=Path, default=ROOT / "docs" / "img", help="folder of the strips")
    parser.add_argument("--data_root", default="auto", help="folder of a model pack [auto]")
    parser.add_argument("--only", nargs="+", choices=STRIPS, metavar="NAME", help=f"some of {', '.join(STRIPS)}")
    return parser.parse(argv)


class Painter:
    """Renders the shown frame of the speech with any controls."""

    def __init__(self, args: argparse.Namespace):
        from core.media import read_audio
        from core.sdk import StreamSDK

        self._sdk = StreamSDK(data_root=args.data_root)
        self._source = args.source_path
        self._samples = read_audio(args.audio_path)

    def __call__(self, controls: dict[str, Any], index: int) -> np.ndarray:
        """The face crop (512, 512, 3) uint8 RGB of a frame."""
        from core.motion import SAMPLES_PER_FRAME
        from core.pipeline import Pipeline, Stage
        from core.runs.plan import RunPlan

        options = self._sdk.options(**{**STILL, **controls})
        avatar = self._sdk.register(self._source, options)
        plan = RunPlan(self._sdk.config, self._sdk.models, avatar, replace(options, N_d=index + MARGIN))
        frames: list[Any] = []
        with Pipeline([plan.hearing(), *plan.frames(), Stage("collect", frames.append)]) as pipeline:
            pipeline.put(self._samples[: (index + MARGIN) * SAMPLES_PER_FRAME])
        frame, models = frames[index], self._sdk.models
        return models.decode(models.warp(avatar.features[frame.source], frame.x_s, frame.x_d))


def strips(args: argparse.Namespace) -> Iterator[Path]:
    """Write the strips and yield the files."""
    paint = Painter(args)
    args.output_path.mkdir(parents=True, exist_ok=True)
    for name in args.only or STRIPS:
        index = SPEAKING if name in SPOKEN else QUIET
        part = (slice(None), slice(None)) if name.startswith("crop") else FACE
        faces = [_labelled(paint(case, index)[part], _label(case)) for case in STRIPS[name]]
        strip = cv2.cvtColor(np.hstack(faces), cv2.COLOR_RGB2BGR)
        path = args.output_path / f"control_{name}.jpg"
        with whole_file(path) as part:
            part.write_bytes(_jpeg(strip))
        yield path


def _label(case: dict[str, Any]) -> str:
    if "ctrl_info" in case:
        return f"fade_alpha {case['ctrl_info'][SPEAKING]['fade_alpha']:g}"
    if "gaze_follow" in case:
        return f"yaw {case['delta_yaw']:+d} follow {'on' if case['gaze_follow'] else 'off'}"
    name, value = list(case.items())[-1]
    return value if isinstance(value, str) else f"{name} {value:g}"


def _labelled(face: np.ndarray, text: str) -> np.ndarray:
    small = cv2.resize(np.asarray(face).astype(np.uint8), (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA)
    bar = np.full((20, small.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([small, bar])


def _jpeg(picture: np.ndarray) -> bytes:
    """The picture at the best quality that keeps the file small."""
    for quality in range(90, 30, -5):
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= LIMIT:
            break
    return data


def run(args: argparse.Namespace) -> None:
    """Draw and name the files. Raises DittoError."""
    if not args.source_path.is_file():
        raise InputError(f"{args.source_path}: no such picture")
    try:
        for path in strips(args):
            print(path)
    except OSError as error:
        raise OutputError(f"{args.output_path}: cannot be written ({error.strerror or error})") from error


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    set_up_logging()
    args = parse_args(argv)
    return run_program(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
