"""A result as numbered PNG pictures, with or without opacity."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from core.errors import OutputError
from core.media.output_place import make_place, remove_folders, temporary


class PictureWriter:
    """Writes frames to a pattern such as frames/frame_%05d.png, from number 0 on; has the methods of VideoWriter.

    The pictures are collected in a hidden folder beside the target and moved by close(). Raises OutputError.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], alpha: bool = False):
        self.path = Path(path)
        self.frames = 0
        self._shape = (*size, 4 if alpha else 3)
        self._created = make_place(self.path, alpha)
        self._folder: Path | None = temporary(self.path)
        self._folder.mkdir()

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame, (H, W, 3) RGB or (H, W, 4) RGBA, uint8."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.shape} {frame.dtype}, the pictures are {self._shape} uint8")
        code = cv2.COLOR_RGBA2BGRA if self._shape[2] == 4 else cv2.COLOR_RGB2BGR
        data = cv2.imencode(".png", cv2.cvtColor(frame, code), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        try:
            (self._folder / (self.path.name % self.frames)).write_bytes(data)
        except OSError as error:
            self.abort()
            raise OutputError(f"{self.path}: cannot write the pictures ({error.strerror or error})") from error
        self.frames += 1

    def close(self) -> None:
        """Moves the pictures into place."""
        if self._folder is None:
            return
        if not self.frames:
            self.abort()
            raise OutputError(f"{self.path}: no frames to write")
        moved = []
        try:
            for number in range(self.frames):
                target = self.path.parent / (self.path.name % number)
                os.replace(self._folder / target.name, target)
                moved.append(target)
        except OSError as error:
            for target in moved:
                target.unlink(missing_ok=True)
            self.abort()
            raise OutputError(f"{self.path}: cannot write the pictures ({error.strerror or error})") from error
        self._created = []
        self.abort()

    def remove(self) -> None:
        """Removes what close() has put into place."""
        for number in range(self.frames):
            (self.path.parent / (self.path.name % number)).unlink(missing_ok=True)

    def abort(self) -> None:
        """Gives up and removes what is there. No-op after close()."""
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            remove_folders(self._created)
