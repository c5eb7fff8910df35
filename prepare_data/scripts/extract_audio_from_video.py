"""Step 2: the sound as 16 kHz mono wav, fps25_video_list (or video_list) -> wav_list."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout, without installing the project

from prepare_data.cli import StepOptions, guarded, parse, run_step_script


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: run_step_script(["audio"], parse(StepOptions, argv, __doc__)))


if __name__ == "__main__":
    sys.exit(main())
