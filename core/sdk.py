"""StreamSDK: load a pack once, then turn portraits and speech into videos (spec pipeline.md sections 3, 16, 17)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.atomic_components.avatar_registrar import AvatarRegistrar
from core.avatars.avatar import Avatar
from core.avatars.fit import fit_speech, refitted
from core.avatars.source_info import source_info
from core.errors import InputError
from core.media import check_output, read_audio
from core.motion import SAMPLE_RATE, frame_rate, frames_at, num_frames
from core.packs.pack import load_pack
from core.pipeline import Pipeline, Stage
from core.runs.file_job import Job, Progress, RunResult, run_job
from core.runs.file_run import FileRun
from core.runs.plan import RunPlan, check_mode
from core.settings.conflicts import check_conflicts, check_live
from core.settings.controls import Controls
from core.settings.more_kwargs import options_from
from core.settings.options import RunOptions
from core.settings.run_options import make_options
from core.streaming.session import LiveSession, VideoFrame
from core.utils.audio_chunks import CHUNK_SIZE, as_samples
from core.utils.blas import BlasLimit

LOG = logging.getLogger(__name__)


class FeatureExtractor:
    """`sdk.wav2feat`, under the reference's name."""

    def __init__(self, sdk: StreamSDK):
        self._sdk = sdk

    def wav2feat(self, audio: np.ndarray, sr: int = SAMPLE_RATE, **_ignored: Any) -> np.ndarray:
        """(L,) mono samples -> (num_frames, D) features of the whole recording. Raises InputError."""
        return self._sdk.extract(audio, sr)


class FeatureQueue:
    """`sdk.audio2motion_queue`, under the reference's name."""

    def __init__(self, sdk: StreamSDK):
        self._sdk = sdk

    def put(self, features: np.ndarray | None) -> None:
        """Features (n, D) of the clip for the run that was set up; None is the end, which close() says anyway."""
        self._sdk.active("audio2motion_queue.put").put(features)


