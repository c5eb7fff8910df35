"""Step 3: speech features of the pack's encoder, wav_list -> hubert_aud_npy_list."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout, without installing the project

from prepare_data.cli import StepOptions, guarded, parse, run_step_script


@dataclass(frozen=True)
class Options(StepOptions):
    """Options of this step."""

    # encoder of the reference's command line; the pack that it lies in is used
    Hubert_onnx: str = ""


def main(argv: list[str] | None = None) -> int:
    """Entry point."""

    def run() -> int:
        options = parse(Options, argv, __doc__)
        return run_step_script(["audio_feat"], options, options.Hubert_onnx)

    return guarded(run)


if __name__ == "__main__":
    sys.exit(main())
