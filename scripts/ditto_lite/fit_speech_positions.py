"""Fit the position means of the speech encoder and store them in its file as the output `positions`.

Whisper adds an absolute position to every frame, and half the variance of its features is that position. Sliding the
window over the same speech puts each sound at each position; the mean per position, taken off the features, makes them
(nearly) independent of where a window starts. See core/lite/speech_encoder.py for the windows.

    PYTHONPATH=. python scripts/ditto_lite/fit_speech_positions.py speech_encoder.onnx SPEECH.wav ...

The shipped table was fitted on the five public-domain LibriVox readings of the pocketsphinx 5.1.1 source distribution
and on flite sentences (see example/README.md). Needs onnx besides the default dependencies; the wavs are 16 kHz mono.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import soundfile
from onnx import TensorProto, helper, numpy_helper

from core.backends.onnx import OnnxSession, load_session
from core.lite.loudness import Loudness, speech_level
from core.lite.mel import log10_mel, whisper_scale
from core.lite.speech_encoder import LOUDEST, MAX_POSITIONS, WIDTH
from core.lite.speech_memory import NOTHING

NAME = "positions"


def normalised_mel(path: Path) -> np.ndarray:
    """Mel input (80, T) of one recording after the encoder's loudness gain."""
    audio, rate = soundfile.read(path, dtype="float32")
    if rate != 16000 or audio.ndim != 1:
        raise SystemExit(f"{path}: expected 16 kHz mono")
    frames = audio[: len(audio) // 640 * 640].reshape(-1, 640)
    mel = log10_mel(Loudness(speech_level(audio)).apply(frames).reshape(-1))
    return whisper_scale(mel, max(LOUDEST, float(mel.max())))


def position_means(session: OnnxSession, mel: np.ndarray, stride: int) -> np.ndarray:
    """Mean feature (MAX_POSITIONS, 384) per position, over windows that start every `stride` positions."""
    total = np.zeros((MAX_POSITIONS, WIDTH))
    starts = range(0, mel.shape[1] - 2 * MAX_POSITIONS + 1, 2 * stride)
    for start in starts:
        window = np.ascontiguousarray(mel[None, :, start : start + 2 * MAX_POSITIONS])
        total += session.run(mel=window, keys=NOTHING.keys, values=NOTHING.values)["features"][0]
    return total / len(starts)


def store(path: Path, table: np.ndarray) -> None:
    """Write the table as a float16 constant behind the output `positions`, replacing an earlier one."""
    model = onnx.load(path)
    graph = model.graph
    for field in (graph.node, graph.initializer, graph.output):
        for item in [item for item in field if NAME in (item.name, *getattr(item, "output", []))]:
            field.remove(item)
    graph.initializer.append(numpy_helper.from_array(table.astype(np.float16), f"{NAME}_half"))
    graph.node.append(helper.make_node("Cast", [f"{NAME}_half"], [NAME], name=NAME, to=TensorProto.FLOAT))
    graph.output.append(helper.make_tensor_value_info(NAME, TensorProto.FLOAT, list(table.shape)))
    for old in [i for i in graph.initializer if i.name == f"{NAME}_half"][:-1]:
        graph.initializer.remove(old)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("wavs", type=Path, nargs="+")
    parser.add_argument("--stride", type=int, default=9, help="positions between windows")
    args = parser.parse_args()
    mel = np.concatenate([normalised_mel(path) for path in args.wavs], axis=1)
    table = position_means(load_session(args.encoder), mel, args.stride)
    store(args.encoder, table)
    print(
        f"{args.encoder}: {mel.shape[1] / 100:.0f} s of speech, variance of the position means "
        f"{table[20:].var(0).sum():.0f}, {args.encoder.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
