"""Reading sound. Spec section 1: 16 kHz mono float32 in [-1, 1], no normalisation."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import soundfile
import soxr

from core.errors import InputError
from core.media.probe import check_readable, open_container
from core.motion import SAMPLE_RATE

LOUDEST = 1e9  # full scale is 1; whole numbers of 16 or 24 bits in a file of floats still pass
_BLOCK = 1 << 16  # samples per channel that are decoded at a time


def read_audio(path: str | Path) -> np.ndarray:
    """Sound file (or the sound of a video) -> (n,) float32 at 16 kHz, the mean of all channels.

    Decoded block by block, so the memory needed is that of the result. Raises InputError for a missing, foreign,
    empty or damaged file and for samples that are not numbers or absurdly large.
    """
    path = check_readable(path, "audio")
    rate, blocks = open_audio(path)
    samples = bytearray()
    for block in resampled((block.mean(axis=1, keepdims=True) for block in blocks), rate, SAMPLE_RATE):
        samples += block.tobytes()
    return np.frombuffer(samples, np.float32)


def lasts_longer(path: str | Path, seconds: float) -> bool:
    """Whether a sound file has more than so many seconds; reads no further than that. Raises InputError as read_audio.

    Headers may say anything, and some formats have none.
    """
    rate, blocks = open_audio(check_readable(path, "audio"))
    left = seconds * rate
    for block in blocks:
        left -= len(block)
        if left < 0:
            return True
    return False


def resampled(blocks: Iterable[np.ndarray], rate: int, target: int) -> Iterator[np.ndarray]:
    """(n, channels) float32 blocks of one sound at `rate` -> blocks at `target` Hz, which last as long.

    In all ceil(samples * target / rate) samples per channel; the blocks pass untouched when the rates are equal.
    """
    if rate == target:
        yield from blocks
        return
    resampler = None
    taken = given = channels = 0
    for block in blocks:
        if resampler is None:
            channels = block.shape[1]
            resampler = soxr.ResampleStream(rate, target, channels, dtype="float32")
        part = resampler.resample_chunk(block)
        taken, given = taken + len(block), given + len(part)
        yield part
    if resampler is not None:
        rest = resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)
        missing = max(0, math.ceil(taken * target / rate) - given)
        yield np.pad(rest[:missing], ((0, missing - len(rest[:missing])), (0, 0)))


def open_audio(path: Path) -> tuple[int, Iterator[np.ndarray]]:
    """Sample rate, and an iterator over the sound as (n, channels) float32 blocks.

    libsndfile first, ffmpeg for what it does not know. Raises InputError, also while iterating: for damage,
    samples that are not numbers and a file without any.
    """
    raw = open(path, "rb")
    try:
        sound = soundfile.SoundFile(raw)
    except (soundfile.LibsndfileError, TypeError):
        raw.close()
        return _open_with_ffmpeg(path)
    return sound.samplerate, _checked(_sndfile_blocks(raw, sound, path), path)


def _sndfile_blocks(raw: BinaryIO, sound: soundfile.SoundFile, path: Path) -> Iterator[np.ndarray]:
    try:
        with raw, sound:
            yield from sound.blocks(_BLOCK, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: the audio is damaged ({error})") from None


def _open_with_ffmpeg(path: Path) -> tuple[int, Iterator[np.ndarray]]:
    try:
        container = open_container(path)
    except (av.FFmpegError, ValueError):
        raise InputError(f"{path}: not an audio file that libsndfile or ffmpeg can read") from None
    if not container.streams.audio or not container.streams.audio[0].rate:
        container.close()
        raise InputError(f"{path}: has no sound in it")
    return container.streams.audio[0].rate, _checked(_ffmpeg_blocks(container, path), path)


def _ffmpeg_blocks(container: av.container.InputContainer, path: Path) -> Iterator[np.ndarray]:
    rate = container.streams.audio[0].rate
    planar = av.AudioResampler(format="fltp", rate=rate)
    try:
        with container:
            for frame in container.decode(audio=0):
                for part in planar.resample(frame):
                    yield part.to_ndarray().T
    except av.FFmpegError as error:
        raise InputError(f"{path}: the audio is damaged ({error.strerror})") from None


def _checked(blocks: Iterator[np.ndarray], path: Path) -> Iterator[np.ndarray]:
    found = False
    for block in blocks:
        if not np.isfinite(block).all():
            raise InputError(f"{path}: the audio holds NaN or infinite samples; export it again")
        if len(block) and np.abs(block).max() > LOUDEST:
            raise InputError(f"{path}: the audio holds samples above {LOUDEST:g}, where 1 is full; export it again")
        found = found or len(block) > 0
        yield block
    if not found:
        raise InputError(f"{path}: the audio file holds no sound")
