"""Which tensors the published checkpoints hold: names and shapes, one JSON file per network in `manifests/`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "manifests"
NETWORKS = ("appearance_extractor", "motion_extractor", "warp_network", "decoder", "stitch_network", "lmdm")


@dataclass(frozen=True)
class Manifest:
    """A network's checkpoint: its path below the download's root, learned numbers, and shape of each tensor."""

    checkpoint: str
    parameters: int
    tensors: dict[str, tuple[int, ...]]


def load_manifest(network: str) -> Manifest:
    """The manifest of one of NETWORKS. Raises KeyError for another name."""
    if network not in NETWORKS:
        raise KeyError(f"no network '{network}'; known: {', '.join(NETWORKS)}")
    content = json.loads((FOLDER / f"{network}.json").read_text())
    tensors = {name: tuple(shape) for name, shape in content["tensors"].items()}
    return Manifest(content["checkpoint"], content["parameters"], tensors)
