"""Train the embedded pack's audio-to-motion model and write audio2motion.onnx (spec lite.md sections 5 and 9).

    python scripts/ditto_lite/make_phone_speech.py PHONES
    PYTHONPATH=. python scripts/ditto_lite/train_motion.py --clips DIR ... --phones PHONES --cache CACHE [--held_out ID]

1. Ridge regression from the speech encoder's output to the lip keypoints of tracked clips.
2. A small convolutional network that hears closures, lip to teeth, rounding and speech, on synthetic speech with known
   phone times.

With --held_out both are first fitted without those people and one voice and scored on them. The file written is fitted
on everything.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from motion_export import export
from phones import CLOSED, LIP_TEETH, ROUNDED, SPEECH, Utterance, load_utterances, probabilities, train_events
from ridge import COMPONENTS, Projection, fit_projection, fit_ridge, with_context
from tracks import Talk, load_tracks, to_talk

from core.lite.motion_space import LIP_SLOTS, LOWER_LIP, UPPER_LIP, FaceSpace
from core.lite.speech_encoder import SpeechEncoder

PACK = Path(__file__).resolve().parents[2] / "checkpoints" / "ditto_lite"
HELD_OUT_VOICE = "rms"
EXPRESSIONS = 10  # principal components of the lip keypoints
EVENT_COMPONENTS = 96
FOLDS = 5
ENOUGH_R = 0.3  # a component predicted worse than this is damped
MAX_GAIN = 1.6  # a component that is hardly predictable must not become noise
LIP = list(LIP_SLOTS)
log = logging.getLogger("train_motion")


@dataclass
class LipModel:
    """exp[lip] = ((context(projection(features)) @ weights + offset) * gain) @ basis + mean."""

    projection: Projection
    weights: np.ndarray
    offset: np.ndarray
    gain: np.ndarray
    centre: np.ndarray
    basis: np.ndarray
    mean: np.ndarray

    def coefficients(self, features: np.ndarray) -> np.ndarray:
        """(n, 385) -> (n, 10) expression components of full amplitude."""
        raw = with_context(self.projection(features)) @ self.weights + self.offset
        return (raw - self.centre) * self.gain + self.centre

    def exp(self, features: np.ndarray) -> np.ndarray:
        """(n, 385) -> (n, 21, 3) absolute canonical expression."""
        out = np.zeros((len(features), 21, 3), np.float32)
        out[:, LIP] = (self.coefficients(features) @ self.basis + self.mean).reshape(-1, len(LIP), 3)
        return out


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="folders with 25 fps talking clips")
    parser.add_argument("--phones", type=Path, required=True, help="folder written by make_phone_speech.py")
    parser.add_argument("--cache", type=Path, required=True, help="folder for tracks, reused when it exists")
    parser.add_argument("--held_out", nargs="*", default=[], help="person ids to score on: clip names without number")
    parser.add_argument("--pack", type=Path, default=PACK)
    parser.add_argument("--report", type=Path, help="JSON file for the held-out figures")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    space = FaceSpace.load(args.pack / "motion_space.npz")
    tracks = load_tracks(args.clips, args.pack, args.cache)
    talks = [talk for talk in (to_talk(track, space) for track in tracks) if talk is not None]
    spoken = load_utterances(args.phones, SpeechEncoder(args.pack / "speech_encoder.onnx"), args.seed)
    if args.held_out:
        report = json.dumps(evaluate(talks, spoken, space.modes[0], args.held_out, args.seed), indent=1)
        log.info("%s", report)
        if args.report:
            args.report.write_text(report)
    lips, (projection, events) = fit_lips(talks, space.modes[0]), fit_events(talks, spoken, args.seed)
    export(args.pack / "audio2motion.onnx", lips, projection, events)


def fit_lips(talks: list[Talk], mode: np.ndarray) -> LipModel:
    """Ridge on all talks; the gain of each component restores its spread, measured on people left out in turn."""
    talks = habits_removed(talks, mode)
    y_all = np.concatenate([talk.exp[talk.speaking][:, LIP].reshape(-1, 3 * len(LIP)) for talk in talks])
    mean = y_all.mean(axis=0)
    basis = np.linalg.svd(y_all - mean, full_matrices=False)[2][:EXPRESSIONS]
    projection = fit_projection(np.concatenate([talk.features[talk.speaking] for talk in talks]), COMPONENTS)
    pairs = [_pair(talk, projection, basis, mean) for talk in talks]
    weights, offset = fit_ridge(pairs)
    people = sorted({talk.person for talk in talks})
    predicted, real = [], []
    for fold in range(FOLDS):
        left_out = set(people[fold::FOLDS])
        w, b = fit_ridge([pair for talk, pair in zip(talks, pairs) if talk.person not in left_out])
        for talk, (x, y) in zip(talks, pairs):
            if talk.person in left_out:
                predicted.append(x @ w + b)
                real.append(y)
    predicted, real = np.concatenate(predicted), np.concatenate(real)
    r = _correlations(predicted, real)
    gain = np.minimum(real.std(axis=0) / predicted.std(axis=0), MAX_GAIN) * np.clip(r / ENOUGH_R, 0, 1)
    log.info("component r %s, gain %s", r.round(2), gain.round(2))
    return LipModel(projection, weights, offset, gain, predicted.mean(axis=0), basis, mean)


def habits_removed(talks: list[Talk], mode: np.ndarray) -> list[Talk]:
    """Each person's lasting smile or pout replaced by the mean one; the opening stays absolute."""
    mode = mode / (mode[LOWER_LIP, 1] - mode[UPPER_LIP, 1])
    opening = [(t.exp[:, LOWER_LIP, 1] - t.exp[:, UPPER_LIP, 1])[:, None, None] * mode for t in talks]
    habits = [np.mean((t.exp - o)[t.speaking], axis=0) if t.speaking.any() else 0 for t, o in zip(talks, opening)]
    common = np.mean([habit for habit in habits if np.ndim(habit)], axis=0)
    return [replace(talk, exp=talk.exp - habit + common) for talk, habit in zip(talks, habits)]


