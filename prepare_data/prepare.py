"""Videos to training features, all steps in one go.

    python prepare_data/prepare.py DATA_INFO_JSON DATA_LIST_JSON DATA_PRELOAD_PKL [--workers 4]

What is finished is kept: after an interruption, or when clips were added, the same command does the rest. A clip that
cannot be used is reported with its reason and left out.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from prepare_data.cli import guarded, parse, report, tyro
from prepare_data.gather import gather, write_list
from prepare_data.options import FeatureOptions, GatherOptions, PreloadOptions, RunOptions
from prepare_data.preload import write_mmap, write_pickle
from prepare_data.run import ALL_STEPS, run_steps


@dataclass(frozen=True)
class Options:
    """All steps: crop, sound, speech features, motion, eyes, emotion, then the list and the preload file."""

    # data_info.json with the lists of files
    data_info_json: tyro.conf.Positional[str]
    # data_list.json to write
    data_list_json: tyro.conf.Positional[str]
    # data_preload.pkl to write; "" leaves it out
    data_preload_pkl: tyro.conf.Positional[str] = ""
    # folder for the same features in a form that training maps into memory; empty: not written
    data_mmap_dir: str = ""
    # window length; clips of this many frames or less are left out
    seq_frames: int = 80
    # mirrored clips, which double the data
    flip: bool = True
    # what decides how the features come out
    features: FeatureOptions = field(default_factory=FeatureOptions)
    # how the work is done
    run: RunOptions = field(default_factory=RunOptions)


def prepare(options: Options) -> int:
    """Do it; returns the exit code. Raises DittoError for what concerns all clips."""
    begun = time.time()
    steps = [name for name in ALL_STEPS if options.flip or not name.endswith("_flip")]
    summary = run_steps(options.data_info_json, steps, options.features, options.run)
    code = report(summary, options.run)
    chosen = dict(use_emo=True, use_eye_open=True, use_eye_ball=True)
    found = gather(
        options.data_info_json, GatherOptions(**chosen, with_flip=options.flip, min_frames=options.seq_frames + 1)
    )
    for line in found.dropped_lines({result.clip for result in summary.failed}):
        print(f"  {line}")
    write_list(options.data_list_json, found)
    print("records: " + " plain, ".join(map(str, found.counts)) + (" mirrored" if options.flip else " plain"))
    wanted = PreloadOptions(**chosen, use_sc=True, seq_frames=options.seq_frames)
    if options.data_preload_pkl:
        write_pickle(options.data_list_json, options.data_preload_pkl, wanted)
    if options.data_mmap_dir:
        write_mmap(options.data_list_json, options.data_mmap_dir, wanted)
    made = [options.data_list_json, options.data_preload_pkl, options.data_mmap_dir]
    print("[prepare_data]", *filter(None, made), "DONE", f"{time.time() - begun:.1f} s", sep="\n")
    return code


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: prepare(parse(Options, argv, __doc__)))


if __name__ == "__main__":
    sys.exit(main())
