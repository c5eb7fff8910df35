"""A conversation for asyncio: frames arrive in the event loop, and a slow reader loses pictures but never sound."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import replace

import numpy as np

from core.motion import FPS
from core.streaming.conversation import Conversation, Moment

MAX_PICTURES = 6  # finished pictures that may wait for a slow reader
MAX_BEHIND = 10.0  # seconds of sound that may wait before the reader is given up


class TooSlow(RuntimeError):
    """The reader did not take what it asked for."""


class AsyncConversation:
    """`async for moment in ...`; a moment whose picture had to be dropped has `image` None.

    Made in a running event loop. speaking and interrupting never block it.
    """

    def __init__(self, conversation: Conversation):
        self._conversation = conversation
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._moments: deque[Moment] = deque()
        self._error: BaseException | None = None
        self._ended = False
        self.dropped = 0  # pictures that a slow reader has lost
        self._thread = threading.Thread(target=self._read, name="conversation-reader", daemon=True)
        self._thread.start()

    @property
    def conversation(self) -> Conversation:
        """The conversation behind it, for its statistics."""
        return self._conversation

    def say(self, samples: np.ndarray) -> None:
        """See `Conversation.say`."""
        self._conversation.say(samples)

    async def interrupt(self) -> None:
        """See `Conversation.interrupt`; what waits for the reader is silenced too."""
        self._moments = deque(replace(m, sound=np.zeros_like(m.sound), speaking=False) for m in self._moments)
        await asyncio.to_thread(self._conversation.interrupt)

    def __aiter__(self) -> AsyncConversation:
        return self

    async def __anext__(self) -> Moment:
        """The next frame. Raises what a stage raised, or TooSlow."""
        while not self._moments:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._moments.popleft()

    async def aclose(self) -> None:
        """Stop everything; may be repeated."""
        await asyncio.to_thread(self._conversation.close)
        await asyncio.to_thread(self._thread.join, 2.0)

    async def __aenter__(self) -> AsyncConversation:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _read(self) -> None:
        """Body of the reading thread."""
        error = None
        try:
            for moment in self._conversation:
                self._call(self._deliver, moment)
        except BaseException as caught:
            error = caught
        self._call(self._end, error)

    def _call(self, function, argument) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:  # the loop is gone, and with it the reader
            self._conversation.close()

    def _deliver(self, moment: Moment) -> None:
        self._moments.append(moment)
        if len(self._moments) > MAX_BEHIND * FPS:
            self._moments.clear()
            self._end(TooSlow(f"the reader is more than {MAX_BEHIND:g} s behind"))
            threading.Thread(target=self._conversation.close, daemon=True).start()
        elif len(self._moments) > MAX_PICTURES and self._moments[-1 - MAX_PICTURES].image is not None:
            self._moments[-1 - MAX_PICTURES] = replace(self._moments[-1 - MAX_PICTURES], image=None)
            self.dropped += 1
        self._arrived.set()

    def _end(self, error: BaseException | None) -> None:
        self._error = self._error or error
        self._ended = True
        self._arrived.set()
