"""Train the embedded pack's audio-to-motion model and write audio2motion.onnx (spec lite.md sections 5 and 9).

    python scripts/ditto_lite/make_phone_speech.py PHONES
    PYTHONPATH=. python scripts/ditto_lite/train_motion.py --clips DIR ... --phones PHONES --cache CACHE [--held_out ID]

1. A small convolutional network that hears closures, lip to teeth, rounding and speech, on synthetic speech with known
   phone times.
2. Ridge regression from the speech encoder's output to the lip keypoints of tracked clips.
3. Small MotionDiTs, by MotionDiT/train.py, from what 1 and 2 say to the same lips, on features of whole recordings and
   of streams. They are told what a regression says that has not seen the person. The lips are the mean of 2 and 3.

With --held_out all are first fitted without those people and one voice and scored on them. The file written is fitted
on everything.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lips import Lips, correlations, fit_lips
from motion_export import export
from phones import CLOSED, LIP_TEETH, ROUNDED, SPEECH, Utterance, load_utterances, probabilities, train_events
from ridge import Projection, fit_projection
from tracks import Talk, load_tracks, to_talk

from core.lite.motion_space import LOWER_LIP, UPPER_LIP, FaceSpace
from core.lite.speech_encoder import SpeechEncoder

PACK = Path(__file__).resolve().parents[2] / "checkpoints" / "ditto_lite"
HELD_OUT_VOICE = "rms"
EVENT_COMPONENTS = 96
log = logging.getLogger("train_motion")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="folders with 25 fps talking clips")
    parser.add_argument("--phones", type=Path, required=True, help="folder written by make_phone_speech.py")
    parser.add_argument("--cache", type=Path, required=True, help="folder for tracks, reused, and for training runs")
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
        found = evaluate(talks, spoken, space.modes[0], args.held_out, args.cache / "held_out", args.seed)
        report = json.dumps(found, indent=1)
        log.info("%s", report)
        if args.report:
            args.report.write_text(report)
    lips, projection, events = fit(talks, spoken, space.modes[0], args.cache / "final", args.seed)
    export(args.pack / "audio2motion.onnx", lips, projection, events)


def fit(
    talks: list[Talk], spoken: list[Utterance], mode: np.ndarray, folder: Path, seed: int
) -> tuple[Lips, Projection, torch.nn.Module]:
    """Lip model, and the event network with its projection. `folder` gets the runs of MotionDiT/train.py."""
    projection, events = fit_events(talks, spoken, seed)
    heard = partial(probabilities, events, projection)
    return fit_lips(habits_removed(talks, mode), heard, folder, seed), projection, events


def habits_removed(talks: list[Talk], mode: np.ndarray) -> list[Talk]:
    """Each person's lasting smile or pout replaced by the mean one; the opening stays absolute."""
    mode = mode / (mode[LOWER_LIP, 1] - mode[UPPER_LIP, 1])
    opening = [(t.exp[:, LOWER_LIP, 1] - t.exp[:, UPPER_LIP, 1])[:, None, None] * mode for t in talks]
    habits = [np.mean((t.exp - o)[t.speaking], axis=0) if t.speaking.any() else 0 for t, o in zip(talks, opening)]
    common = np.mean([habit for habit in habits if np.ndim(habit)], axis=0)
    return [replace(talk, exp=talk.exp - habit + common) for talk, habit in zip(talks, habits)]


def fit_events(talks: list[Talk], spoken: list[Utterance], seed: int) -> tuple[Projection, torch.nn.Module]:
    """Projection (of real and synthetic speech) and event network."""
    rows = [talk.features for talk in talks] + [item.features.astype(np.float32) for item in spoken[::3]]
    projection = fit_projection(np.concatenate(rows), EVENT_COMPONENTS, whiten=0.5)
    return projection, train_events(spoken, projection, seed)


def evaluate(
    talks: list[Talk], spoken: list[Utterance], mode: np.ndarray, held_out: list[str], folder: Path, seed: int
) -> dict:
    """Figures on people and on a voice that the models have not seen."""
    train = [talk for talk in talks if talk.person not in held_out]
    test = [talk for talk in talks if talk.person in held_out]
    lips, projection, events = fit(train, [item for item in spoken if item.voice != HELD_OUT_VOICE], mode, folder, seed)
    report = {"whole": _people(test, lips), "live": _people(test, lips, live=True)}
    report["events"] = _score_events([item for item in spoken if item.voice == HELD_OUT_VOICE], projection, events)
    report["closure_on_clips"] = _closures_on_clips(test, projection, events)
    return report


def _people(talks: list[Talk], lips: Lips, live: bool = False) -> dict:
    names = sorted({talk.person for talk in talks})
    people = {person: _score([talk for talk in talks if talk.person == person], lips, live) for person in names}
    keys = ("opening_r", "width_r", "opening_range")
    return {"people": people, **{key: round(float(np.mean([row[key] for row in people.values()])), 3) for key in keys}}


def _score(talks: list[Talk], lips: Lips, live: bool) -> dict:
    truth, guess = [], []
    for talk in talks:
        predicted = replace(talk, exp=lips.exp(talk.live if live else talk.features, live))
        for rows, one in ((truth, talk), (guess, predicted)):
            rows.append(np.stack([one.opening(), one.stretch()], axis=1)[talk.speaking])
    truth, guess = np.concatenate(truth), np.concatenate(guess)
    r = correlations(guess, truth)
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


if __name__ == "__main__":
    main()
