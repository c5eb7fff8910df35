"""The two stages that render, one frame after the other or several at once, as the pack can (spec pipeline.md 14.1)."""

from __future__ import annotations

from core.atomic_components.decode_f3d import DecodeBatchF3D, DecodeF3D
from core.atomic_components.matte import Matte
from core.atomic_components.warp_f3d import WarpBatchF3D, WarpF3D
from core.avatars.avatar import Avatar
from core.interfaces import Models
from core.pipeline import Stage


def render_stages(models: Models, avatar: Avatar) -> list[Stage]:
    """Frames with keypoints -> frames with faces.

    Batches hold what waits at the moment, so that no frame is held back: one frame in a live stream that keeps up, up
    to `models.batch.size` in a file.
    """
    batch = models.batch
    if batch is None:
        opaque = avatar.alpha is None or models.move_alpha is None
        return [
            Stage("warp_f3d", WarpF3D(models.warp, avatar)),
            *([] if opaque else [Stage("matte", Matte(models.move_alpha, avatar))]),
            Stage("decode_f3d", DecodeF3D(models.decode)),
        ]
    return [
        Stage("warp_f3d", WarpBatchF3D(batch.warp, avatar), batch=batch.size),
        Stage("decode_f3d", DecodeBatchF3D(batch.decode), size=len),
    ]
