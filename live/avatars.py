"""Avatars of the server: registered once, found again after a restart, a few kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.avatars.avatar import Avatar
from core.errors import DittoError
from live.faults import Fault, missing, unusable
from live.settings import EXAMPLE, Settings
from live.state import Shelf, read_json, write_json
from live.uploads import check_source

BUILT_IN = "example"
IN_MEMORY = 8
_FRAMES = 500  # of a video: 20 s, then it turns round
_SOURCE, _NOTE = "source", "avatar.json"


class Avatars:
    """All methods but `add` block; they are for worker threads."""

    def __init__(self, sdk: Any, settings: Settings):
        self._sdk, self._settings = sdk, settings
        self._shelf = Shelf(settings.state / "avatars")
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, Avatar] = OrderedDict()

    async def add(self, save: Callable[[Path], Awaitable[None]], run: Callable[..., Awaitable[Any]]) -> dict[str, Any]:
        """Register what `save` writes; `run` runs a function in a thread. Raises Fault."""
        if len(self._shelf.names()) >= self._settings.limits.avatars:
            raise Fault(507, "no_room", "no more avatars are kept here; delete one first")
        with self._shelf.fresh() as (name, folder):
            await save(folder / _SOURCE)
            note = await run(self._register, name, folder)
        return note

    def get(self, name: str) -> Avatar:
        """A registered avatar, ready for sessions. Raises Fault."""
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return self._loaded[name]
        avatar = self._analysed(self.source(name))
        return self._keep(name, avatar)

    def source(self, name: str) -> Path:
        """Its picture or video. Raises Fault."""
        if name == BUILT_IN and EXAMPLE.is_file():
            return EXAMPLE
        folder = self._shelf.find(name)
        if folder is None:
            raise missing("avatar")
        return folder / _SOURCE

    def note(self, name: str) -> dict[str, Any]:
        """What is known about it. Raises Fault."""
        folder = self._shelf.find(name)
        note = folder and read_json(folder / _NOTE)
        if not note:
            raise missing("avatar")
        return note

    def picture(self, name: str) -> bytes:
        """Its first frame as JPEG. Raises Fault."""
        rgb = self.get(name).frames[0]
        return cv2.imencode(".jpg", np.ascontiguousarray(rgb[:, :, ::-1]))[1].tobytes()

    def remove(self, name: str) -> None:
        """Forget it; sessions that show it go on. Raises Fault."""
        if not self._shelf.remove(name):
            raise missing("avatar")
        with self._lock:
            self._loaded.pop(name, None)

    def _register(self, name: str, folder: Path) -> dict[str, Any]:
        kind = check_source(folder / _SOURCE, self._settings.limits)
        avatar = self._analysed(folder / _SOURCE)
        height, width = avatar.frames[0].shape[:2]
        note = {"id": name, "kind": kind, "width": width, "height": height}
        write_json(folder / _NOTE, note)
        if kind == "picture":  # a video is read from its file, which still moves to its place
            self._keep(name, avatar)
        return note

    def _analysed(self, path: Path) -> Avatar:
        chosen = self._sdk.options(online_mode=True, max_size=self._settings.max_size, template_n_frames=_FRAMES)
        try:
            return self._sdk.register(path, chosen)
        except DittoError as error:
            raise unusable(error, path) from None

    def _keep(self, name: str, avatar: Avatar) -> Avatar:
        with self._lock:
            self._loaded[name] = avatar
            while len(self._loaded) > IN_MEMORY:
                self._loaded.popitem(last=False)
        return avatar
