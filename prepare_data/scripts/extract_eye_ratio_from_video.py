"""Step 5: landmarks, openness of the eyes, gaze: video_list -> MP_lmk_npy_list, eye_open_npy_list, eye_ball_npy_list.

--flip_lmk_flag measures the mirrored video; --flip_flag computes the mirrored eyes from the plain ones.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout, without installing the project

from prepare_data.cli import StepOptions, guarded, parse, run_step_script


@dataclass(frozen=True)
class Options(StepOptions):
    """Options of this step."""

    # `_flip` eye files from the plain ones, without looking at the video
    flip_flag: bool = False
    # the mirrored video, into the `_flip` folders; goes before --flip_flag
    flip_lmk_flag: bool = False
    # landmarker of the reference's command line; the pack that it lies in is used
    MP_face_landmarker_task_path: str = ""


def main(argv: list[str] | None = None) -> int:
    """Entry point."""

    def run() -> int:
        options = parse(Options, argv, __doc__)
        step = "eyes_flip" if options.flip_lmk_flag else "eyes_mirrored" if options.flip_flag else "eyes"
        return run_step_script([step], options, options.MP_face_landmarker_task_path)

    return guarded(run)


if __name__ == "__main__":
    sys.exit(main())
