"""The sound of a clip: in step with its pictures, and as speech features (spec training.md 4.3, 4.4)."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import soundfile

from core.errors import InputError
from core.interfaces import AudioEncoder
from core.media import read_audio
from core.media.audio import SAMPLE_RATE

IN_STEP = 0.005  # seconds that picture and sound may start apart before one is shifted
_TOO_FAR = 60.0  # seconds; stream times that differ more are nonsense


def read_sound(video: str | Path) -> np.ndarray:
    """(m,) float32 at 16 kHz, mono, starting with the first picture of `video`.

    Sound that starts later gets silence in front; what comes before the first picture is cut off. Raises InputError
    when there is no sound or it is damaged.
    """
    samples = read_audio(video)
    lag = sound_lag(video)
    if abs(lag) < IN_STEP:
        return samples
    shift = round(lag * SAMPLE_RATE)
    return np.pad(samples, (shift, 0)) if shift > 0 else samples[-shift:]


def sound_lag(video: str | Path) -> float:
    """Seconds from the first picture to the first sample, as their time stamps say; 0 where they do not.

    Decoded frames are asked, not the container's header: that may count samples which a decoder drops.
    """
    try:
        times = [_first_time(video, kind) for kind in ("video", "audio")]
    except (av.FFmpegError, ValueError):
        return 0.0
    if None in times:
        return 0.0
    lag = times[1] - times[0]
    return lag if abs(lag) < _TOO_FAR else 0.0


def _first_time(video: str | Path, kind: str) -> float | None:
    """Time of the first decoded frame of the first "video" or "audio" stream."""
    with av.open(str(video)) as container:
        streams = getattr(container.streams, kind)
        frame = next(container.decode(streams[0]), None) if streams else None
        return None if frame is None else frame.time


def write_wav(path: Path, samples: np.ndarray) -> None:
    """Write (m,) float32 samples as 16-bit mono at 16 kHz."""
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16", format="WAV")


def speech_features(encoder: AudioEncoder, wav: str | Path) -> np.ndarray:
    """(n, D) float32, one row per video frame, exactly what inference computes for this recording.

    Raises InputError for a recording that cannot be used.
    """
    rows = np.concatenate(list(encoder.blocks(read_audio(wav)))).astype(np.float32)
    if not np.isfinite(rows).all():
        raise InputError(f"{wav}: the speech features are not finite")
    return rows
