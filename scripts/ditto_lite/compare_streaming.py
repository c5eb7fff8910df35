"""How the embedded pack's speech features and lips change when speech is encoded live, in small steps.

    PYTHONPATH=. python scripts/ditto_lite/compare_streaming.py SPEECH.wav ... --past 50 --steps 2 3 5 10 --ahead 3 4 5

One line per choice: mean cosine of the features in speech to those of the whole recording, correlation of the lips'
first mode of motion, live window by live window, with that of the whole recording (mean and worst), seconds of one core
per second of speech for features and lips, and milliseconds of audio between a sound and its block's first frame.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from core.atomic_components.audio2motion import OfflineMotion, OnlineMotion, warmup_rows
from core.atomic_components.condition_handler import Character
from core.atomic_components.speech import LiveSpeech
from core.lite.motion_model import COND_DIM, EMOTION, MotionModel
from core.lite.motion_space import FaceSpace
from core.lite.speech_encoder import SpeechEncoder
from core.lite.speech_stream import DIM, MELS, WIDTH, SpeechStream, Window
from core.media import read_audio
from core.motion import FPS, MOTION_DIM, SAMPLE_RATE, Motion
from core.packs.pack import EMBEDDED
from core.settings.options import MotionOptions

NEUTRAL, SPOKEN = 4, -5.0  # emotion; least log loudness of a frame that counts as speech
OVERLAP = 20  # frames that windows of a whole recording share


def conditions(features: np.ndarray, _start: int = 0) -> np.ndarray:
    """(n, 385) features -> (n, 393) with a neutral emotion."""
    rows = np.zeros((len(features), COND_DIM), np.float32)
    rows[:, :DIM] = features
    rows[:, EMOTION.start + NEUTRAL] = 1
    return rows


def resting() -> Character:
    """A character whose motion is all zeros."""
    none = np.zeros((0, 0), np.float32)
    return Character(np.zeros(MOTION_DIM, np.float32), none, none, none)


def positions(parts: list[Motion], mode: np.ndarray) -> np.ndarray:
    """(n,) positions of the lips along `mode` (63,)."""
    return np.concatenate([part.exp.reshape(len(part), -1) for part in parts]) @ mode


def lips(model: MotionModel, mode: np.ndarray, features: np.ndarray) -> np.ndarray:
    """(n, 385) features of a whole recording -> (n,) position of the lips along `mode` (63,)."""
    options = MotionOptions(overlap_v2=OVERLAP, fix_kp_cond=-1)
    worker = OfflineMotion(model.sampler(0), conditions, resting(), options, model.window)
    return positions([*worker.push(features), *worker.finish()], mode)


def live_lips(
    encoder: SpeechEncoder, model: MotionModel, mode: np.ndarray, audio: np.ndarray, window: Window
) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 385) and positions (n,) of the lips of a live run."""
    stream = SpeechStream(encoder, window)
    options = MotionOptions(overlap_v2=model.window - window.step, fix_kp_cond=-1)
    silence = encoder.silence(warmup_rows(options, model.window, stream.ahead))
    worker = OnlineMotion(
        model.sampler(0), conditions, resting(), options, silence, window=model.window, block=1, ahead=stream.ahead
    )
    hearing, features, moved = LiveSpeech(stream), [], []
    for speech in (*hearing(audio), *hearing.finish()):
        features.append(speech.features)
        moved += worker.push(speech.features, speech.outlook)
    moved += worker.finish()
    return np.concatenate(features), positions(moved, mode)


def compare(
    encoder: SpeechEncoder, model: MotionModel, mode: np.ndarray, clips: list[np.ndarray], window: Window
) -> str:
    """The figures of one choice of window."""
    cosines, correlations, seconds = [], [], 0.0
    for audio in clips:
        whole = encoder.extract(audio)
        start = time.process_time()
        live, moved = live_lips(encoder, model, mode, audio, window)
        seconds += time.process_time() - start
        a, b = live[:, :WIDTH], whole[:, :WIDTH]
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        cosines.append(cosine[whole[:, WIDTH] > SPOKEN].mean())
        correlations.append(np.corrcoef(moved, lips(model, mode, whole))[0, 1])
    load = seconds * SAMPLE_RATE / sum(map(len, clips))
    delay = 1000 * window.step / FPS + 1000 * window.look_ahead / SAMPLE_RATE
    return (
        f"past {window.past:3d} step {window.step:3d} ahead {window.look_ahead * FPS // SAMPLE_RATE}: cosine "
        f"{np.mean(cosines):.3f}, lips r {np.mean(correlations):.3f} (least {min(correlations):.3f}), "
        f"{load:.3f} s/s, {delay:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wavs", type=Path, nargs="+")
    parser.add_argument("--past", type=int, nargs="+", default=[50], help="frames")
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 3, 5, 10], help="frames")
    parser.add_argument("--ahead", type=int, nargs="+", default=[3, 4, 5], help="frames")
    args = parser.parse_args()
    space = FaceSpace.load(EMBEDDED / "motion_space.npz")
    encoder, model = SpeechEncoder(EMBEDDED / "speech_encoder.onnx"), MotionModel(EMBEDDED / "audio2motion.onnx", space)
    mode = np.asarray(space.modes[0], np.float64).reshape(-1)
    clips = [read_audio(path) for path in args.wavs]
    for past in args.past:
        for step in args.steps:
            for ahead in args.ahead:
                window = Window(past, step, step, ahead * MELS - 2)
                print(compare(encoder, model, mode / np.linalg.norm(mode), clips, window), flush=True)


if __name__ == "__main__":
    main()
