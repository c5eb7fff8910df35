"""Download the official Ditto checkpoints and check them.

    pip install -e '.[download]'
    python scripts/download_checkpoints.py                              # PyTorch pack and configurations
    python scripts/download_checkpoints.py --subset onnx trt cfg --out DIR
    python scripts/download_checkpoints.py --check DIR                  # only look at what is there

A download that was interrupted goes on where it stopped. Exit status: 0 everything is there, 1 files are missing or
damaged, 2 nothing could be done.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from core.cli.program import Parser, run_program, set_up_logging
from core.errors import InputError
from scripts.official.files import FOLDERS, Finding, check

REPOSITORY = "digital-avatar/ditto-talkinghead"
CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoints"
DEFAULT = ("pytorch", "cfg")


def download(out: Path, subsets: list[str]) -> None:
    """Fetch the folders of the subsets into `out`; what is already complete there is kept.

    Raises InputError when huggingface_hub is missing or the repository cannot be reached.
    """
    try:
        from huggingface_hub import model_info, snapshot_download
    except ImportError as error:
        raise InputError("downloading needs huggingface_hub: pip install -e '.[download]'") from error
    patterns = [f"{FOLDERS[subset]}/*" for subset in subsets]
    try:
        model_info(REPOSITORY)  # without a network snapshot_download takes an existing folder for the download
        snapshot_download(REPOSITORY, local_dir=out, allow_patterns=patterns)
    except Exception as error:  # the errors of the client's transport differ between its versions
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"cannot download {REPOSITORY} from the Hugging Face hub ({reason}); run this again with a network, "
            f"or copy the folders {', '.join(FOLDERS[s] for s in subsets)} to {out} and check them with --check {out}"
        ) from error


def present(root: Path) -> list[str]:
    """The subsets that have a folder below `root`. Raises InputError when there is none."""
    found = [subset for subset, folder in FOLDERS.items() if (root / folder).is_dir()]
    if not found:
        raise InputError(f"{root} holds none of the folders {', '.join(FOLDERS.values())}")
    return found


def table(findings: list[Finding]) -> str:
    """One line per file, the failures explained, and a summary."""
    width = max(len(finding.item.path) for finding in findings)
    lines = []
    for finding in findings:
        size = f"{finding.size / 1e6:9.2f} MB" if finding.size else " " * 12
        lines.append(f"{finding.state:8}{finding.item.path:{width}} {size}  {finding.problem}".rstrip())
    failed = [finding.item.path for finding in findings if finding.failed]
    lines.append(f"{len(findings)} files, {len(failed)} missing or damaged" + (":" if failed else ""))
    return "\n".join(lines + [f"  {path}" for path in failed])


def run(args: argparse.Namespace) -> int:
    """Download or look, and print the table; returns the exit status. Raises DittoError when nothing could be done."""
    if args.check is None:
        subsets = args.subset or list(DEFAULT)
        download(args.out, subsets)
    else:
        subsets = args.subset or present(args.check)
    findings = check(args.check or args.out, subsets)
    print(table(findings))
    return 1 if any(finding.failed for finding in findings) else 0


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subset", nargs="+", choices=list(FOLDERS), help="what to fetch (default: pytorch cfg)")
    parser.add_argument("--out", type=Path, default=CHECKPOINTS, help="folder for the files (default: %(default)s)")
    parser.add_argument("--check", type=Path, metavar="DIR", help="download nothing, check this folder")
    args = parser.parse(arguments)
    set_up_logging()
    return run_program(lambda: run(args), "interrupted; the same command goes on where it stopped")


if __name__ == "__main__":
    sys.exit(main())
