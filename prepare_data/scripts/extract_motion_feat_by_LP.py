"""Step 4: motion in the pack's space, video_list -> LP_pkl_list, LP_npy_list."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout, without installing the project

from prepare_data.cli import StepOptions, guarded, parse, run_step_script


@dataclass(frozen=True)
class Options(StepOptions):
    """Options of this step."""

    # the mirrored video, into the `_flip` folders
    flip_flag: bool = False


def main(argv: list[str] | None = None) -> int:
    """Entry point."""

    def run() -> int:
        options = parse(Options, argv, __doc__)
        return run_step_script(["motion_flip" if options.flip_flag else "motion"], options)

    return guarded(run)


if __name__ == "__main__":
    sys.exit(main())
