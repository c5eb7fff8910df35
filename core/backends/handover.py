"""Passing arrays between two sessions of one GPU without a copy to host memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.backends.session import CheckedSession


def on_gpu(session: CheckedSession) -> bool:
    """Whether an ONNX or TensorRT session runs on a GPU."""
    device = getattr(session, "device", None)
    return isinstance(device, tuple) and device[0] == "cuda"


def share_gpu(first: CheckedSession, second: CheckedSession) -> bool:
    """Whether what one leaves on its device can be an input of the other, and that device is a GPU."""
    return type(first) is type(second) and on_gpu(first) and first.device == second.device


class LastUpload:
    """Uploads an array to a session's device, unless it is the one that was uploaded last. For several threads."""

    def __init__(self, session: Any):
        self._session = session
        self._kept: tuple[Any, Any] | None = None  # array and upload; replaced as a whole

    def __call__(self, array: np.ndarray) -> Any:
        """The array on the device. It must not be changed in place between calls."""
        kept = self._kept
        if kept is None or kept[0] is not array:
            kept = array, self._session.upload(array)
            self._kept = kept
        return kept[1]
