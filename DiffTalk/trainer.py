"""The training loop: five verbs (set up, train, validate, sample, save) on accelerate (spec difftalk.md section 10)."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from core.errors import InputError, PackError
from DiffTalk.checkpoint import (
    Checkpoint,
    load_ema,
    load_first_stage,
    load_model,
    open_checkpoint,
    original_state,
    save_checkpoint,
)
from DiffTalk.checkpoint_file import read_content
from DiffTalk.config import LATENT_CHANNELS, Config
from DiffTalk.ema import Ema
from DiffTalk.grids import sample_grid, save_png
from DiffTalk.model import DiffTalkModel
from DiffTalk.run_folder import RunFolder
from DiffTalk.training_data import Shuffled, TrainingData
from DiffTalk.training_step import draw, optimiser_step

INPUTS = ("image", "image_mask", "reference_img", "landmarks", "audio_smooth")


class Means:
    """Running mean of losses, kept on their device."""

    def __init__(self) -> None:
        self._total: Tensor | float = 0.0
        self._count = 0

    def add(self, value: Tensor) -> None:
        """One more value."""
        self._total = self._total + value.detach()
        self._count += 1

    @property
    def mean(self) -> Tensor:
        """Mean of what was added."""
        return torch.as_tensor(self._total) / max(self._count, 1)


def build_accelerator(config: Config, folder: RunFolder) -> Accelerator:
    """Devices, precision and TensorBoard."""
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # one-token attention leaves some without use
    accelerator = Accelerator(
        mixed_precision=config.train.mixed_precision,
        log_with="tensorboard",
        project_dir=str(folder.path),
        kwargs_handlers=[unused],
    )
    accelerator.init_trackers("tensorboard")
    return accelerator


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


class Trainer:
    """A training run. Resuming it gives the numbers of the unbroken run."""

    def __init__(self, config: Config, data: TrainingData, folder: RunFolder, accelerator: Accelerator, seed: int):
        """Build the networks; load weights with `start`, `start_from` or `resume` next."""
        self.config, self.folder, self.accelerator, self.seed = config, folder, accelerator, seed
        self.items, self.tests, self.shown = data.items, data.tests, data.shown
        torch.manual_seed(seed)
        self.model = DiffTalkModel(config.model)
        if config.train.gradient_checkpointing:
            self.model.unet.enable_gradient_checkpointing()
        self.step, self.best = 0, math.inf
        self._save_now = False

    def start(self, first_stage: Checkpoint) -> None:
        """Begin a fresh run with a trained first stage."""
        self.model.start_fresh()
        load_first_stage(first_stage, self.model)
        self._prepare()

    def start_from(self, checkpoint: Checkpoint) -> None:
        """Begin a run with the weights of another one, but new averages, optimiser and step count."""
        load_model(checkpoint, self.model)
        self._check_extractor(checkpoint)
        self._prepare()

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint of this program was written. Raises PackError."""
        checkpoint = open_checkpoint(path)
        load_model(checkpoint, self.model)
        self._check_extractor(checkpoint)
        self._prepare()
        content = read_content(path)
        try:
            state = content["optimizer_states"][0]
            self.optimiser.load_state_dict(state)
            self.best = float(content.get("best", math.inf))
            if self.accelerator.scaler is not None and content.get("scaler"):
                self.accelerator.scaler.load_state_dict(content["scaler"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PackError(f"{path}: cannot be resumed, its optimiser state does not fit ({error})") from None
        load_ema(checkpoint, self.model, self.ema)
        if self.encoder_ema is not None and isinstance(content.get("encoder_ema"), dict):
            self.encoder_ema.load(content["encoder_ema"], self.ema.updates)
        self.step = checkpoint.step

    def train(self, report: Callable[[str], None]) -> float:
        """Train until `config.train.steps`; returns the mean loss of the last `log_every` steps."""
        with self._signals():
            return self._train(report)

    def _train(self, report: Callable[[str], None]) -> float:
        settings, losses, mean = self.config.train, Means(), math.nan
        for batch in self._batches():
            losses.add(self._optimise(batch))
            if self.step % settings.log_every == 0 or self.step == settings.steps:
                mean = self._log(losses, report)
                losses = Means()
            last = self.step == settings.steps
            score = math.inf
            if last or _due(self.step, settings.validate_every):
                score = self.validate(report)
            if last or _due(self.step, settings.sample_every):
                self.sample()
            if last or self._save_now or _due(self.step, settings.save_every):
                self.save(score)
            if last:
                break
        return mean

    def validate(self, report: Callable[[str], None]) -> float:
        """Mean loss over a fixed part of the test list with fixed noise, live and averaged; returns the latter."""
        if not self.accelerator.is_main_process:
            self.accelerator.wait_for_everyone()
            return math.inf
        count = len(self.tests)
        items = min(self.config.train.validate_items or count, count)
        chosen = [k * count // items for k in range(items)]
        live = self._test_loss(chosen)
        with self._averaged():
            averaged = self._test_loss(chosen)
        self.accelerator.log({"val/loss_simple": live, "val/loss_simple_ema": averaged}, step=self.step)
        report(f"step {self.step}: validation loss {live:.4f}, with averaged weights {averaged:.4f}")
        self.accelerator.wait_for_everyone()
        return averaged

    def sample(self) -> None:
        """Write a grid of samples of the averaged weights as PNG and to TensorBoard."""
        if self.accelerator.is_main_process and self.config.train.sample_every:
            settings = self.config.train
            count = len(self.shown)
            number = min(settings.sample_items, count)
            batch = self._to_device(default_collate([self.shown[k * count // number] for k in range(number)]))
            self.model.eval()
            with self._averaged():
                grid = sample_grid(self.model, batch, settings.sample_steps, self.seed)
            self.model.train()
            save_png(grid, self.folder.images / f"step={self.step:08d}.png")
            for tracker in self.accelerator.trackers:
                tracker.writer.add_image("samples", grid, self.step, dataformats="HWC")
        self.accelerator.wait_for_everyone()

    def save(self, score: float = math.inf) -> Path:
        """Write a checkpoint in the original layout, with what resuming needs; `score` is its validation loss."""
        path = self.folder.checkpoints / f"step={self.step:08d}.ckpt"
        better = score < self.best
        self.best = min(self.best, score)
        if self.accelerator.is_main_process:
            more: dict[str, Any] = {"optimizer_states": [self.optimiser.state_dict()], "best": self.best}
            if self.accelerator.scaler is not None:
                more["scaler"] = self.accelerator.scaler.state_dict()
            if self.encoder_ema is not None:
                more["encoder_ema"] = self.encoder_ema.shadow
            tensors = original_state(self.model, self.ema)
            name = self.items.layout.extractor()
            save_checkpoint(path, tensors, self.config.model, self.step, name, more)
            self.folder.keep(path, self.config.train.keep_last, better)
        self.accelerator.wait_for_everyone()
        self._save_now = False
        return path

    def _prepare(self) -> None:
        settings = self.config.train
        scale = settings.accumulate * self.accelerator.num_processes * settings.batch if settings.scale_lr else 1
        self.parameters = [parameter for _name, parameter in self.model.trained()]
        rate = settings.learning_rate * scale
        optimiser = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=settings.weight_decay)
        self.order = Shuffled(len(self.items), self.seed)
        workers = self.config.data.workers
        loader = DataLoader(self.items, settings.batch, sampler=self.order, drop_last=True, num_workers=workers)
        self.prepared, self.optimiser, self.loader = self.accelerator.prepare(self.model, optimiser, loader)
        self.prepared.train()
        self.ema = Ema(self.model.unet, settings.ema_decay)
        self.encoder_ema = Ema(self.model.encoders, settings.ema_decay) if settings.ema_encoders else None

    def _batches(self) -> Iterator[list[Mapping[str, Tensor]]]:
        """The batches of each optimiser step that is left, in the order of an unbroken run."""
        number = self.config.train.accumulate
        per_epoch = len(self.loader) // number
        while self.step < self.config.train.steps:
            epoch, done = divmod(self.step, per_epoch)
            self.order.epoch = self.items.epoch = epoch
            rest = iter(self.accelerator.skip_first_batches(self.loader, done * number) if done else self.loader)
            for _ in range(per_epoch - done):
                yield [next(rest) for _ in range(number)]

    def _optimise(self, batches: list[Mapping[str, Tensor]]) -> Tensor:
        """One optimiser step over the batches that it accumulates; returns their mean loss."""
        total = torch.zeros((), device=self.accelerator.device)
        for place, batch in enumerate(batches):
            side = self.config.model.latent_size
            seed = (self.seed, self.step, place, self.accelerator.process_index)
            t, noise = draw((len(batch["image"]), LATENT_CHANNELS, side, side), seed)
            last = place == len(batches) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.prepared):
                inputs = {name: batch[name] for name in INPUTS}
                losses = self.prepared(inputs, t.to(total.device), noise.to(total.device))
                self.accelerator.backward(losses.mean() / len(batches))
            total += losses.detach().mean() / len(batches)
        if not torch.isfinite(total):
            raise InputError(f"the loss is not finite at step {self.step}; lower train.learning_rate")
        optimiser_step(self.optimiser, self.parameters, self.config.train.clip_norm, self.accelerator.clip_grad_norm_)
        self.ema.update()
        if self.encoder_ema is not None:
            self.encoder_ema.update()
        self.step += 1
        return total

    def _log(self, losses: Means, report: Callable[[str], None]) -> float:
        mean = float(self.accelerator.reduce(losses.mean, "mean"))
        self.accelerator.log({"train/loss_simple": mean, "global_step": self.step}, step=self.step)
        report(f"step {self.step}: loss {mean:.4f}")
        return mean

    @torch.no_grad()
    def _test_loss(self, chosen: list[int]) -> float:
        self.model.eval()
        losses, size = Means(), self.config.train.batch
        side = self.config.model.latent_size
        for first in range(0, len(chosen), size):
            part = chosen[first : first + size]
            batch = self._to_device(default_collate([self.tests[index] for index in part]))
            drawn = [draw((1, LATENT_CHANNELS, side, side), (self.seed, index)) for index in part]
            t, noise = (torch.cat(parts).to(self.accelerator.device) for parts in zip(*drawn))
            with self.accelerator.autocast():
                for loss in self.model(batch, t, noise):
                    losses.add(loss)
        self.model.train()
        return float(losses.mean)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The denoiser works with its averages, and so do the encoders where they have any."""
        with self.ema.applied(), nullcontext() if self.encoder_ema is None else self.encoder_ema.applied():
            yield

    def _to_device(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        return {key: value.to(self.accelerator.device) for key, value in batch.items() if isinstance(value, Tensor)}

    def _check_extractor(self, checkpoint: Checkpoint) -> None:
        ours = self.items.layout.extractor()
        if checkpoint.audio_features and ours and checkpoint.audio_features != ours:
            raise InputError(
                f"{checkpoint.path}: trained with speech features '{checkpoint.audio_features}', "
                f"but {self.items.layout.base} has '{ours}'; prepare the data again"
            )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGUSR1 asks for a checkpoint after the step, on systems that have that signal."""
        if not hasattr(signal, "SIGUSR1"):
            yield
            return
        previous = signal.signal(signal.SIGUSR1, self._save_soon)
        try:
            yield
        finally:
            signal.signal(signal.SIGUSR1, previous)

    def _save_soon(self, *ignored: Any) -> None:
        self._save_now = True