class StreamSDK:
    """A loaded model pack. Runs do not share any state but the models.

    `run` makes a file and `stream` gives frames. `setup`, `setup_Nd`, `wav2feat`, `audio2motion_queue`, `run_chunk` and
    `close` are for scripts written for the reference; one such run at a time.
    """

    def __init__(self, cfg_pkl: str | Path | None = None, data_root: str | Path = "auto", **overrides: Any):
        """See `core.packs.pack.load_pack`. Raises PackError."""
        self.config, self.models = load_pack(data_root, cfg_pkl, **overrides)
        self.wav2feat, self.audio2motion_queue = FeatureExtractor(self), FeatureQueue(self)
        self.source_info: dict[str, Any] = {}
        self._blas = BlasLimit()
        self._run: FileRun | None = None
        self._tmp_output_path: str | None = None
        self._options = make_options(self.config)

    @property
    def online_mode(self) -> bool:
        """Whether the run that was set up takes chunks; before `setup`, what the pack's configuration says."""
        return self._options.online_mode

    @property
    def tmp_output_path(self) -> str:
        """Where `setup` .. `close` put the video, which has no sound yet. Raises InputError before the first setup."""
        if self._tmp_output_path is None:
            raise InputError("tmp_output_path: call setup(source, output) first")
        return self._tmp_output_path

    def options(self, **given: Any) -> RunOptions:
        """Options of a run with this pack, see `core.settings.run_options.make_options`. Raises InputError."""
        options = make_options(self.config, **given)
        check_mode(options, self.models)
        check_conflicts(options, given)
        return options

    def run(
        self,
        source: str | Path | Avatar,
        audio: str | Path,
        output: str | Path,
        progress: Progress | None = None,
        more_kwargs: Mapping[str, Any] | str | Path | None = None,
        pace: bool = False,
        **options: Any,
    ) -> RunResult:
        """Animate a portrait with a recording and write an mp4.

        Args:
            source, audio: input files; the source may have been registered before.
            output: mp4 to write; appears only when it is complete.
            progress: called with (frames done, frames in all) after each frame.
            more_kwargs: the reference's dictionary of options, or the file of one; `options` go before it.
            pace: in online mode, feed the recording at the speed of a live source.
            options: keyword names of `core.settings.options.RunOptions`; what is left out comes from the pack.

        Raises DittoError: InputError, PackError or OutputError for what a user can mend, StageError for the rest.
        """
        start = time.perf_counter()
        chosen = self.options(**{**options_from(more_kwargs), **options})
        if pace and not chosen.online_mode:
            raise InputError("pace is for online mode; turn online_mode on, or leave it out")
        registered = isinstance(source, Avatar)
        origin = source.path if registered else source
        check_output(output, (audio,) if origin is None else (origin, audio), chosen.source.alpha)
        samples = read_audio(audio)
        if chosen.N_d <= 0:
            chosen = replace(chosen, N_d=num_frames(len(samples)))
        avatar = refitted(source, chosen) if registered else self.register(source, chosen)
        if chosen.source.loop == "once":
            samples = fit_speech(samples, avatar)
            chosen = replace(chosen, N_d=num_frames(len(samples)))
        with self._blas:
            plan = RunPlan(self.config, self.models, avatar, chosen)
            frames, timings, live = run_job(plan, Job(samples, audio, output, progress, pace))
        seconds = float(frames / avatar.rate)
        return RunResult(Path(output), frames, seconds, time.perf_counter() - start, timings, live)

    def session(self, source: str | Path | Avatar, **options: Any) -> LiveSession:
        """A live session, see `core.streaming.session`: speech is pushed, frames are iterated. Raises DittoError."""
        return self._live(source, None, options)

    def stream(self, source: str | Path | Avatar, chunks: Iterable[np.ndarray], **options: Any) -> Iterator[VideoFrame]:
        """Frames for speech that arrives in chunks of any length, for as long as it does.

        Args:
            source: picture or video, or what `register` made of one.
            chunks: 16 kHz mono samples, float in -1 .. 1 or int16. Iterated in a thread of its own, a few chunks ahead.
            options: keyword names of `core.settings.options.RunOptions`.

        A frame comes out for every started 40 ms of speech. When the consumer stops, so does everything; what the
        producer raises comes out here. Raises DittoError.
        """
        with self._live(source, chunks, options) as session:
            yield from session

    def register(self, source: str | Path, options: RunOptions | None = None) -> Avatar:
        """Read a source and find out all that rendering needs; good for any number of runs. Raises InputError.

        Of a video no more than `options.N_d` frames are looked at, when that is given.
        """
        options = options or make_options(self.config)
        registrar = AvatarRegistrar(self.models.analyser, self.models.blink_array, self.models.identity)
        rate = frame_rate(options.writer.fps)
        frames = -1 if options.source.loop == "once" else frames_at(options.N_d, rate)
        return registrar(source, options.crop, options.source, frames, rate)

    def setup(self, source_path: str | Path, output_path: str | Path, **kwargs: Any) -> None:
        """Register a source and get ready for audio; the video goes to `tmp_output_path`.

        Args:
            kwargs: keyword names of spec section 3, as for `run`.

        A run that was not closed is given up. Raises DittoError.
        """
        if self._run is not None:
            LOG.warning("setup() before close(): the run that was set up is given up")
            self.cancel()
        options = self.options(**kwargs)
        check_live(options)
        output = Path(f"{output_path}.tmp.mp4")
        check_output(output, (source_path,))
        avatar = self.register(source_path, options)
        plan = RunPlan(self.config, self.models, avatar, options)
        self._run = FileRun(plan, self.models.audio, output, self._blas)
        self._options, self._tmp_output_path = options, str(output)
        self.source_info = source_info(avatar)

    def setup_Nd(
        self,
        N_d: int,
        fade_in: int = -1,
        fade_out: int = -1,
        ctrl_info: Mapping[int, Controls] | Sequence[Controls] | None = None,
    ) -> None:
        """Say how many frames the audio has, and fade or control them; before the audio, and only if known.

        Args:
            N_d: frames, -1 for unknown.
            fade_in, fade_out: frames over which the motion grows out of the fade target and returns; -1 none.
            ctrl_info: frame number -> controls, over those given to `setup`.
        """
        self.active("setup_Nd").set_length(N_d, fade_in, fade_out, ctrl_info)

    def extract(self, audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
        """Features (n, D) of a whole recording, (L,) mono. Raises InputError for other rates and unusable samples."""
        if sample_rate != SAMPLE_RATE:
            raise InputError(
                f"the audio has {sample_rate} samples per second; give {SAMPLE_RATE} (core.media.read_audio does)"
            )
        samples = as_samples(audio)
        return self.models.audio.extract(samples) if self._run is None else self._run.extract(samples)

    def run_chunk(self, audio_chunk: np.ndarray, chunksize: Sequence[int] = CHUNK_SIZE) -> None:
        """The next piece of speech.

        Args:
            audio_chunk: windows of past + current + future frames and 80 samples as the reference takes them, the first
                with zeros for its past; or consecutive samples of any length. The first chunk decides which.
            chunksize: past, current and future frames of a window.

        Raises what a stage raised as soon as it has, and InputError before setup() or for unusable samples.
        """
        self.active("run_chunk").run_chunk(as_samples(audio_chunk), chunksize)

    def close(self) -> None:
        """Render what is owed and finish the video at `tmp_output_path`; without a run, nothing.

        Raises the first error of the run, and InputError when it has heard nothing; the object is free for the next
        job in any case.
        """
        run, self._run = self._run, None
        if run is not None:
            run.close()

    def cancel(self) -> None:
        """Give up the run that was set up, at once and without a file."""
        run, self._run = self._run, None
        if run is not None:
            run.cancel()

    def __enter__(self) -> StreamSDK:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.cancel()

    def active(self, caller: str) -> FileRun:
        """The run that was set up. Raises InputError when there is none."""
        if self._run is None:
            raise InputError(f"{caller}: call setup(source, output) first")
        return self._run

    def keypoint_pairs(self, source: str | Path, audio: str | Path, limit: int) -> tuple[list[tuple], Avatar]:
        """(x_s, x_d) of the first `limit` frames, and the avatar: what the renderer gets, for measuring it alone."""
        options = make_options(self.config, online_mode=False)
        samples = read_audio(audio)
        avatar = self.register(source, options)
        plan = RunPlan(self.config, self.models, avatar, replace(options, N_d=num_frames(len(samples))))
        pairs: list[tuple] = []
        collect = Stage("collect", lambda frame: pairs.append((frame.x_s, frame.x_d)))
        with Pipeline([plan.hearing(), *plan.frames(), collect]) as pipeline:
            pipeline.put(samples)
        return pairs[:limit], avatar

    def _live(
        self, source: str | Path | Avatar, chunks: Iterable[np.ndarray] | None, options: Mapping[str, Any]
    ) -> LiveSession:
        chosen = self.options(**{**options, "online_mode": True})
        check_live(chosen)
        avatar = refitted(source, chosen) if isinstance(source, Avatar) else self.register(source, chosen)
        return LiveSession(RunPlan(self.config, self.models, avatar, chosen), self._blas, chunks)
