"""One run: the stages over a pack's shared models that a source and options ask for (spec pipeline.md 10 to 14)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

from core.atomic_components.audio2motion import Audio2Motion, OfflineMotion, OnlineMotion, warmup_rows
from core.atomic_components.condition_handler import Character, ConditionHandler, ConditionParts
from core.atomic_components.motion_stitch import MotionStitch
from core.atomic_components.putback import PutBack
from core.atomic_components.retime import Retime
from core.atomic_components.speech import LiveSpeech, WholeSpeech
from core.atomic_components.voice_gate import VoiceGate
from core.avatars.avatar import Avatar, Frame
from core.errors import InputError
from core.interfaces import Models
from core.motion import FPS, transform_keypoints
from core.pipeline import Stage
from core.runs.rendering import render_stages
from core.settings.controls import Controls, merged_controls, overall_controls
from core.settings.options import PackConfig, RunOptions
from core.utils.color_match import SeamColours
from core.utils.mask import blend_mask, region_masks

LOG = logging.getLogger(__name__)


def check_mode(options: RunOptions, models: Models) -> None:
    """Refuse options that cannot work together. Raises InputError with the values that can."""
    window, overlap = models.seq_frames, options.motion.overlap_v2
    if not options.online_mode:
        return
    least = (window + 1) // 2
    if not least <= overlap < window:
        raise InputError(
            f"overlap_v2 is {overlap}; online mode needs {least} .. {window - 1} with windows of {window} frames "
            f"(the pack's offline setting does not fit; {window - 10} is usual)"
        )
    warmup_rows(options.motion, window)


class RunPlan:
    """Builds the stages of one run; they keep its state and share only the models.

    Attributes:
        motion: the audio-to-motion stage, which counts what goes in and comes out.
    """

    def __init__(self, config: PackConfig, models: Models, avatar: Avatar, options: RunOptions):
        """Raises InputError for options that do not fit the pack, the avatar or each other."""
        check_mode(options, models)
        self.avatar, self.options = avatar, options
        self._models = models
        self._overall = overall_controls(options.stitch.overall_ctrl_info, options.control)
        flags = config.audio2motion_cfg
        parts = ConditionParts(**{part.name: flags[part.name] for part in fields(ConditionParts)})
        own = options.ch_info is None
        character = Character.of_avatar(avatar) if own else Character.from_ch_info(options.ch_info)
        self._stitch = self._make_stitch(character)
        self._conditions = ConditionHandler(character, options.condition, parts, self._overall)
        self._stream = models.audio.stream(options.chunksize, self._first_step()) if options.online_mode else None
        self._worker = self._make_worker(character)
        self.motion = Audio2Motion(self._worker, avatar)
        self.set_length(options.N_d, options.fade_in, options.fade_out)
        if options.online_mode:
            self._warm_up()

    def set_length(
        self,
        n: int,
        fade_in: int = -1,
        fade_out: int = -1,
        ctrl_info: Mapping[int, Controls] | Iterable[Controls] | None = None,
    ) -> None:
        """Say how many frames there will be (-1: not known) and control them; before the first audio.

        `ctrl_info` goes over that of the options, frame by frame and control by control.
        """
        controls = merged_controls(self.options.ctrl_info, ctrl_info)
        self._stitch.setup_nd(n, fade_in, fade_out, controls)
        self._conditions.set_controls(controls)
        self.motion.limit = n if n > 0 else None
        if isinstance(self._worker, OnlineMotion):
            self._worker.limit = self.motion.limit

    def rest_until(self, index: int) -> None:
        """See `MotionStitch.rest_until`."""
        self._stitch.rest_until(index)

    def new_gate(self) -> VoiceGate | None:
        """A voice gate for this run, if one is wanted."""
        return VoiceGate() if self.options.vad else None

    def hearing(self) -> Stage:
        """Samples -> Speech: a whole recording offline, pieces of any length online."""
        if self._stream is None:
            return Stage("wav2feat", WholeSpeech(self._models.audio, self.new_gate()))
        live = LiveSpeech(self._stream, self.new_gate())
        return Stage("wav2feat", live, live.finish)

    def frames(self) -> list[Stage]:
        """Speech -> frames with keypoints."""
        stages = [Stage("audio2motion", self.motion, self.motion.finish), Stage("motion_stitch", self._stitch)]
        if self.avatar.rate != FPS:
            retime = Retime(self.avatar, self._models.space)
            stages.append(Stage("retime", retime, retime.finish))
        return stages

    def pictures(self) -> list[Stage]:
        """Frames with keypoints -> finished pictures. Raises InputError for blending that cannot be done."""
        self._put_back()
        return [
            *render_stages(self._models, self.avatar),
            Stage("putback", _OnFirstUse(self._put_back)),
        ]

    def _put_back(self) -> PutBack:
        region = self._region()
        blend = replace(self.options.blend, region=region)
        mask = blend_mask(blend) if region == "crop" else region_masks(blend, self.avatar.mesh)
        # In the whole crop the seam lies in hair and background, which the reference leaves as they come.
        wanted = blend.color_match == "on" or (blend.color_match == "auto" and region != "crop")
        return PutBack(self.avatar, mask, SeamColours(always=blend.color_match == "on") if wanted else None)

    def _region(self) -> str:
        blend, avatar = self.options.blend, self.avatar
        if blend.region != "auto":
            return blend.region
        plain = not avatar.is_image and avatar.mesh is not None and not blend.blend_legacy
        return "face" if plain and not self._stitch.moves_head() else "crop"

    def _warm_up(self) -> None:
        """Render the source as it is, so that nothing which is made on first use delays the first frame."""
        x_s = transform_keypoints(self.avatar.motion[0], exp_canonical=self._models.space.exp_canonical)
        self._models.decode(self._models.warp(self.avatar.features[0], x_s, x_s))

    def _first_step(self) -> int | None:
        return self.options.motion.first_chunk or None

    def _make_worker(self, character: Character) -> OfflineMotion | OnlineMotion:
        models, options = self._models, self.options
        sampler = models.motion.sampler(options.seed, options.motion.sampling_timesteps, options.motion.sampler)
        common = (sampler, self._conditions, character, options.motion)
        if not options.online_mode:
            return OfflineMotion(*common, models.seq_frames)
        stream, window = self._stream, models.seq_frames
        silence = models.audio.silence(warmup_rows(options.motion, window, stream.ahead))
        return OnlineMotion(
            *common, silence, self._stitch.set_reference, window=window, block=stream.step, ahead=stream.ahead
        )

    def _make_stitch(self, character: Character) -> MotionStitch:
        models, options = self._models, self.options
        rng = random.Random(options.seed)
        scale = character.scale if character.is_reference else None
        intervals = models.blink_intervals and partial(_intervals, models.blink_intervals, options.seed)
        stitch = replace(options.stitch, overall_ctrl_info=self._overall)
        if self._must_stay():
            stitch = replace(stitch, use_d_keys=("exp",))
        return MotionStitch(self.avatar, stitch, models.space, rng, models.stitch, scale, intervals)

    def _must_stay(self) -> bool:
        """Whether a picture's head must stay where it is, for what is drawn around it does not move along."""
        if not self.avatar.is_image or self.options.stitch.use_d_keys is not None:
            return False
        region = self.options.blend.region
        if region not in ("auto", "crop"):
            LOG.warning("region is '%s': the head of a picture stays still, only its face moves", region)
        fixed_edge = self.avatar.alpha is not None and self._models.move_alpha is None
        if fixed_edge:
            LOG.warning("alpha: this pack cannot move transparency, so the head of a picture stays still")
        return region not in ("auto", "crop") or fixed_edge


class _OnFirstUse:
    """A stage that is made when its first item comes: by then everything has been said about the run."""

    def __init__(self, make: Callable[[], Callable[[Frame], Frame]]):
        self._make, self._stage = make, None

    def __call__(self, frame: Frame) -> Frame:
        if self._stage is None:
            self._stage = self._make()
        return self._stage(frame)


def _intervals(draw: Any, seed: int, frames: int) -> list[int]:
    """The blinks of a seed, the same however often they are asked for."""
    return draw(random.Random(seed), frames)
