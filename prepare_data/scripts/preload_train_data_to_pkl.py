"""Step 8: all features in one pickle, or in a folder that training maps into memory."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout, without installing the project

from core.errors import InputError
from prepare_data.cli import guarded, parse
from prepare_data.options import PreloadOptions
from prepare_data.preload import write_mean_variance, write_mmap, write_pickle


@dataclass(frozen=True, kw_only=True)
class Options(PreloadOptions):
    """Options of this step."""

    # data_list.json
    data_list_json: str
    # pickle to write
    data_preload_pkl: str = ""
    # folder to write, instead of the pickle or besides
    data_mmap_dir: str = ""
    # mean and variance of the motion columns, as .npy; empty: not written
    save_mtn_mean_var_npy: str = ""


def run(options: Options) -> int:
    """Write what was asked for."""
    wanted = PreloadOptions(**{name: getattr(options, name) for name in PreloadOptions.__dataclass_fields__})
    jobs = ((options.data_preload_pkl, write_pickle), (options.data_mmap_dir, write_mmap))
    if not any(path for path, _ in jobs):
        raise InputError("nothing to write; give --data_preload_pkl or --data_mmap_dir")
    for path, write in jobs:
        if path:
            made = write(options.data_list_json, path, wanted)
            print(f"{path}: {'written' if made else 'already made from this list with these options'}")
    if options.save_mtn_mean_var_npy:
        write_mean_variance(options.data_list_json, options.save_mtn_mean_var_npy, wanted)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: run(parse(Options, argv, __doc__)))


if __name__ == "__main__":
    sys.exit(main())
