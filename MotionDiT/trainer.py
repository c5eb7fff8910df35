"""The training loop (spec training.md 9.2, 10.2): set up, steps, end of an epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import InputError
from core.packs.motion_config import MotionConfig
from MotionDiT.adan import Adan
from MotionDiT.checkpoints import RunFolder, load_state, save_state
from MotionDiT.data import Data, load_data
from MotionDiT.diffusion import NETWORK, Diffusion, draw, mix, shown
from MotionDiT.loader import Loader, Share
from MotionDiT.losses import AdaptiveWeights, MotionLoss, default_parts, read_parts
from MotionDiT.network import Average, Denoiser, build, describe
from MotionDiT.options import TrainOptions
from MotionDiT.reporting import Meter, cut_log, draw_losses, loss_line
from MotionDiT.resuming import Progress, restore, state_of
from MotionDiT.runtime import Runtime
from MotionDiT.validation import Validation

LOG = logging.getLogger(__name__)
PICTURE_SECONDS = 30.0  # least time between two drawings of loss.png


class Interrupted(Exception):
    """The run was asked to stop and has saved its state."""


class Trainer:
    """One run. `stop` may be set at any time, e.g. by a signal: the run saves its state and raises Interrupted.

    Args:
        say: gets one line per epoch, in the main process.

    Attributes:
        losses_every: steps between two readings of the losses.
    """

    def __init__(self, options: TrainOptions, data: Data, runtime: Runtime, say: Callable[[str], None]):
        self.options, self.data, self.runtime, self.say = options, data, runtime, say
        self.stop = False
        self.sizes = _sized(options, data)
        self.folder = RunFolder(options.run_folder, options.save_ckpt_freq, options.max_ckpts, options.ckpt_format)
        self.loader = Loader(
            data.train,
            options.batch_size,
            options.seed,
            runtime.world,
            runtime.rank,
            options.drop_last,
            max(1, options.num_workers),
            runtime.ready,
        )
        denoiser = Denoiser(build(self.sizes, options.dropout, options.seed, options.checkpoint)).to(runtime.device)
        self.network = denoiser.network
        self.average = Average(self.network, options.ema_decay) if options.ema_decay else None
        self.optimizer = Adan(denoiser.parameters(), options.lr, weight_decay=options.weight_decay)
        if options.compile:
            denoiser.compile()
        self.model, self._stepper = runtime.prepare(denoiser, self.optimizer)
        self.diffusion = Diffusion().to(runtime.device)
        self.loss = make_loss(options).to(runtime.device)
        self.adaptive = AdaptiveWeights(len(self.loss.parts), runtime.device) if options.adaptive_loss else None
        self.progress = Progress()
        weights = [f"weight_{part.name}" for part in self.loss.parts] if self.adaptive else []
        self.meter = Meter((*self.loss.names, "total_loss", *weights))
        self.validation = None if data.validation is None else Validation(data.validation, options, runtime)
        self._rows: list[Tensor] = []
        self.losses_every = 1 if runtime.device.type == "cpu" and runtime.world == 1 else options.log_every
        self._saved = self._drawn = time.monotonic()

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.options.epochs * self.loader.steps

    def run(self) -> None:
        """Train to the last epoch. Raises DittoError, or Interrupted."""
        progress, runtime = self.progress, self.runtime
        while progress.epoch <= self.options.epochs:
            first, start = progress.number, time.perf_counter()
            count = self._epoch()
            seconds = time.perf_counter() - start
            if progress.number < self.loader.steps:
                if runtime.main:
                    self.save_state()
                raise Interrupted
            averages, done = self.meter.averages(), progress.epoch
            self.meter.reset()
            progress.epoch, progress.number = done + 1, 0
            if first:
                LOG.info("epoch %d was resumed at batch %d", done, first)
            self._finish_epoch(done, averages, count / seconds)
            if self.stop and done < self.options.epochs and runtime.world == 1:
                self.save_state()
                raise Interrupted

    def _epoch(self) -> int:
        """The rest of an epoch, until it ends or the run shall stop; returns the samples of all processes."""
        self.model.train()
        count, stopped = 0, False
        batches = self.loader.epoch(self.progress.epoch, self.progress.number)
        for number, share, batch in batches:
            self.step(share, self.runtime.move(batch))
            self.progress.number, self.progress.step = number + 1, self.progress.step + 1
            count += share.count
            if len(self._rows) >= self.losses_every or number + 1 == self.loader.steps:
                stopped = self.read_losses()
            if stopped:
                batches.close()
                break
        return count

    def step(self, share: Share, batch: tuple[Tensor, ...]) -> None:
        """One update. Nothing in here waits for the device."""
        options, step = self.options, self.progress.step
        motion, frame, cond = batch
        device, runtime = motion.device, self.runtime
        clip = (motion.shape[1], motion.shape[2])
        draws = draw(options.seed, step, share.count, share.mine, clip, options.cond_drop_prob, device)
        frame = frame * shown(options.seed, step, share.count, options.frame_drop_prob, device)[share.mine]
        torch.manual_seed(mix(options.seed, step, NETWORK, runtime.rank))  # of dropout
        with runtime.precision():
            found = self.model(self.diffusion(motion, draws.noise, draws.times), frame, cond, draws.times, draws.keep)
        terms = self.loss(found, motion, frame)
        row = [terms.detach().flatten(), terms.detach().sum()[None]]
        total = terms.sum()
        if self.adaptive:
            weights = self.adaptive.weights()
            total = (terms.sum(dim=1) * weights).sum()
            self.adaptive.update(runtime.mean(terms.detach()[:, 0]))
            row.append(weights)
        self.optimizer.zero_grad(set_to_none=True)
        runtime.backward(total)
        if options.clip_grad_norm:
            runtime.clip(self.model, options.clip_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = options.learning_rate(step, self.total_steps)
        self._stepper.step()
        if self.average:
            self.average.update(self.network.parameters())
        self._rows.append(torch.cat(row))

    def read_losses(self) -> bool:
        """Read the losses of the steps since the last time, the one wait for the device; True when all shall stop.

        Raises InputError when one of them is not finite, with the batch saved.
        """
        progress = self.progress
        rows = self.runtime.mean(torch.stack(self._rows)).double().cpu().numpy()
        self._rows.clear()
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            back = len(rows) - int(np.argmin(finite))
            self._refuse(progress.number - back, progress.step - back)
        self.meter.add(rows)
        if self.runtime.main:
            values = dict(zip(self.meter.names, rows[-1].tolist()))
            lr = self.optimizer.param_groups[0]["lr"]
            self.runtime.log({**{f"train/{k}": v for k, v in values.items()}, "train/lr": lr}, progress.step)
        stop = torch.tensor([float(self.stop)], device=self.runtime.device)
        return bool(self.runtime.mean(stop).item() > 0) and progress.number < self.loader.steps

    def _refuse(self, number: int, step: int) -> None:
        """Save the batch of a step again, which is possible since it is a function of the seed, and raise."""
        epoch, runtime, options = self.progress.epoch, self.runtime, self.options
        windows, share = self.loader.chosen(epoch, number)
        batch = self.loader.batch(epoch, number)
        clip = batch.kp_seq.shape[1:]
        draws = draw(options.seed, step, share.count, share.mine, clip, options.cond_drop_prob, runtime.device)
        path = self.folder.root / "error" / f"nan_step{step}_rank{runtime.rank}.npz"
        path.parent.mkdir(exist_ok=True)
        numbers = {name: value.cpu().numpy() for name, value in vars(draws).items()}
        np.savez(path, **vars(batch), **numbers, windows=np.array(self.data.train.names(windows[share.mine])))
        raise InputError(
            f"the loss is not finite in step {step} (batch {number} of epoch {epoch}); the batch is in {path}. The "
            "files in ckpts are of earlier steps: begin with one (--checkpoint) and a lower --lr or --clip_grad_norm 1"
        )

    def _finish_epoch(self, epoch: int, averages: dict[str, float], speed: float) -> None:
        """Validation, files and the line of an epoch."""
        options, progress, folder = self.options, self.progress, self.folder
        judged = None
        if self.validation and (epoch % options.val_freq == 0 or epoch == options.epochs):
            found = self.validation(self.inference_network, self.diffusion, self.loss)
            averages = {**averages, **{f"val_{name}": value for name, value in found.items()}}
            judged = found["total_loss"]
        self.network.train()
        if not self.runtime.main:
            return
        best = judged is not None and judged < progress.best
        progress.best = judged if best else progress.best
        folder.save_epoch(epoch, self.inference_network, self.config(epoch), best)
        with open(folder.log, "a", encoding="utf-8") as file:
            file.write(loss_line(epoch, progress.step, averages) + "\n")
        values = {f"epoch/{name}": value for name, value in averages.items()}
        self.runtime.log({**values, "epoch/samples_per_second": speed}, progress.step)
        last, now = epoch == options.epochs, time.monotonic()
        if last or now - self._saved >= 60 * options.state_minutes:
            self.save_state()
        if last or now - self._drawn >= PICTURE_SECONDS:
            draw_losses(folder.log, folder.picture)
            self._drawn = now
        validated = "" if judged is None else f", validation {judged:.4f}{' (best)' if best else ''}"
        self.say(
            f"epoch {epoch}/{options.epochs}, step {progress.step}: loss {averages['total_loss']:.4f}{validated}, "
            f"{speed:.1f} samples/s"
        )

    @property
    def inference_network(self) -> torch.nn.Module:
        """The weights that are validated and saved: the average if there is one."""
        return self.average.network if self.average else self.network

    def config(self, epoch: int) -> MotionConfig:
        """What a checkpoint says about itself."""
        scaling, options = self.data.scaling, self.options
        return MotionConfig(
            sizes=describe(self.sizes),
            condition=self.data.condition,
            motion_start=options.motion_feat_start,
            relative=options.motion_feat_offset_dim_se,
            mean=None if scaling is None else scaling.mean.tolist(),
            variance=None if scaling is None else scaling.variance.tolist(),
            training={"epoch": epoch, "step": self.progress.step, "seed": options.seed, "ema": options.ema_decay},
        )

    def save_state(self) -> None:
        """Write everything that --resume needs. Raises OutputError."""
        save_state(self.folder.state, state_of(self))
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Go on from the saved state. Raises InputError when it is of a run with other settings."""
        restore(self, load_state(self.folder.state))
        if self.runtime.main:
            cut_log(self.folder.log, self.progress.epoch - 1)
        LOG.info("resumed at batch %d of epoch %d", self.progress.number, self.progress.epoch)


def make_loss(options: TrainOptions) -> MotionLoss:
    """The loss that the options ask for. Raises InputError."""
    dim = options.motion_feat_dim
    part_file = options.part_w_dict_json
    parts = read_parts(part_file, dim) if part_file else default_parts(dim, options.motion_feat_start)
    try:
        dim_ws = np.load(options.dim_ws_npy, allow_pickle=False) if options.dim_ws_npy else None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{options.dim_ws_npy}: cannot be read as an npy file ({error})") from None
    relative = options.motion_feat_offset_dim_se
    return MotionLoss(parts, dim, dim_ws, options.use_last_frame_loss, options.use_reg_loss, relative)


def open_data(options: TrainOptions, runtime: Runtime) -> Data:
    """The features in every process; the main one goes first and makes the preload pickle if it has to."""
    if runtime.main:
        data = load_data(options)
        runtime.barrier()
        return data
    runtime.barrier()
    return load_data(options, writes=False)


def _sized(options: TrainOptions, data: Data) -> Any:
    """Sizes of the network, with the condition width of the data."""
    return replace(options.sizes(), cond=sum(data.condition.values()))