def _pair(talk: Talk, projection: Projection, basis: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = with_context(projection(talk.features))[talk.speaking]
    y = (talk.exp[talk.speaking][:, LIP].reshape(-1, 3 * len(LIP)) - mean) @ basis.T
    return x, y


def fit_events(talks: list[Talk], spoken: list[Utterance], seed: int) -> tuple[Projection, torch.nn.Module]:
    """Projection (of real and synthetic speech) and event network."""
    rows = [talk.features for talk in talks] + [item.features.astype(np.float32) for item in spoken[::3]]
    projection = fit_projection(np.concatenate(rows), EVENT_COMPONENTS, whiten=0.5)
    return projection, train_events(spoken, projection, seed)


def evaluate(talks: list[Talk], spoken: list[Utterance], mode: np.ndarray, held_out: list[str], seed: int) -> dict:
    """Figures on people and on a voice that the models have not seen."""
    train = [talk for talk in talks if talk.person not in held_out]
    test = [talk for talk in talks if talk.person in held_out]
    lips = fit_lips(train, mode)
    report: dict = {"people": {}}
    for person in sorted({talk.person for talk in test}):
        report["people"][person] = _score([talk for talk in test if talk.person == person], lips)
    for key in ("opening_r", "width_r", "opening_range"):
        report[f"mean_{key}"] = round(float(np.mean([row[key] for row in report["people"].values()])), 3)
    projection, events = fit_events(train, [item for item in spoken if item.voice != HELD_OUT_VOICE], seed)
    report["events"] = _score_events([item for item in spoken if item.voice == HELD_OUT_VOICE], projection, events)
    report["closure_on_clips"] = _closures_on_clips(test, projection, events)
    return report


def _score(talks: list[Talk], lips: LipModel) -> dict:
    truth, guess = [], []
    for talk in talks:
        predicted = replace(talk, exp=lips.exp(talk.features))
        for rows, one in ((truth, talk), (guess, predicted)):
            rows.append(np.stack([one.opening(), one.stretch()], axis=1)[talk.speaking])
    truth, guess = np.concatenate(truth), np.concatenate(guess)
    r = _correlations(guess, truth)
    spread = [np.subtract(*np.percentile(np.maximum(rows[:, 0], 0), [95, 5])) for rows in (guess, truth)]
    return {
        "frames": len(truth),
        "opening_r": round(float(r[0]), 3),
        "width_r": round(float(r[1]), 3),
        "opening_range": round(float(spread[0] / spread[1]), 3),
    }


def _score_events(items: list[Utterance], projection: Projection, events: torch.nn.Module) -> dict:
    found = np.concatenate([probabilities(events, projection, item.features) for item in items]) > 0.5
    labels = np.concatenate([item.labels for item in items])
    out = {}
    for name, event in (("closed", CLOSED), ("lip_teeth", LIP_TEETH), ("rounded", ROUNDED), ("speech", SPEECH)):
        near = np.convolve(labels[:, event] > 0.3, np.ones(3), "same") > 0
        out[name] = {
            "precision": round(float(near[found[:, event]].mean()), 3),
            "recall": round(float(found[labels[:, event] > 0.5, event].mean()), 3),
        }
    return out


def _closures_on_clips(talks: list[Talk], projection: Projection, events: torch.nn.Module) -> dict:
    """How far the lips of these people really are apart where a closure is heard, by lag in frames."""
    out = {}
    for lag in range(-3, 4):
        openings = []
        for talk in talks:
            heard = probabilities(events, projection, talk.features)[:, CLOSED] > 0.8
            openings.append(np.roll(talk.opening(), -lag)[heard & talk.speaking])
        out[str(lag)] = round(float(np.concatenate(openings).mean()), 3)
    return out


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))


if __name__ == "__main__":
    main()
