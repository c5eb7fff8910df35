"""Options that cannot be meant together, and those of one kind of run that another would ignore."""

from __future__ import annotations

from collections.abc import Collection

from core.errors import InputError
from core.media.encoders import ENCODERS
from core.motion import FPS
from core.settings.options import RunOptions


def check_conflicts(options: RunOptions, given: Collection[str] = ()) -> None:
    """Raises InputError with the reason and the way out. `given`: names of the options that the caller has set."""
    blend, source, writer = options.blend, options.source, options.writer
    if "blend_alpha" in given and blend.blend_mode != "custom":
        raise InputError(
            f"blend_alpha is {blend.blend_alpha}, but blend_mode is '{blend.blend_mode}', which has a share of its own "
            "of the rendered face; add --blend_mode custom, or leave blend_alpha out"
        )
    if blend.blend_mode == "custom" and "blend_mode" in given and "blend_alpha" not in given:
        raise InputError("blend_mode is 'custom'; add --blend_alpha, the share of the rendered face from 0 to 1")
    if blend.region not in ("auto", "crop") and blend.blend_legacy:
        raise InputError(f"region is '{blend.region}', but blend_legacy knows only the crop; leave out one of them")
    if source.motion_legacy and not source.motion_frames:
        raise InputError("motion_legacy changes what motion_frames does; give motion_frames too, or leave it out")
    if writer.encoder not in ENCODERS:
        raise InputError(f"encoder is '{writer.encoder}'; use one of {', '.join(ENCODERS)}")
    if source.alpha and "encoder" in given:
        raise InputError(f"encoder is '{writer.encoder}', but with alpha the name of the output decides; leave one out")
    if options.online_mode and writer.fps != FPS:
        raise InputError(f"fps is {writer.fps:g}; online mode makes {FPS} frames per second; leave out one of them")
    if options.online_mode and source.loop == "once":
        raise InputError("loop is 'once', but nobody knows how long live speech lasts; use mirror, loop or hold")


def check_live(options: RunOptions) -> None:
    """Raises InputError for what only a run into a file of its own can do."""
    if options.writer.fps != FPS:
        raise InputError(f"fps is {options.writer.fps:g}; only run() makes other rates than {FPS}")
    if options.source.alpha:
        raise InputError("alpha is for run(), which chooses a file that can hold it; leave it out here")
