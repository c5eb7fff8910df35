"""Export the networks of a PyTorch pack to ONNX, with the file and tensor names of the official `ditto_onnx` folder.

    pip install -e '.[export]'
    python scripts/export_onnx.py --pack checkpoints/ditto_pytorch --out checkpoints/my_onnx
    python scripts/export_onnx.py --pack DIR --out DIR --nets warp_network decoder
    python scripts/export_onnx.py --lmdm experiments/s2/NAME/ckpts/best_model.pt --out motion.onnx

Opset 20, whose GridSample takes volumes: ONNX Runtime runs the warping network without a plugin. A pack made with
`make_random_pack.py --small` has the sizes of its networks in config.yaml; they are read from there.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from core.cli.extras import needs

needs("export", "torch")

import torch
import yaml
from torch import Tensor, nn

from core.backends.checkpoint import load_network
from core.cli.program import Parser, run_program, set_up_logging
from core.errors import InputError, OutputError, PackError
from core.models.appearance_extractor import AppearanceExtractor, AppearanceSizes
from core.models.decoder import Decoder, DecoderSizes
from core.models.lmdm import Lmdm, LmdmSizes
from core.models.motion_extractor import MotionExtractor, MotionSizes
from core.models.stitch_network import StitchNetwork, StitchSizes
from core.models.warp_network import DenseMotionSizes, WarpingNetwork
from core.packs.motion_config import KEY, read_config
from core.utils.whole_file import whole_file

OPSET = 20  # the first whose GridSample takes volumes
IMAGE = {"image": (1, 3, 256, 256)}
BATCHED = ("warp_network", "decoder")  # networks that can be exported for any number of frames
POINTS = {"kp_source": (1, 21, 3), "kp_driving": (1, 21, 3)}


@dataclass(frozen=True)
class Net:
    """A network as it is published: class, class of its sizes, base name of its files, input shapes, output names."""

    network: type[nn.Module]
    sizes: type
    file: str
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]

    def build(self, sizes: Mapping[str, Any] | None = None) -> nn.Module:
        """The network with arbitrary weights. Raises PackError when it has no such sizes."""
        try:
            return self.network(self.sizes(**(sizes or {})))
        except TypeError as error:
            raise PackError(f"{self.file}: unknown sizes in the pack's configuration ({error})") from error


NETS = {
    "appearance_extractor": Net(AppearanceExtractor, AppearanceSizes, "appearance_extractor", IMAGE, ("pred",)),
    "motion_extractor": Net(
        MotionExtractor, MotionSizes, "motion_extractor", IMAGE, ("pitch", "yaw", "roll", "t", "exp", "scale", "kp")
    ),
    "warp_network": Net(
        WarpingNetwork, DenseMotionSizes, "warp_network", {"feature_3d": (1, 32, 16, 64, 64), **POINTS}, ("out",)
    ),
    "decoder": Net(Decoder, DecoderSizes, "decoder", {"feature": (1, 256, 64, 64)}, ("output",)),
    "stitch_network": Net(StitchNetwork, StitchSizes, "stitch_network", POINTS, ("out",)),
    "lmdm": Net(
        Lmdm,
        LmdmSizes,
        "lmdm_v0.4_hubert",
        {"x": (1, 80, 265), "cond_frame": (1, 265), "cond": (1, 80, 1103), "time_cond": (1,)},
        ("pred_noise", "x_start"),
    ),
}


def example_inputs(net_name: str) -> dict[str, Tensor]:
    """Zeros of the production shapes by name; `time_cond` is int64."""
    kinds = {"time_cond": torch.int64}
    return {name: torch.zeros(shape, dtype=kinds.get(name)) for name, shape in NETS[net_name].inputs.items()}


def export(
    net_name: str,
    network: nn.Module,
    path: str | Path,
    inputs: Mapping[str, Tensor] | None = None,
    free_batch: bool = False,
) -> Path:
    """Write `network`, ready for inference and folded, to an ONNX file.

    Args:
        net_name: one of NETS; gives the tensor names.
        inputs: tensors of the shapes to fix; None takes the production shapes.
        free_batch: leave the first axis of all inputs and outputs open.

    Returns `path`. Raises InputError when the package `onnx` is missing.
    """
    inputs = example_inputs(net_name) if inputs is None else inputs
    names, outputs = list(NETS[net_name].inputs), list(NETS[net_name].outputs)
    values, free = tuple(inputs[name] for name in names), {}
    if free_batch:  # traced with two, since what holds for one alone would be written down as a constant
        values = tuple(value.repeat(2, *[1] * (value.ndim - 1)) for value in values)
        free = {name: {0: "batch"} for name in (*names, *outputs)}
    write_onnx(network, values, path, names, outputs, free)
    return Path(path)


def write_onnx(
    network: nn.Module,
    inputs: tuple[Tensor, ...],
    path: str | Path,
    input_names: list[str],
    output_names: list[str],
    free_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Trace a network on example inputs into an ONNX file; every axis that is not in `free_axes` is fixed."""
    with whole_file(Path(path)) as part, _quiet(), _ignored_layouts(), torch.inference_mode(False), torch.no_grad():
        try:
            torch.onnx.export(
                network,
                inputs,
                str(part),
                opset_version=OPSET,
                input_names=input_names,
                output_names=output_names,
                dynamic_axes=dict(free_axes or {}),
                dynamo=False,  # the other exporter writes no GridSample for volumes
            )
        except ImportError as error:
            raise InputError("the export needs onnx: pip install -e '.[export]'") from error


