"""Last stage: finished frames into the video file. Spec section 15."""

from __future__ import annotations

from core.avatars.avatar import Frame
from core.media import PictureWriter, VideoWriter
from core.pipeline import Stage


class Writer:
    """Writes each frame's image, in order, and counts them."""

    def __init__(self, video: VideoWriter | PictureWriter):
        self.video = video

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return self.video.frames

    def __call__(self, frame: Frame) -> None:
        """Takes a Frame with `image`. Raises OutputError when the disk refuses."""
        if frame.index != self.video.frames:
            raise ValueError(f"frame {frame.index} came where {self.video.frames} was due")
        self.video.write(frame.image)

    def stage(self) -> Stage:
        """The pipeline stage: closes the file at the end, removes it when the run fails."""
        return Stage("writer", self, finish=self.video.close, abort=self.video.abort)
