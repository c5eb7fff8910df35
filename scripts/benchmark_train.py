"""Training throughput: ours against the plain loop, same data, sizes and batch. Run by `benchmark.py --what train`.

python scripts/benchmark_train.py --small --batch_size 100         # as the Quick Start on a CPU
python scripts/benchmark_train.py --batch_size 16                  # the published sizes
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from core.cli.extras import needs

needs("train", "torch")

import numpy as np
import torch
from torch.utils.data import DataLoader

from core.models.sampler import TRAIN_STEPS
from core.motion import MOTION_DIM
from core.packs.motion_config import GROUP_WIDTHS
from core.utils.audio_chunks import FEATURE_DIM
from MotionDiT.data import Data
from MotionDiT.diffusion import Diffusion
from MotionDiT.features import Clip
from MotionDiT.options import TrainOptions
from MotionDiT.runtime import make_runtime
from MotionDiT.trainer import Trainer
from MotionDiT.windows import Windows
from scripts.benchmarks.plain_train_loop import PlainAdan, PlainDataset, PlainNetwork, plain_losses

FRAMES = (178, 206, 125, 160, 120)  # of the example's clips, which are also used mirrored
WIDTHS = {"aud": FEATURE_DIM, **GROUP_WIDTHS}


def example_clips() -> list[Clip]:
    """Ten clips of the Quick Start's lengths and widths, filled with noise."""
    rng = np.random.default_rng(0)
    widths = {"mtn": MOTION_DIM, **WIDTHS}
    clips = []
    for n in FRAMES * 2:
        clips.append(Clip("", n, {k: rng.standard_normal((n, w), np.float32) for k, w in widths.items()}))
    return clips


class PlainRun:
    """The plain loop, an epoch at a time."""

    def __init__(self, clips: list[Clip], trainer: Trainer):
        options, self.device = trainer.options, trainer.runtime.device
        self.network = PlainNetwork(trainer.sizes, options.dropout).to(self.device)
        self.network.load_state_dict(trainer.network.state_dict(), strict=False)
        self.optimizer = PlainAdan(self.network.parameters(), options.lr)
        data = PlainDataset(clips, options.seq_frames)
        self.loader = DataLoader(data, options.batch_size, shuffle=True, drop_last=True)
        self.diffusion, self.sums = Diffusion().to(self.device), {}

    def epoch(self, steps: int) -> int:
        """At most `steps` steps; returns the number of samples."""
        self.network.train()
        count = 0
        for number, batch in enumerate(self.loader):
            if number == steps:
                break
            seq, frame, cond = (batch[name].to(self.device) for name in ("seq", "frame", "cond"))
            times = torch.randint(TRAIN_STEPS, (len(seq),), device=self.device)
            keep = torch.rand(len(seq), device=self.device) >= 0.2
            noisy = self.diffusion(seq, torch.randn_like(seq), times)
            terms = plain_losses(self.network(noisy, frame, cond, times, keep), seq, frame)
            total = sum(terms.values())
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step()
            for name, value in {**terms, "total_loss": total}.items():
                self.sums[name] = self.sums.get(name, 0.0) + value.item()
            count += len(seq)
        return count


def our_epoch(trainer: Trainer, steps: int) -> int:
    """At most `steps` steps of ours, with all that belongs to them; returns the number of samples."""
    trainer.model.train()
    count = 0
    batches = trainer.loader.epoch(trainer.progress.epoch)
    for number, share, batch in batches:
        trainer.step(share, trainer.runtime.move(batch))
        trainer.progress.step += 1
        count += share.count
        if number + 1 == steps:
            break
    batches.close()
    trainer.read_losses()
    trainer.progress.epoch += 1
    return count


def require_equal(trainer: Trainer, plain: PlainRun) -> None:
    """Stop when the two networks do not compute the same."""
    batch = trainer.loader.batch(1, 0)
    inputs = [torch.from_numpy(a[:4]).to(plain.device) for a in (batch.kp_seq, batch.kp_cond, batch.aud_cond)]
    more = torch.tensor([5, 300, 700, 999], device=plain.device), torch.tensor([True, False] * 2, device=plain.device)
    plain.network.eval(), trainer.network.eval()
    with torch.no_grad():
        expected, found = plain.network(*inputs, *more), trainer.network.predict(*inputs, *more)
    if not (found - expected).abs().max() < 1e-3 * expected.std():
        raise SystemExit("the two networks disagree")


def train(runs: int = 3, steps: int = 7, **settings) -> dict[str, float]:
    """Rows of the table: medians of `runs` alternating epochs of at most `steps` steps. `settings`: TrainOptions."""
    logging.getLogger("MotionDiT").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        options = replace(
            TrainOptions(experiment_dir=folder, experiment_name="run", use_last_frame=True, use_last_frame_loss=True),
            **{"use_accelerate": False, **settings},
        )
        clips = example_clips()
        windows = Windows(clips, options.seq_frames, tuple(GROUP_WIDTHS), last_frame=True)
        trainer = Trainer(options, Data(windows, None, WIDTHS, None, ""), make_runtime(options), print)
        trainer.losses_every = options.log_every
        plain = PlainRun(clips, trainer)
        require_equal(trainer, plain)
        threads = torch.get_num_threads()
        work = {
            "ours": (threads, lambda: our_epoch(trainer, steps)),
            "plain": (threads, lambda: plain.epoch(steps)),
            "plain, one thread": (1, lambda: plain.epoch(steps)),
        }
        times: dict[str, list[float]] = {name: [] for name in work}
        for run in range(runs + 1):  # the first one warms up
            for name, (count, epoch) in work.items():
                torch.set_num_threads(count)
                start = time.perf_counter()
                samples = epoch()
                if run:
                    times[name].append((time.perf_counter() - start) / samples)
        torch.set_num_threads(threads)
    title = f"training, width {trainer.sizes.width}, batch {options.batch_size}, {trainer.runtime.device}"
    found = {f"{title}, {name}, samples/s": 1 / sorted(seconds)[runs // 2] for name, seconds in times.items()}
    for name, note in (("plain", ""), ("plain, one thread", ", which accelerate launch gives it on a CPU")):
        ratios = sorted(b / a for a, b in zip(times["ours"], times[name]))
        found[f"times faster than {name}{note}"] = ratios[runs // 2]
    return found


def rows(args: argparse.Namespace) -> dict[str, float]:
    """Rows for `benchmark.py --what train`: the small network with the batch of the Quick Start."""
    chosen = {"device": args.device or "auto", "compile": args.compile}
    return train(args.runs, small=True, batch_size=100, **chosen)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="sizes of --small")
    parser.add_argument("--batch_size", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=7, help="most steps of a run")
    parser.add_argument("--compile", action="store_true", help="ours with --compile")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--mixed_precision", default="", help="of ours")
    for name, value in train(**vars(parser.parse_args())).items():
        print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main()
