"""Generated motion + source motion -> source and driving keypoints of each frame (spec pipeline.md 13)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.atomic_components.blinks import BlinkClock, blink_rows
from core.atomic_components.eyes import Lids, turn_eyes
from core.atomic_components.pose import ANGLES, Mix, Pose, expression_masks
from core.avatars.avatar import Avatar, Frame
from core.errors import InputError
from core.interfaces import StitchNetwork
from core.motion import (
    EXP,
    KP_DIM,
    SCALE,
    SLICES,
    TRANSLATION,
    Motion,
    MotionSpace,
    place_keypoints,
    rotation_matrix,
)
from core.settings.controls import Controls, build_controls, check_controls, mentions
from core.settings.options import StitchOptions

_EASE = 3  # frames in which the lips come to rest and wake up again
_UNKNOWN_LENGTH = 3000  # frames of blinks prepared while the length of the audio is not known


@dataclass(frozen=True)
class _Source:
    """What is needed of a source frame: pose, that with resting lips, angles (3,), kp (1, 63), x_s (1, 21, 3)."""

    pose: Pose
    rest: Pose
    angles: np.ndarray
    kp: np.ndarray
    x_s: np.ndarray


class MotionStitch:
    """Lays generated motion over one avatar, frame by frame and in order."""

    def __init__(
        self,
        avatar: Avatar,
        options: StitchOptions,
        space: MotionSpace,
        rng: random.Random,
        network: StitchNetwork | None = None,
        character_scale: float | None = None,
        blink_intervals: Callable[[int], list[int]] | None = None,
    ):
        """Prepare for one run.

        Args:
            rng: draws the times of random blinks.
            network: the pack's stitching network; None leaves x_d as it is.
            character_scale: real scale of the reference character the motion was made for; None: the avatar's own.
            blink_intervals: frames -> the times of random blinks that suit the pack; None: evenly spread (spec 13.5).

        Raises InputError for unknown parts, fade types or blink offsets of the wrong shape.
        """
        self._avatar, self._options, self._space, self._rng = avatar, options, space, rng
        self._blink_intervals = blink_intervals
        self._network = network if options.flag_stitching else None
        ratio = 1.0 if character_scale is None else character_scale / float(avatar.motion.scale[0, 0])
        self._mix = Mix.plan(options.use_d_keys, avatar.is_image, ratio)
        self._drive_eye = avatar.is_image if options.drive_eye is None else options.drive_eye
        self._blink = _blink_array(avatar, options)
        self._masks = expression_masks(space, self._drive_eye, self._blink is not None)
        _check_words(options)
        self._overall = check_controls(dict(options.overall_ctrl_info), "overall_ctrl_info")
        self._follow = space.gaze and self._drive_eye if options.gaze_follow is None else options.gaze_follow
        self._lids = None if self._blink is None else Lids(self._blink)
        self._eye_mask, self._lip_mask, self._added = space.eye_mask(), space.lip_mask(), space.added_mask()
        self._vad_mask = self._lip_mask if options.vad_parts == "lip" else np.ones(KP_DIM, np.float32)
        self._source = self._describe(0)
        self._source_index = 0
        self._reference: np.ndarray | None = None
        self._fade_target: Pose | None = None
        self._rest_end, self._awake = 0, 1.0
        self._controls: Mapping[int, dict[str, Any]] = {}
        self._blinks: list[int] = []
        self._clock: BlinkClock | None = None
        self._n = -1
        self._set_length(_UNKNOWN_LENGTH)
        self._check_eyes()

    def setup_nd(
        self,
        n: int,
        fade_in: int = -1,
        fade_out: int = -1,
        ctrl_info: Mapping[int, Controls] | Sequence[Controls] | None = None,
    ) -> None:
        """Say how many frames there will be, and how they are controlled. See `controls.build_controls`."""
        self._controls, self._n = build_controls(n, fade_in, fade_out, ctrl_info), n
        self._check_eyes()
        if n > 0 and n != len(self._blinks):
            self._set_length(n)

    def moves_head(self) -> bool:
        """Whether the head may be elsewhere than in the source."""
        names = [f"{kind}_{name}" for kind in ("delta", "alpha", "amp") for name in ANGLES]
        asked = any(name in self._overall or mentions(self._controls, (name,)) for name in names)
        return asked or not self._mix.keeps_pose()

    def set_reference(self, motion: Motion) -> None:
        """The generated frame that relative motion is measured from; without it, the first one to come."""
        if self._options.relative_d:
            self._reference = Pose.of(motion).vector

    def rest_until(self, index: int) -> None:
        """Ease the lips to rest from the next frame on and keep them there up to frame `index`; from any thread."""
        self._rest_end = index

    def __call__(self, frame: Frame) -> Frame:
        """Replace `motion` by `x_s` and `x_d`."""
        source = self._source_of(frame.source)
        controls = {**self._overall, **self._controls.get(frame.index, {})}
        driving = Pose.of(frame.motion)
        if self._options.relative_d and self._reference is None:
            self._reference = driving.vector
        pose = self._mix.apply(driving, source.rest, self._reference)
        row = self._blink_row(frame.index, controls)
        self._set_expression(pose, source.pose, row)
        controls["vad_alpha"] = min(controls.get("vad_alpha", frame.voice), self._wakefulness(frame.index))
        self._apply_controls(pose, source, controls)
        if "eye_open" in controls:
            self._lids.set(pose.exp, controls["eye_open"], row, self._eye_mask)
        self._fade(pose, source.pose, controls)
        angles = pose.angles()
        look = controls.get("gaze_x", 0.0), controls.get("gaze_y", 0.0)
        if self._follow or any(look):
            turn_eyes(pose.exp, self._space, self._follow, angles, source.angles, *look)
        x_d = self._place(pose, angles, source.kp)
        if self._network is not None:
            x_d = self._network(source.x_s, x_d)
        return replace(frame, motion=None, x_s=source.x_s, x_d=x_d)

    def _check_eyes(self) -> None:
        """Raises InputError when lids are to be controlled that cannot be moved; starts blinks at a rate."""
        asked = [n for n in ("eye_open", "blink_rate") if n in self._overall or mentions(self._controls, (n,))]
        if asked and self._blink is None:
            raise InputError(f"{asked[0]} needs to know how lids move, and this pack does not say; give delta_eye_arr")
        self._clock = BlinkClock(len(self._blink), self._rng) if "blink_rate" in asked else None

    def _wakefulness(self, index: int) -> float:
        """0 .. 1 for this frame, in steps of 1 / _EASE: see rest_until."""
        step = -1 / _EASE if index < self._rest_end else 1 / _EASE
        self._awake = min(1.0, max(0.0, self._awake + step))
        return self._awake

    def _set_length(self, n: int) -> None:
        if self._blink is None:
            return
        spacing = self._options.delta_eye_open_n
        if self._blink_intervals is not None and not isinstance(spacing, (list, tuple)) and spacing == 0:
            spacing = self._blink_intervals(n)
        self._blinks = blink_rows(n, len(self._blink), spacing, self._rng)

    def _source_of(self, index: int) -> _Source:
        if index != self._source_index:
            self._source, self._source_index = self._describe(index), index
        return self._source

    def _describe(self, index: int) -> _Source:
        motion = self._avatar.motion[index]
        pose = Pose.of(motion)
        angles = pose.angles()
        return _Source(pose, self._at_rest(pose), angles, motion.kp, self._place(pose, angles, motion.kp))

    def _at_rest(self, pose: Pose) -> Pose:
        """The pose that speech is added to: the source's own, with the neutral lips of the avatar if it has some."""
        if self._avatar.lips is None:
            return pose
        rest = pose.copy()
        rest.exp[:] += self._lip_mask * (self._avatar.lips - rest.exp)
        return rest

    def _place(self, pose: Pose, angles: np.ndarray, kp: np.ndarray) -> np.ndarray:
        rotation = rotation_matrix(*angles)
        vector = pose.vector[None]
        return place_keypoints(
            kp, vector[:, EXP], rotation, vector[:, SCALE], vector[:, TRANSLATION], self._space.exp_canonical
        )

    def _blink_row(self, index: int, controls: Controls) -> int:
        """Row of the blink array for this frame."""
        if self._clock is not None and "blink_rate" in controls:
            return self._clock(controls["blink_rate"], self._n - index if self._n > 0 else None)
        return self._blinks[index % len(self._blinks)] if self._blinks else 0

    def _set_expression(self, pose: Pose, source: Pose, row: int) -> None:
        """Lips (and eyes) from the mix, the rest from the source, blinks on the eyes (spec 13.4)."""
        driven, kept, blinking = self._masks
        added = self._added if self._lids is None else self._added * self._lids.open_share(row, self._eye_mask)
        exp = pose.exp * np.maximum(driven, added) + source.exp * kept
        if self._clock is not None:  # asked for, also in a video
            exp += self._blink[row] * self._eye_mask
        elif self._blinks:
            exp += self._blink[row] * blinking
        pose.exp[:] = exp

    def _apply_controls(self, pose: Pose, source: _Source, controls: Controls) -> None:
        """amp_*, vad_alpha, delta_* and alpha_* (spec 13.7); angles in degrees."""
        still = source.rest.exp * (1 - self._lip_mask) if self._space.closed else source.rest.exp
        if controls.get("amp_exp", 1) != 1:
            pose.exp[:] += (controls["amp_exp"] - 1) * self._lip_mask * (pose.exp - still)
        if controls["vad_alpha"] < 1:
            pose.exp[:] += (1 - controls["vad_alpha"]) * self._vad_mask * (still - pose.exp)
        for name, own, gain in zip(ANGLES, source.angles, self._space.turn_gain, strict=True):
            size, delta, factor = (controls.get(f"{kind}_{name}") for kind in ("amp", "delta", "alpha"))
            if size is not None:
                pose.degrees[name] = own + size * (pose.angle(name) - own)
            if delta is not None or factor is not None:
                pose.degrees[name] = (pose.angle(name) + gain * (delta or 0)) * (1 if factor is None else factor)
        sizes = [controls.get(f"amp_{name}", 1) for name in ANGLES]
        if any(size != 1 for size in sizes):  # a neck carries the head along
            t, at_rest = pose.vector[TRANSLATION], source.pose.vector[TRANSLATION]
            t += (np.mean(sizes) - 1) * (t - at_rest)
        if "delta_exp" in controls:
            pose.exp[:] += np.asarray(controls["delta_exp"], np.float32).reshape(-1)

    def _fade(self, pose: Pose, source: Pose, controls: Controls) -> None:
        """Blend parts of the motion towards the first frame or the source (spec 13.6)."""
        kind = self._options.fade_type
        if kind == "d0" and self._fade_target is None:
            self._fade_target = pose.copy()
        if not kind or "fade_alpha" not in controls:
            return
        target = self._fade_target if kind == "d0" else source
        keys = controls.get("fade_out_keys", self._options.fade_out_keys)
        share = controls["fade_alpha"]
        for name in SLICES if keys is None else keys:
            if name in pose.degrees or name in target.degrees:
                pose.degrees[name] = share * pose.angle(name) + (1 - share) * target.angle(name)
            elif name in SLICES:
                part = pose.vector[SLICES[name]]
                part[:] = share * part + (1 - share) * target.vector[SLICES[name]]


def _check_words(options: StitchOptions) -> None:
    if options.fade_type not in ("", "d0", "s"):
        raise InputError(f"fade_type is '{options.fade_type}'; use '', 'd0' (first frame) or 's' (source)")
    if options.vad_parts not in ("lip", "all"):
        raise InputError(f"vad_parts is '{options.vad_parts}'; use 'lip' or 'all'")


def _blink_array(avatar: Avatar, options: StitchOptions) -> np.ndarray | None:
    """(m, 63) blink offsets: the run's own, or those made for this face."""
    rows = avatar.delta_eye_arr if options.delta_eye_arr is None else np.asarray(options.delta_eye_arr, np.float32)
    if rows is not None and (rows.ndim != 2 or rows.shape[1] != KP_DIM or not len(rows)):
        raise InputError(f"delta_eye_arr has shape {rows.shape}; it must be (frames of a blink, 63)")
    return rows
