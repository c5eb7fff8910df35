"""Speech as DiffTalk hears it: 29 numbers 50 times a second, in windows around each frame (spec difftalk.md section 9).

DeepSpeech, whose logits the reference used, cannot be installed any more. The default extractor projects the 50 Hz
vectors of the embedded pack's speech encoder to 29 numbers; logits from any other program come in as a file. A model
trained with one extractor must not be fed another, so its name travels with data and checkpoints.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.errors import InputError, PackError
from core.lite.loudness import Loudness, speech_level
from core.lite.mel import CONTEXT, HOP, log10_mel, whisper_scale
from core.lite.speech_encoder import LOUDEST, SpeechEncoder
from core.media import read_audio
from core.motion import SAMPLES_PER_FRAME, num_frames
from core.packs.pack import EMBEDDED
from DiffTalk.shapes import LOGITS, WINDOW, WINDOWS

EXTRACTOR = "whisper-tiny-pca29"
FROM_FILE = "file"  # extractor of logits that some other program wrote
PROJECTION = Path(__file__).resolve().parent / "speech_projection.npz"
ROWS = 2  # rows of logits per video frame
MELS = SAMPLES_PER_FRAME // HOP  # mel columns per video frame
PAST, BLOCK, AHEAD = 25, 100, 5  # frames of a window: context before, encoded at a time, context after


class SpeechLogits:
    """The default extractor. Loading takes half a second; calls are independent."""

    name = EXTRACTOR

    def __init__(self, pack: Path = EMBEDDED, projection: Path = PROJECTION):
        """Load the pack's speech encoder and the projection. Raises PackError."""
        self._encoder = SpeechEncoder(pack / "speech_encoder.onnx")
        try:
            with np.load(projection, allow_pickle=False) as table:
                self._mean, self._matrix = table["mean"], table["matrix"]
        except (OSError, ValueError, KeyError):
            raise PackError(f"{projection}: the speech projection is missing or damaged; restore the file") from None

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """(L,) float32 at 16 kHz -> (2 n, 29) float32, n = number of 25 fps frames, the last one filled up."""
        return ((encoder_rows(self._encoder, audio) - self._mean) @ self._matrix).astype(np.float32)


def encoder_rows(encoder: SpeechEncoder, audio: np.ndarray) -> np.ndarray:
    """(L,) float32 at 16 kHz -> the encoder's centred 50 Hz vectors (2 n, 384), one second of past for each."""
    frames = num_frames(len(audio))
    if not frames:
        raise InputError("the audio is empty; give a recording with at least one sample")
    filled = np.pad(audio, (0, frames * SAMPLES_PER_FRAME - len(audio))).reshape(frames, SAMPLES_PER_FRAME)
    level = Loudness(speech_level(audio)).apply(filled).reshape(-1)
    mel = log10_mel(np.pad(level, (PAST * SAMPLES_PER_FRAME + CONTEXT, AHEAD * SAMPLES_PER_FRAME + CONTEXT)))
    maximum = max(LOUDEST, float(mel.max()))
    blocks = []
    for first in range(0, frames, BLOCK):
        count = min(BLOCK, frames - first)
        window = mel[:, first * MELS : (PAST + first + count + AHEAD) * MELS]
        vectors = encoder.encode_mel(whisper_scale(window, maximum))
        blocks.append(vectors[PAST * ROWS :][: ROWS * count])
    return np.concatenate(blocks)


def read_logits(path: str | Path) -> np.ndarray:
    """Logits that another program wrote as .npy: (rows, 29) at 50 per second -> float32. Raises InputError."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path}: not an .npy file with speech logits") from None
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != LOGITS or not len(rows):
        raise InputError(f"{path}: expected speech logits (rows, {LOGITS}), found {list(getattr(rows, 'shape', []))}")
    if rows.dtype.kind != "f" or not np.isfinite(rows).all():
        raise InputError(f"{path}: the speech logits must be finite floating-point numbers")
    return rows.astype(np.float32)


def audio_conditions(rows: np.ndarray) -> np.ndarray:
    """(2 n or 2 n + 1, 29) logits at 50 per second -> (n, 8, 16, 29) float32: each frame's eight windows.

    The window of frame k holds rows 2k-8 .. 2k+7, zeros outside; the stack of frame k holds windows k-4 .. k+3.
    """
    frames = len(rows) // ROWS
    padded = np.pad(rows, ((WINDOW // 2, WINDOW // 2), (0, 0)))
    windows = np.stack([padded[ROWS * k : ROWS * k + WINDOW] for k in range(frames)])
    half = WINDOWS // 2
    padded = np.pad(windows, ((half, half), (0, 0), (0, 0)))
    return np.stack([padded[k : k + WINDOWS] for k in range(frames)]).astype(np.float32)


def conditions_of(audio: str | Path, logits: str | Path | None = None) -> tuple[np.ndarray, str]:
    """Stacks (n, 8, 16, 29) of a recording, and the extractor's name; `logits` is a file to use instead of our own.

    Raises InputError, also when the file's rows do not fit the length of the recording.
    """
    samples = read_audio(audio)
    if logits is None:
        extractor = SpeechLogits()
        return audio_conditions(extractor(samples)), extractor.name
    rows, wanted = read_logits(logits), num_frames(len(samples))
    if abs(len(rows) - ROWS * wanted) > 2 * ROWS:
        raise InputError(f"{logits}: {len(rows)} rows do not fit {audio}, which needs {ROWS * wanted} (50 per second)")
    fitted = np.pad(rows[: ROWS * wanted], ((0, max(0, ROWS * wanted - len(rows))), (0, 0)))
    return audio_conditions(fitted), FROM_FILE
