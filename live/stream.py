"""WS /stream: PCM and control messages in, pictures with their sound out. Message by message in docs/live.md."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState

from core.errors import DittoError
from core.motion import FPS, SAMPLE_RATE
from live.bridge import TooSlow
from live.faults import Fault
from live.frames import HEADER, make_frames
from live.guard import bearer, knows_token
from live.messages import Start, parse
from live.metrics import Metrics
from live.sessions import Sessions
from live.settings import Settings
from live.talk import Talk

LOG = logging.getLogger(__name__)
CLOSE_BAD, CLOSE_BROKEN, CLOSE_FULL = 1008, 1011, 1013  # RFC 6455: policy, internal error, try again later
STATS_EVERY = 1.0  # seconds
SEND_SECONDS = 5.0  # within which a client must take a message


class Stream:
    """One WebSocket, already accepted."""

    def __init__(self, ws: WebSocket, sessions: Sessions, settings: Settings, metrics: Metrics):
        self._ws, self._sessions, self._settings, self._metrics = ws, sessions, settings, metrics
        self._bad = 0

    async def run(self) -> None:
        """From the first message to the last; the socket is closed in the end."""
        try:
            if self._sessions.is_full:
                raise Fault(503, "full", "all sessions are in use; try again in 10 s", 10)
            start = await self._first()
            async with self._sessions.open(start, "websocket") as (talk, size):
                await self._talk(talk, start, size)
            await self._ws.close(1000)
        except Fault as fault:
            self._metrics.refused.labels(fault.code).inc()
            await self._end(CLOSE_FULL if fault.status == 503 else CLOSE_BAD, fault)
        except TooSlow as error:
            await self._end(CLOSE_BAD, Fault(408, "too_slow", str(error)))
        except TimeoutError:
            await self._end(CLOSE_BAD, Fault(408, "too_slow", f"nothing was taken for {SEND_SECONDS:g} s"))
        except WebSocketDisconnect as error:
            LOG.debug("a client has gone: %r", error)
        except Exception as error:  # one session must not take the server with it
            if self._gone:
                LOG.debug("a client has gone: %r", error)
                return
            LOG.error("a session failed: %s", error, exc_info=not isinstance(error, DittoError))
            await self._end(CLOSE_BROKEN, Fault(500, "failed", "the session failed; see the server's log"))

    @property
    def _gone(self) -> bool:
        """Whether nothing can be sent any more."""
        return WebSocketState.DISCONNECTED in (self._ws.client_state, self._ws.application_state)

    async def _first(self) -> Start:
        """The message that starts the session. Raises Fault."""
        try:
            message = await asyncio.wait_for(self._ws.receive(), self._settings.limits.start_seconds)
        except TimeoutError:
            raise Fault(408, "no_start", "the first message, start, did not come") from None
        _check_connected(message)
        start = parse(message.get("text") or "")
        if not isinstance(start, Start):
            raise Fault(400, "bad_message", "the first message must be start")
        token = self._settings.token
        if not knows_token(start.token, token) and not knows_token(bearer(self._ws.headers), token):
            raise Fault(401, "no_token", "send the server's token in start, or as Authorization: Bearer TOKEN")
        return start

    async def _talk(self, talk: Talk, start: Start, size: tuple[int, int]) -> None:
        """Until one side ends."""
        await self._ws.send_json(
            {
                "type": "started",
                "session": talk.name,
                "width": size[1],
                "height": size[0],
                "fps": FPS,
                "sample_rate": SAMPLE_RATE,
                "format": start.format,
                "header_bytes": HEADER.size,
            }
        )
        jobs = [self._listen(talk), self._show(talk, start, size), self._report(talk)]
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, talk: Talk) -> None:
        """Messages of the client."""
        while True:
            message = await self._ws.receive()
            _check_connected(message)
            try:
                sound = message.get("bytes")
                answer = talk.hear(sound) if sound is not None else await talk.control(parse(message.get("text") or ""))
            except Fault as fault:
                self._bad += 1
                self._metrics.bad_messages.inc()
                if self._bad > self._settings.limits.bad_messages:
                    raise Fault(400, "bad_messages", f"too many bad messages, the last: {fault}") from None
                answer = {"type": "error", **fault.body()}
            if answer is not None:
                await self._send(answer)

    async def _show(self, talk: Talk, start: Start, size: tuple[int, int]) -> None:
        """Every moment, as it comes."""
        frames = make_frames(start.format, size, start.quality)
        try:
            async for moment in talk:
                for message in await asyncio.to_thread(frames.encode, moment):
                    await self._send(message)
                for message in talk.sent(moment):
                    if message["on"] and talk.delay is not None:
                        self._metrics.delay.observe(talk.delay)
                    await self._send(message)
                self._metrics.frames.inc()
        finally:
            await asyncio.shield(asyncio.to_thread(frames.close))

    async def _report(self, talk: Talk) -> None:
        """Figures every second, and texts that could not be spoken."""
        while True:
            await asyncio.sleep(STATS_EVERY)
            while talk.problems:
                await self._send({"type": "error", "code": "unspoken", "message": talk.problems.pop(0)})
            await self._send(talk.stats())

    async def _send(self, message: bytes | dict[str, Any]) -> None:
        sending = self._ws.send_bytes(message) if isinstance(message, bytes) else self._ws.send_json(message)
        await asyncio.wait_for(sending, SEND_SECONDS)

    async def _end(self, code: int, fault: Fault) -> None:
        """Say why, then close. The client may have gone."""
        try:
            await asyncio.wait_for(self._ws.send_json({"type": "error", **fault.body()}), 1.0)
            await asyncio.wait_for(self._ws.close(code, str(fault)[:120]), 1.0)
        except (WebSocketDisconnect, RuntimeError, TimeoutError) as error:
            LOG.debug("a client has gone: %r", error)


def _check_connected(message: dict[str, Any]) -> None:
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
