"""The sound of the written video: the recording itself, not what the models hear. Spec section 15."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from core.media.audio import open_audio, resampled
from core.media.probe import check_readable

_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # what AAC players know; others become 48 kHz
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_BLOCK = 1024  # samples per channel in an AAC frame, and handed to the encoder at a time
_BIT_RATE = 64_000  # per channel
_MAX_BITS = 6  # per sample: an AAC frame holds 6144 bits per channel, so low rates get fewer

# Speakers of 3 to 8 channels in the order of WAV and ffmpeg: L left, R right, C centre; upper case front, lower
# case side or back, "-" the bass, which a stereo mix leaves out.
_SPEAKERS = {3: "LRC", 4: "LRlr", 5: "LRClr", 6: "LRC-lr", 7: "LRC-clr", 8: "LRC-lrlr"}
_GAINS = {
    "L": (1, 0),
    "R": (0, 1),
    "C": (0.5**0.5,) * 2,
    "l": (0.5**0.5, 0),
    "r": (0, 0.5**0.5),
    "c": (0.5, 0.5),
    "-": (0, 0),
}


class AudioTrack:
    """The AAC or Opus stream of a container, made from a sound file block by block, so memory stays flat.

    Rate and channels are those of the file where AAC and stereo allow; 48 kHz and a mix to stereo otherwise. The stream
    lasts as long as the recording. Raises InputError, also while writing, for what read_audio() refuses.
    """

    def __init__(self, container: av.container.OutputContainer, path: str | Path, codec: str = "aac"):
        path = check_readable(path, "audio")
        rate, blocks = open_audio(path)
        first = next(blocks)
        channels = min(first.shape[1], 2)
        self._rate = rate if rate in (_RATES if codec == "aac" else _OPUS_RATES) else 48000
        self._layout = "mono" if channels == 1 else "stereo"
        self._blocks: Iterator[np.ndarray] = resampled(map(mix_to_stereo, chain([first], blocks)), rate, self._rate)
        self._pending = np.zeros((0, channels), np.float32)
        self._done = 0
        self._container = container
        self._stream = container.add_stream(codec, rate=self._rate, layout=self._layout)
        self._stream.bit_rate = min(_BIT_RATE, _MAX_BITS * self._rate) * channels

    def write_until(self, seconds: Fraction | float) -> None:
        """Encodes the sound up to a time from the start."""
        while self._done + _BLOCK <= seconds * self._rate and self._write_block():
            pass

    def finish(self, seconds: Fraction | float | None = None) -> None:
        """Encodes the rest, or no more than up to a time from the start, and flushes the encoder."""
        if seconds is None:
            while self._write_block():
                pass
        else:
            self.write_until(seconds)
            self._write_block(max(round(seconds * self._rate) - self._done, 0))
        self._container.mux(self._stream.encode(None))

    def _write_block(self, size: int = _BLOCK) -> bool:
        """Encodes the next block of up to `size` samples; False when nothing is left."""
        while len(self._pending) < _BLOCK:
            more = next(self._blocks, None)
            if more is None:
                break
            self._pending = np.concatenate([self._pending, more])
        block, self._pending = self._pending[:size], self._pending[size:]
        if not len(block):
            return False
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts = self._done
        self._container.mux(self._stream.encode(frame))
        self._done += len(block)
        return True


def mix_to_stereo(block: np.ndarray) -> np.ndarray:
    """(n, channels) float32 -> (n, 2), or as it is for mono and stereo.

    The usual gains of ITU-R BS.775 (centre and surround 3 dB below front, no bass channel), scaled so that nothing
    clips. More than 8 channels have no known places: both sides get the mean.
    """
    channels = block.shape[1]
    if channels <= 2:
        return block
    if channels not in _SPEAKERS:
        return np.repeat(block.mean(axis=1, keepdims=True), 2, axis=1)
    gains = np.array([_GAINS[speaker] for speaker in _SPEAKERS[channels]], np.float32)
    return block @ (gains / gains.sum(axis=0))
