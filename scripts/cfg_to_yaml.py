"""Convert a configuration of the official packs (.pkl) into YAML that can be read, compared and edited.

    python scripts/cfg_to_yaml.py checkpoints/ditto_cfg/v0.4_hubert_cfg_pytorch.pkl     # .yaml and .npz beside it
    python scripts/cfg_to_yaml.py CONFIG.pkl OUTPUT.yaml

Nothing in the pickle is executed. Arrays go into OUTPUT.npz, which has to stay beside OUTPUT.yaml; the values are the
same to the last bit. `--cfg_pkl OUTPUT.yaml` then takes the place of the .pkl.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from core.cli.program import Parser, run_program, set_up_logging
from core.errors import InputError
from core.settings.config import read_config
from core.settings.run_options import option_problems
from core.settings.safe_pickle import load_plain_pickle
from core.settings.yaml_config import write_yaml


def convert(source: Path, target: Path) -> list[Path]:
    """Write the YAML form of a .pkl; returns the files written.

    Raises PackError when the pickle is missing, damaged or not plain data, InputError for unfit names and OutputError
    when the result cannot be written.
    """
    if target.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"{target}: give the output a name that ends in .yaml")
    content = load_plain_pickle(source)
    if not isinstance(content, dict):
        raise InputError(f"{source}: a configuration is a dictionary, this is a {type(content).__name__}")
    return write_yaml(target, content)


def doubts(path: Path) -> list[str]:
    """What this program would refuse in a configuration."""
    config, problems = read_config(path)
    return problems + option_problems(config)


def run(args: argparse.Namespace) -> None:
    """Convert, name the files, and what is doubtful about them. Raises DittoError."""
    written = convert(args.source, args.target or args.source.with_suffix(".yaml"))
    problems = doubts(written[0])
    print(f"written: {', '.join(map(str, written))}")
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="configuration, .pkl")
    parser.add_argument("target", type=Path, nargs="?", help="YAML file to write (default: beside the source)")
    args = parser.parse(arguments)
    set_up_logging()
    return run_program(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
