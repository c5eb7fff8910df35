"""Every setting of DiffTalk as typed options, read from YAML files with `key=value` words on top.

The values of the published model and training are the defaults (spec difftalk.md sections 2, 4, 5, 10).
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from core.errors import InputError

CONFIGS = Path(__file__).resolve().parent / "configs"
LATENT_CHANNELS = 3
LATENT_FACTOR = 4  # picture side over latent side: two halvings in the first stage
DIFFUSION_STEPS = 1000


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the networks."""

    image_size: int = 256  # side of the picture in pixels
    unet_width: int = 256  # channels of the first level; the others have 2, 3 and 4 times as many
    head_width: int = 32  # channels of an attention head
    first_stage_width: int = 128  # channels of the first level; the others have 2 and 4 times as many
    codes: int = 8192  # entries of the first stage's codebook
    norm_groups: int = 32  # groups of the normalisations; few channels need fewer groups

    @property
    def latent_size(self) -> int:
        """Side of the latent."""
        return self.image_size // LATENT_FACTOR


@dataclass(frozen=True)
class DataConfig:
    """Where the training data lies and how it is read. Layout: docs/difftalk.md."""

    root: str = "data"  # folder with data_train.txt, data_test.txt and HDTF/
    mask_point: int = 30  # landmark from whose row downwards the condition picture is black (30 nose tip, 33 its base)
    missing: str = "stop"  # what to do about stems without picture, landmarks or audio: stop or skip
    workers: int = 4  # processes that load items


@dataclass(frozen=True)
class TrainConfig:
    """The training program."""

    batch: int = 8  # items per process and step
    learning_rate: float = 1e-6  # base; multiplied by accumulation x processes x batch when scale_lr is on
    scale_lr: bool = True
    weight_decay: float = 0.01
    clip_norm: float = 0.1  # greatest total gradient norm
    accumulate: int = 1  # batches per optimiser step
    steps: int = 1_000_000  # optimiser steps
    mixed_precision: str = "no"  # no, fp16 or bf16
    gradient_checkpointing: bool = False  # less memory for a third more time
    ema_decay: float = 0.9999
    ema_encoders: bool = False  # average the condition encoders as well; the reference does not
    log_every: int = 50  # steps between lines of the log
    save_every: int = 5000  # steps between checkpoints
    keep_last: int = 3  # checkpoints kept beside the best one
    validate_every: int = 5000  # steps between validations
    validate_items: int = 256  # items of the fixed validation subset; 0: all
    sample_every: int = 5000  # steps between sample grids
    sample_items: int = 4
    sample_steps: int = 50  # sampling steps of the grids


@dataclass(frozen=True)
class FirstStageConfig:
    """The first stage's own training, for small configurations. Not part of the reference."""

    steps: int = 400
    batch: int = 8
    crop: int = 32  # side of the squares that are learnt from
    learning_rate: float = 2e-3


@dataclass(frozen=True)
class SampleConfig:
    """The sampler and what is done with its result."""

    steps: int = 200  # sampling steps
    eta: float = 0.0  # 0 deterministic ... 1 ancestral noise
    mask_point: int = 33  # as DataConfig.mask_point; the reference's two stages differ
    batch: int = 20  # frames sampled together
    seed: int = 23


@dataclass(frozen=True)
class Config:
    """All settings."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    first_stage: FirstStageConfig = field(default_factory=FirstStageConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)


CHOICES = {"missing": ("stop", "skip"), "mixed_precision": ("no", "fp16", "bf16")}
ZERO_ALLOWED = ("eta", "weight_decay", "workers", "validate_items", "sample_every", "validate_every", "seed")


def load_config(paths: Iterable[str | Path] = (), words: Iterable[str] = ()) -> Config:
    """YAML files merged from left to right, then words such as `train.batch=4`.

    Raises InputError naming the file or word for unreadable YAML, unknown keys and values of another type.
    """
    tree: dict[str, Any] = {}
    for path in paths:
        _merge(tree, _read_yaml(Path(path)))
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"'{word}': settings are given as key=value, for example train.batch=4")
        leaf = yaml.safe_load(text)
        for part in reversed(key.split(".")):
            leaf = {part: leaf}
        _merge(tree, leaf)
    return check_config(from_tree(tree))


def from_tree(tree: Mapping[str, Any]) -> Config:
    """The configuration that a nested dictionary describes; what is left out has its default. Raises InputError."""
    return _build(Config, tree, "")


def to_tree(config: Config) -> dict[str, Any]:
    """The inverse of `from_tree`."""
    return dataclasses.asdict(config)


def check_config(config: Config) -> Config:
    """The configuration itself, when its values fit together. Raises InputError."""
    for section in dataclasses.fields(config):
        for name, value in dataclasses.asdict(getattr(config, section.name)).items():
            _check_value(f"{section.name}.{name}", name, value)
    model = config.model
    if model.image_size % 32:
        raise InputError(f"model.image_size: {model.image_size} is not a multiple of 32 (first stage 4, U-Net 8)")
    if 32 % model.norm_groups:
        raise InputError(f"model.norm_groups: {model.norm_groups} does not divide 32")
    if not 16 <= config.first_stage.crop <= model.image_size or config.first_stage.crop % LATENT_FACTOR:
        raise InputError(f"first_stage.crop: {config.first_stage.crop} is no multiple of 4 between 16 and the picture")
    if any(width % 32 for width in (model.unet_width, model.first_stage_width)) or model.unet_width % model.head_width:
        raise InputError("model: widths must be multiples of 32 and of head_width")
    return config


def _check_value(where: str, name: str, value: Any) -> None:
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise InputError(f"{where}: '{value}' is not one of {', '.join(CHOICES[name])}")
    elif name == "mask_point":
        if not 0 <= value <= 67:
            raise InputError(f"{where}: {value} is not a landmark number (0 to 67)")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0 or (value == 0 and name not in ZERO_ALLOWED):
            raise InputError(f"{where}: {value} is too small")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no settings; expected sections such as 'model:' and 'train:'")
    return content


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _build(kind: type, tree: Any, where: str) -> Any:
    if not isinstance(tree, Mapping):
        raise InputError(f"{where or 'configuration'}: expected a section with settings, found '{tree}'")
    kinds = typing.get_type_hints(kind)
    values = {}
    for key, value in tree.items():
        name = f"{where}.{key}" if where else str(key)
        if key not in kinds:
            near = difflib.get_close_matches(str(key), kinds, n=1)
            raise InputError(f"unknown setting '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        nested = dataclasses.is_dataclass(kinds[key])
        values[key] = _build(kinds[key], value, name) if nested else _typed(kinds[key], value, name)
    return kind(**values)


def _typed(kind: type, value: Any, name: str) -> Any:
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML takes 1e-4, without a point, for text
        except ValueError:
            pass
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{name}: expected {kind.__name__}, found '{value}'")
    return value
