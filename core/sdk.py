"""StreamSDK: load a pack once, then turn portraits and speech into videos (spec pipeline.md sections 3, 16, 17)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from core.atomic_components.audio2motion import Audio2Motion, OfflineMotion
from core.atomic_components.avatar_registrar import AvatarRegistrar
from core.atomic_components.condition_handler import Character, ConditionHandler, ConditionParts
from core.atomic_components.decode_f3d import DecodeF3D
from core.atomic_components.motion_stitch import MotionStitch
from core.atomic_components.putback import PutBack
from core.atomic_components.warp_f3d import WarpF3D
from core.atomic_components.writer import Writer
from core.avatar import Avatar
from core.config import RunOptions, make_options
from core.errors import InputError, OutputError
from core.media import VideoWriter, check_output, read_audio
from core.motion import FPS, num_frames
from core.packs import load_pack
from core.pipeline import Pipeline, Stage, StageTiming
from core.utils.mask import blend_mask

Progress = Callable[[int, int], Any]


@dataclass(frozen=True)
class RunResult:
    """What a run made.

    Attributes:
        output: the video file.
        frames: its frames. seconds: its length.
        elapsed: wall time of the run in seconds, registration and encoding included, model loading not.
        timings: per stage.
    """

    output: Path
    frames: int
    seconds: float
    elapsed: float
    timings: dict[str, StageTiming]

    @property
    def real_time_factor(self) -> float:
        """Wall time over length of the video; below 1 is faster than real time."""
        return self.elapsed / self.seconds


class StreamSDK:
    """A loaded model pack. Runs do not share any state but the models."""

    def __init__(self, cfg_pkl: str | Path | None = None, data_root: str | Path = "auto", **overrides: Any):
        """See `core.packs.load_pack`. Raises PackError."""
        self.config, self.models = load_pack(data_root, cfg_pkl, **overrides)

    def run(
        self,
        source: str | Path,
        audio: str | Path,
        output: str | Path,
        progress: Progress | None = None,
        **options: Any,
    ) -> RunResult:
        """Animate a portrait with a recording and write an mp4.

        Args:
            source, audio: input files.
            output: mp4 to write; appears only when it is complete.
            progress: called with (frames done, frames in all) after each frame.
            options: keyword names of `core.config.RunOptions`; what is left out comes from the pack.

        Raises DittoError: InputError, PackError or OutputError for what a user can mend, StageError for the rest.
        """
        start = time.perf_counter()
        chosen = make_options(self.config, **options)
        if chosen.online_mode:
            raise InputError("online_mode is on, but only offline runs exist so far; use an offline configuration")
        check_output(output, (source, audio))
        samples = read_audio(audio)
        avatar = self.register(source, chosen)
        total = num_frames(len(samples))
        motion, picture = self._motion_stages(avatar, chosen, total), self._picture_stages(avatar, chosen)
        size, how = avatar.frames[0].shape[:2], chosen.writer
        video = VideoWriter(output, size, FPS, how.crf, audio=audio, tag=how.tag)
        stages = [*motion, *picture, Writer(video).stage()]
        pipeline = Pipeline(stages, on_progress=progress and partial(_report, progress, total))
        with threadpool_limits(1, user_api="blas"), pipeline:  # the stages are the threads; more would fight with them
            pipeline.put(samples)
        if video.frames != total:
            raise OutputError(f"{output}: {video.frames} frames were made for {total} frames of speech")
        return RunResult(Path(output), total, total / FPS, time.perf_counter() - start, pipeline.timings)

    def register(self, source: str | Path, options: RunOptions) -> Avatar:
        """Read a portrait and find out all that rendering needs. Raises InputError."""
        registrar = AvatarRegistrar(self.models.analyser, self.models.blink_array)
        return registrar(source, options.crop, options.source.max_size)

    def keypoint_pairs(self, source: str | Path, audio: str | Path, limit: int) -> tuple[list[tuple], Avatar]:
        """(x_s, x_d) of the first `limit` frames, and the avatar: what the renderer gets, for measuring it alone."""
        options = make_options(self.config)
        samples = read_audio(audio)
        avatar = self.register(source, options)
        stages = self._motion_stages(avatar, options, num_frames(len(samples)))
        pairs: list[tuple] = []
        with Pipeline([*stages, Stage("collect", lambda frame: pairs.append((frame.x_s, frame.x_d)))]) as pipeline:
            pipeline.put(samples)
        return pairs[:limit], avatar

    def _motion_stages(self, avatar: Avatar, options: RunOptions, total: int) -> list[Stage]:
        """Speech samples -> frames with keypoints."""
        models, seed = self.models, options.seed
        flags = self.config.audio2motion_cfg
        parts = ConditionParts(**{part.name: flags[part.name] for part in fields(ConditionParts)})
        character = Character.of_avatar(avatar) if options.ch_info is None else Character.from_ch_info(options.ch_info)
        conditions = ConditionHandler(character, options.condition, parts)
        sampler = models.motion.sampler(seed, options.motion.sampling_timesteps)
        worker = OfflineMotion(sampler, conditions, character, options.motion, models.seq_frames)
        motion = Audio2Motion(worker, avatar)
        stitch = self._stitch(avatar, options, character, total)
        return [
            Stage("wav2feat", models.audio.blocks),
            Stage("audio2motion", motion, motion.finish),
            Stage("motion_stitch", stitch),
        ]

    def _stitch(self, avatar: Avatar, options: RunOptions, character: Character, total: int) -> MotionStitch:
        rng = random.Random(options.seed)
        chosen = options.stitch
        if self.models.blink_intervals is not None and chosen.delta_eye_open_n == 0:
            chosen = replace(chosen, delta_eye_open_n=self.models.blink_intervals(rng, total))
        scale = character.scale if character.is_reference else None
        stitch = MotionStitch(avatar, chosen, self.models.space, rng, self.models.stitch, scale)
        stitch.setup_nd(total, options.fade_in, options.fade_out, options.ctrl_info)
        return stitch

    def _picture_stages(self, avatar: Avatar, options: RunOptions) -> list[Stage]:
        """Frames with keypoints -> finished pictures."""
        return [
            Stage("warp_f3d", WarpF3D(self.models.warp, avatar)),
            Stage("decode_f3d", DecodeF3D(self.models.decode)),
            Stage("putback", PutBack(avatar, blend_mask(options.blend))),
        ]


def _report(progress: Progress, total: int, done: int) -> None:
    progress(done, total)
