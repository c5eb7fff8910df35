"""Step 7: the clips that can be trained on, data_info.json -> data_list.json."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout, without installing the project

from prepare_data.cli import guarded, parse, tyro
from prepare_data.gather import gather, write_list
from prepare_data.options import GatherOptions


@dataclass(frozen=True, kw_only=True)
class Options(GatherOptions):
    """Options of this step."""

    # data_info.json with the lists of files
    input_data_json: Annotated[str, tyro.conf.arg(aliases=["-i"])]
    # data_list.json to write
    output_data_json: Annotated[str, tyro.conf.arg(aliases=["-o"])]


def run(options: Options) -> int:
    """Write the list and print how many clips each pass found, and why others were left out."""
    found = gather(options.input_data_json, options)
    print(*found.dropped_lines(), sep="\n", end="\n" if found.dropped else "")
    print("\n".join(map(str, found.counts)))
    write_list(options.output_data_json, found)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: run(parse(Options, argv, __doc__)))


if __name__ == "__main__":
    sys.exit(main())
