"""Step 0: is the model pack complete? All missing files are named at once."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout, without installing the project

from prepare_data.cli import guarded, parse
from prepare_data.models import open_models

LINKED = ("det_10g.onnx", "2d106det.onnx")
LINK_FOLDER = "insightface/models/buffalo_l"


@dataclass(frozen=True)
class Options:
    """Options of this step."""

    # folder of a model pack, its name under checkpoints/, or "auto" for the best one that is there
    data_root: str = "auto"
    # another name of --data_root, as in the reference; goes first
    ditto_pytorch_path: str = ""
    # configuration of the pack, .pkl or .yaml; empty: the one inside the pack
    cfg_pkl: str = ""


def check(options: Options) -> int:
    """Look for the files and print which pack will be used. Raises PackError when one is missing."""
    root = options.ditto_pytorch_path or options.data_root
    pack = open_models(root, options.cfg_pkl or None, "auto", False, 1).pack
    link_face_models(pack.root)
    print(f"{pack.root}: complete ({len(pack.files)} model files)")
    return 0


def link_face_models(root: Path) -> None:
    """Make the links that the reference's scripts want in an official PyTorch pack; a file system may refuse them."""
    aux = root / "aux_models"
    for name in LINKED:
        link = aux / LINK_FOLDER / name
        if (aux / name).is_file() and not os.path.lexists(link):
            try:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(f"../../../{name}")
            except OSError:
                return  # nothing here needs them


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: check(parse(Options, argv, __doc__)))


if __name__ == "__main__":
    sys.exit(main())
