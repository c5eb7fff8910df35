"""Time one sampling step against diffusers' own U-Net of the same size, and the first stage; random weights.

    python DiffTalk/benchmark.py                                      # the published size
    python DiffTalk/benchmark.py --device cuda --precision fp16 --batch 20

Times are medians of alternating runs. On a CPU they are processor seconds, which a busy machine hardly changes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a checkout, without installing the project

from core.errors import InputError
from DiffTalk.cli import Parser, run
from DiffTalk.config import Config, ModelConfig, check_config


def median_times(jobs: dict[str, Callable[[], Any]], repeat: int, synchronise: Callable[[], None] | None) -> dict:
    """Seconds of each job, the median of `repeat` rounds after one to warm up."""
    clock = time.process_time if synchronise is None else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for _round in range(repeat + 1):
        for name, job in jobs.items():
            before = clock()
            job()
            if synchronise is not None:
                synchronise()
            taken[name].append(clock() - before)
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def measure(sizes: ModelConfig, batch: int, device: str, precision: str, repeat: int) -> dict[str, float]:
    """Seconds per batch, by name, of a sampling step, of diffusers' U-Net alone, and of the first stage both ways."""
    import torch
    from diffusers import UNet2DConditionModel

    from DiffTalk.model import DiffTalkModel
    from DiffTalk.networks import decode, denoise, encode
    from DiffTalk.pipeline import half_or_single, torch_device
    from DiffTalk.sampler import sample, seeded_noise

    place = torch_device(device)
    dtype = half_or_single(precision, place)
    model = DiffTalkModel(sizes).to(place).eval()
    plain = UNet2DConditionModel.from_config(model.unet.config).eval()
    for network in (plain, model.unet):
        torch.nn.Module.to(network, place, dtype)  # not diffusers' own method, which warns of nothing
    side, size = sizes.latent_size, sizes.image_size
    latent = torch.randn(batch, 3, side, side, device=place)
    context = torch.randn(batch, 1, 128, device=place, dtype=dtype)
    nine = torch.cat([latent] * 3, dim=1).to(dtype)
    half, keep = latent.to(dtype), torch.ones_like(latent[:, :1])
    noise = seeded_noise(tuple(latent.shape), 0, place)
    picture = torch.randn(batch, 3, size, size, device=place)

    def denoiser(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return denoise(model.unet, x.to(dtype), half, half, t, context)

    jobs = {
        "sampling step": lambda: sample(denoiser, noise, 1, keep=keep, latent=latent),
        "diffusers U-Net": lambda: plain(nine, 500, context).sample,
        "encode": lambda: encode(model.first_stage, picture),
        "decode": lambda: decode(model.first_stage, latent),
    }
    synchronise = torch.cuda.synchronize if place.type == "cuda" else None
    with torch.no_grad():
        return median_times(jobs, repeat, synchronise)


def build_parser() -> Parser:
    """All flags."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--width", type=int, default=256, help="channels of the U-Net's first level [256]")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures [256]")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32")
    return parser


def program(args: argparse.Namespace) -> None:
    """Measure and print seconds per frame. Raises DittoError for sizes and devices that cannot be."""
    from DiffTalk.extras import LIBRARIES, require

    if min(args.batch, args.repeat) < 1:
        raise InputError("--batch and --repeat start at 1")
    sizes = check_config(Config(model=ModelConfig(image_size=args.size, unet_width=args.width))).model
    require(*LIBRARIES)
    times = measure(sizes, args.batch, args.device, args.precision, args.repeat)
    for name, seconds in times.items():
        print(f"{name:<16} {seconds / args.batch:9.4f} s per frame")
    print(f"speed of a step over diffusers' U-Net: {times['diffusers U-Net'] / times['sampling step']:.2f}")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = build_parser().parse(argv)
    return run(lambda: program(args))


if __name__ == "__main__":
    sys.exit(main())
