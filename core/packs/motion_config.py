"""What a motion checkpoint says about itself: sizes, condition, scaling. In .pt, .safetensors and .onnx files alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import PackError
from core.motion import KP_DIM

KEY = "ditto_motion"  # of the text in the metadata of .safetensors and .onnx files, of the dictionary in .pt files
FORMAT = 1
# column groups of the condition behind the audio, in their order -> columns
GROUP_WIDTHS = {"emo": 8, "eye_open": 2, "eye_ball": 6, "sc": KP_DIM}
_LENGTH_BYTES = 8  # a safetensors file begins with its header's length, little endian


@dataclass(frozen=True)
class MotionConfig:
    """Description of a trained motion network.

    Attributes:
        sizes: fields of LmdmSizes. condition: column group -> width, in the order of the columns, `aud` first.
        motion_start: first motion column. relative: (start, end) of columns relative to the condition frame, or ().
        mean, variance: (M,) of the motion it was trained on, or None where it was not normalised.
        training: seed, epoch and the like, for people.
    """

    sizes: Mapping[str, Any]
    condition: Mapping[str, int]
    motion_start: int = 0
    relative: tuple[int, ...] = ()
    mean: list[float] | None = None
    variance: list[float] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Nothing but dictionaries, lists, numbers and strings."""
        return {"format": FORMAT, **asdict(self), "relative": list(self.relative)}

    def text(self) -> str:
        """The same as JSON."""
        return json.dumps(self.plain())

    @property
    def scaling(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and deviation (M,) float32 of the training motion, if it was normalised."""
        if self.mean is None or self.variance is None:
            return None
        variance = np.asarray(self.variance, np.float32)
        return np.asarray(self.mean, np.float32), np.sqrt(np.where(variance == 0, np.float32(1e-8), variance))


def parse(path: str | Path, content: Any) -> MotionConfig:
    """A description from plain values. Raises PackError with the file's name."""
    try:
        values = dict(json.loads(content) if isinstance(content, str) else content)
        if values.pop("format") != FORMAT:
            raise PackError(f"{path}: was made by another version of the trainer")
        config = MotionConfig(**{**values, "relative": tuple(values.get("relative", ()))})
        total, wanted = sum(config.condition.values()), int(config.sizes["cond"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise PackError(f"{path}: its description of the motion network is damaged ({error})") from None
    if total != wanted:
        raise PackError(f"{path}: describes {total} condition columns for a network of {wanted}")
    return config


def read_config(path: str | Path) -> MotionConfig | None:
    """The description in a .pt, .pth, .safetensors or .onnx file; None when it has none (a reference checkpoint).

    Raises PackError when the file cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise PackError(f"{path}: there is no such checkpoint")
    if suffix == ".onnx":
        from core.backends.onnx import load_session

        content = load_session(path).metadata.get(KEY)
    elif suffix == ".safetensors":
        content = _safetensors_metadata(path).get(KEY)
    else:
        from core.backends.checkpoint import read_content

        content = read_content(path).get(KEY)
    return None if content is None else parse(path, content)


def _safetensors_metadata(path: Path) -> Mapping[str, Any]:
    """`__metadata__` of the file."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if length > path.stat().st_size:
                raise ValueError("truncated in its header")
            return json.loads(file.read(length)).get("__metadata__") or {}
    except (OSError, ValueError, AttributeError) as error:
        raise PackError(f"{path}: is not a safetensors file ({error})") from None
