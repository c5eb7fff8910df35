"""Who is talking: a bounded number of sessions over one set of models."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core.errors import DittoError
from core.streaming.conversation import Conversation
from live.avatars import Avatars
from live.bridge import AsyncConversation
from live.faults import full, unusable
from live.messages import Choices
from live.metrics import Metrics
from live.settings import Settings, low_delay
from live.talk import Talk

LOG = logging.getLogger(__name__)


class Sessions:
    """Opens sessions and cleans up after them. For one event loop."""

    def __init__(self, sdk: Any, avatars: Avatars, settings: Settings, metrics: Metrics):
        self._sdk, self._avatars, self._metrics = sdk, avatars, metrics
        self._limit, self._step = settings.limits.sessions, settings.step
        self._open = 0
        metrics.capacity.set(self._limit)

    @property
    def count(self) -> int:
        """Sessions at the moment, those that are being opened included."""
        return self._open

    @property
    def is_full(self) -> bool:
        """Whether another one would be refused."""
        return self._open >= self._limit

    @asynccontextmanager
    async def open(self, choices: Choices, transport: str) -> AsyncIterator[tuple[Talk, tuple[int, int]]]:
        """A session and the (height, width) of its pictures. Raises Fault, at once when there is no room."""
        if self.is_full:
            raise full(f"all {self._limit} sessions are in use")
        self._open += 1
        self._metrics.sessions.set(self._open)
        try:
            avatar = await asyncio.to_thread(self._avatars.get, choices.avatar)
            talk = Talk(AsyncConversation(await self._start(avatar, choices)), secrets.token_hex(8))
            self._metrics.opened.labels(transport).inc()
            try:
                yield talk, avatar.frames[0].shape[:2]
            finally:
                await asyncio.shield(talk.aclose())
                self._count(talk)
        finally:
            self._open -= 1
            self._metrics.sessions.set(self._open)

    async def _start(self, avatar: Any, choices: Choices) -> Conversation:
        options = {**low_delay(self._sdk.config, self._step), "seed": choices.seed, "emo": choices.emotion}
        try:
            return await asyncio.to_thread(lambda: Conversation(self._sdk.session(avatar, **options)))
        except DittoError as error:
            raise unusable(error) from None

    def _count(self, talk: Talk) -> None:
        stats = talk.stats()
        self._metrics.dropped.inc(stats["dropped"])
        self._metrics.underruns.inc(stats["underruns"])
        self._metrics.interrupts.inc(stats["interrupts"])