def pack_sizes(pack: Path, net_name: str) -> dict[str, Any]:
    """Sizes of a network in the pack's config.yaml; empty, which means the published ones, when it names none."""
    path = pack / "config.yaml"
    if not path.is_file():
        return {}
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = {**config.get("base_cfg", {}), "lmdm_cfg": config.get("audio2motion_cfg", {})}
    return entries.get(f"{net_name}_cfg", {}).get("sizes", {})


def export_pack(pack: Path, out: Path, nets: list[str], free_batch: bool = False) -> Iterator[Path]:
    """Export networks of a PyTorch pack one by one; yields the files. PackError names all missing ones at once.

    `free_batch` leaves the batch of BATCHED open.
    """
    files = {net: pack / "models" / f"{NETS[net].file}.pth" for net in nets}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise PackError(f"model files missing: {', '.join(missing)}; --pack takes a folder with models/*.pth")
    for net, path in files.items():
        network = load_network(path, NETS[net].build(pack_sizes(pack, net)), net)
        yield export(net, network, out / f"{NETS[net].file}.onnx", free_batch=free_batch and net in BATCHED)


def export_trained(checkpoint: Path, out: Path) -> Path:
    """Export a motion network that MotionDiT/train.py made, of any size, with its description.

    Guidance is inside; x0 is not clipped. Raises PackError when the file is damaged, OSError when `out` cannot be
    written.
    """
    import onnx

    config = read_config(checkpoint)
    if config is None:
        raise PackError(f"{checkpoint}: has no description of its sizes; export the reference's files with --pack")
    network = load_network(checkpoint, NETS["lmdm"].build(config.sizes), "lmdm")
    frames, motion, cond = (config.sizes[name] for name in ("frames", "motion", "cond"))
    shapes = {"x": (1, frames, motion), "cond_frame": (1, motion), "cond": (1, frames, cond)}
    inputs = {name: torch.zeros(shape) for name, shape in shapes.items()}
    with whole_file(out) as part:
        export("lmdm", network, part, {**inputs, "time_cond": torch.zeros(1, dtype=torch.int64)})
        model = onnx.load(part)
        onnx.helper.set_model_props(model, {KEY: config.text()})
        onnx.save(model, part)
    return out


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings: constants that come from shapes are meant, shapes are fixed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _ignored_layouts() -> Iterator[None]:
    """With `contiguous(memory_format=...)` left out of the graph: ONNX knows no memory layouts."""
    torch.onnx.register_custom_op_symbolic("aten::contiguous", lambda g, x, layout: x, OPSET)
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic("aten::contiguous", OPSET)


def run(args: argparse.Namespace) -> None:
    """Export and print the files. Raises DittoError."""
    try:
        if args.lmdm:
            paths = iter([export_trained(args.lmdm, args.out)])
        else:
            paths = export_pack(args.pack, args.out, args.nets, args.free_batch)
        for path in paths:
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB", flush=True)
    except OSError as error:
        raise OutputError(f"{args.out}: cannot be written ({error.strerror or error})") from error


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pack", type=Path, help="folder with models/*.pth")
    source.add_argument("--lmdm", type=Path, help="checkpoint of MotionDiT/train.py, .pt or .safetensors")
    parser.add_argument("--out", type=Path, required=True, help="folder for the .onnx files; with --lmdm the file")
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS), metavar="NET", help="default: all")
    parser.add_argument("--free_batch", action="store_true", help="warp_network and decoder take any number of frames")
    args = parser.parse(arguments)
    set_up_logging()
    return run_program(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
