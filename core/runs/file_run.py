"""A run into a video file, fed with features or chunks as scripts for the reference do (spec pipeline.md 16, 17.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from core.atomic_components.speech import LiveSpeech, Speech
from core.atomic_components.writer import Writer
from core.errors import InputError, OutputError
from core.interfaces import AudioEncoder
from core.media import VideoWriter
from core.motion import FPS
from core.pipeline import Pipeline
from core.runs.plan import RunPlan
from core.settings.controls import Controls
from core.utils.audio_chunks import ChunkFeed
from core.utils.blas import BlasLimit


class FileRun:
    """The run between `StreamSDK.setup` and `StreamSDK.close`: features in, a video without sound out.

    Attributes:
        path: the video file; there when close() is through.
    """

    def __init__(self, plan: RunPlan, encoder: AudioEncoder, path: Path, blas: BlasLimit):
        """Start the stages. Raises OutputError when the file cannot be written."""
        self.path = path
        self._plan, self._encoder, self._blas = plan, encoder, blas
        self._feed: ChunkFeed | None = None
        self._speech: LiveSpeech | None = None
        self._chunk_size: tuple[int, int, int] | None = None
        self._given = 0  # rows of features handed to the stages by run_chunk()
        self._fed = False  # whether the stages have got any speech
        self._voice: np.ndarray | None = None  # of the clip that extract() has heard last
        how, stages = plan.options.writer, [*plan.frames(), *plan.pictures()]
        self._video = VideoWriter(path, plan.avatar.frames[0].shape[:2], FPS, how.crf, tag=how.tag)
        self._pipeline = Pipeline([*stages, Writer(self._video).stage()])
        self._open = True
        self._blas.enter()
        try:
            self._pipeline.start()
        except BaseException:
            self.cancel()
            raise

    def set_length(self, n: int, fade_in: int, fade_out: int, ctrl_info: Mapping | Iterable[Controls] | None) -> None:
        """See `RunPlan.set_length`."""
        self._plan.set_length(n, fade_in, fade_out, ctrl_info)

    def extract(self, audio: np.ndarray) -> np.ndarray:
        """Features (n, D) of a whole recording, for `put`."""
        gate = self._plan.new_gate()
        features = self._encoder.extract(audio)
        if gate is not None:
            gate.push(audio)
            self._voice = gate.take(len(features))
        return features

    def put(self, features: np.ndarray | None) -> None:
        """Features (n, D), the clip or its next part; None, the end, is ignored. Raises what a stage raised."""
        if features is None:
            return
        features = np.asarray(features, np.float32)
        if features.ndim != 2:
            raise InputError(f"speech features have shape {features.shape}; give (frames, values), as wav2feat does")
        voice, self._voice = self._voice, None
        self._hand_on(Speech(features, voice=voice if voice is not None and len(voice) == len(features) else None))

    def run_chunk(self, chunk: np.ndarray, chunk_size: Sequence[int]) -> None:
        """The next chunk of speech, see `StreamSDK.run_chunk`."""
        self._pipeline.check()
        size = tuple(chunk_size)
        if self._feed is None:
            self._feed, self._chunk_size = ChunkFeed(size), size
            stream = self._encoder.stream(size, self._plan.options.motion.first_chunk or None)
            self._speech = LiveSpeech(stream, self._plan.new_gate())
        elif size != self._chunk_size:
            raise InputError(f"chunksize is {size}, but this run began with {self._chunk_size}; set up again to change")
        for speech in self._speech(self._feed.new_samples(chunk)):
            self._give(speech)

    def close(self) -> None:
        """Render what is owed and finish the file. Raises the first error of the run; then no file is left."""
        try:
            if self._speech is not None and self._pipeline.error is None:
                for speech in self._speech.finish():
                    self._give(speech)
            if not self._fed and self._pipeline.error is None:
                raise InputError("the audio is empty: close() came before any speech")
            self._pipeline.close()
        except BaseException:
            self.cancel()
            raise
        finally:
            self._leave()
        made, expected = self._plan.motion.made, self._plan.motion.expected()
        if self._video.frames != made or made != expected:
            self._video.remove()
            raise OutputError(f"{self.path}: {self._video.frames} frames were made for {expected} frames of speech")

    def cancel(self) -> None:
        """Stop at once and leave no file."""
        self._pipeline.cancel()
        self._leave()

    def _give(self, speech: Speech) -> None:
        """Hand features on, without those that only stand for the look-ahead of the last window."""
        limit = self._feed.limit
        room = len(speech.features) if limit is None else limit - self._given
        kept = min(len(speech.features), max(room, 0))
        self._given += kept
        if kept:
            voice = None if speech.voice is None else speech.voice[:kept]
            outlook = np.concatenate([speech.features[kept:], speech.outlook])
            self._hand_on(Speech(speech.features[:kept], speech.heard, voice, outlook))

    def _hand_on(self, speech: Speech) -> None:
        self._pipeline.put(speech)
        self._fed = self._fed or len(speech.features) > 0

    def _leave(self) -> None:
        if self._open:
            self._open = False
            self._blas.leave()
