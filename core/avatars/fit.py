"""A registered source and the run that it is used for are made to fit each other."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from core.avatars.avatar import Avatar
from core.errors import InputError
from core.motion import SAMPLE_RATE, frame_rate
from core.settings.options import RunOptions


def refitted(avatar: Avatar, options: RunOptions) -> Avatar:
    """The avatar at the rate and with the end of this run.

    Raises InputError for a video that was registered at another rate, and for a picture that is to be shown once.
    """
    rate = frame_rate(options.writer.fps)
    if avatar.is_image:
        if options.source.loop == "once":
            raise InputError("loop is 'once', and this avatar is a picture, which has no end; leave it out")
        return replace(avatar, rate=rate)
    if avatar.rate != rate:
        raise InputError(
            f"fps is {options.writer.fps:g}, but this video was registered for {float(avatar.rate):g}; register it anew"
        )
    return replace(avatar, loop=options.source.loop)


def fit_speech(samples: np.ndarray, avatar: Avatar) -> np.ndarray:
    """Speech (L,) at 16 kHz cut off at the end of the source, or followed by silence up to there."""
    length = round(Fraction(len(avatar) * SAMPLE_RATE) / avatar.rate)
    return np.pad(samples[:length], (0, max(length - len(samples), 0)))
