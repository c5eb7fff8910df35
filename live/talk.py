"""One client's session: control messages and PCM go in, moments come out. The same for every transport."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from core.errors import InputError
from core.media.spoken_text import installed_voices, speak
from core.motion import SAMPLE_RATE
from core.streaming.conversation import Moment
from live.bridge import AsyncConversation
from live.faults import Fault
from live.intake import Intake
from live.messages import Control, End, Interrupt, Ping, Say, Start
from live.pcm import PcmFeed

PAUSE = 0.2  # seconds without sound after which a turn is taken to be over
SAYING = 4  # texts of a session that may be on their way to the synthesiser
_FPS_SPAN = 2.0  # seconds over which pictures are counted


class Talk:
    """Made in a running event loop; `async for moment in talk`."""

    def __init__(self, live: AsyncConversation, name: str):
        self.name = name
        self._live = live
        self._pcm, self._intake = PcmFeed(), Intake(live.say)
        self._says: set[asyncio.Task] = set()
        self._say_order = asyncio.Lock()
        self._turn_began: float | None = None
        self._speaking = False
        self._pause: asyncio.TimerHandle | None = None
        self._shown: list[float] = []
        self.problems: list[str] = []  # of texts that could not be spoken, to be told to the client
        self.delay: float | None = None  # seconds from the first sound of the last turn to its first frame

    def hear(self, pcm: bytes, rate: int = SAMPLE_RATE, channels: int = 1, live: bool = False) -> None:
        """More speech, see `PcmFeed.feed`; `live`: see `Intake.feed`. Raises Fault."""
        try:
            samples = self._pcm.feed(pcm, rate, channels)
            if len(samples):
                self._mark()
                self._intake.feed(samples, live)
        except InputError as error:
            raise Fault(400, "bad_sound", str(error)) from None
        self._wait_for_more()

    async def control(self, message: Control) -> dict[str, Any] | None:
        """Act on a message; returns the answer, if there is one. Raises Fault."""
        if isinstance(message, Ping):
            return {"type": "pong", "id": message.id}
        if isinstance(message, Interrupt):
            await self.interrupt()
            return {"type": "interrupted"}
        if isinstance(message, End):
            self._finish_turn()
        elif isinstance(message, Say):
            self._start_saying(message)
        elif isinstance(message, Start):
            raise Fault(400, "bad_message", "the session has started already")
        return None

    async def interrupt(self) -> None:
        """Drop all speech that was not heard, also what the synthesiser still works on."""
        for task in self._says:
            task.cancel()
        self._pcm.reset()
        self._intake.reset()
        self._turn_began = None
        await self._live.interrupt()

    def stats(self) -> dict[str, Any]:
        """The message `stats`."""
        talk = self._live.conversation
        now = time.monotonic()
        self._shown = [when for when in self._shown if now - when < _FPS_SPAN]
        return {
            "type": "stats",
            "fps": round(len(self._shown) / _FPS_SPAN, 1),
            "delay_ms": None if self.delay is None else round(1000 * self.delay),
            "waiting_ms": round(1000 * talk.waiting),
            "dropped": self._live.dropped,
            "underruns": talk.stats.underruns,
            "interrupts": talk.stats.interrupts,
        }

    def sent(self, moment: Moment) -> list[dict[str, Any]]:
        """A moment has left; returns the messages that its speech begins or is over."""
        now = time.monotonic()
        if moment.image is not None:
            self._shown.append(now)
            if len(self._shown) > 1000:
                del self._shown[:500]
        if moment.speaking == self._speaking:
            return []
        self._speaking = moment.speaking
        if moment.speaking and self._turn_began is not None:
            self.delay = now - self._turn_began
        if not moment.speaking and self._live.conversation.waiting == 0 and not self._intake.holding:
            self._turn_began = None
        return [{"type": "speaking", "on": moment.speaking, "index": moment.index}]

    async def aclose(self) -> None:
        """Stop everything; may be repeated."""
        for task in self._says:
            task.cancel()
        if self._pause is not None:
            self._pause.cancel()
        await self._live.aclose()

    def __aiter__(self) -> Talk:
        return self

    async def __anext__(self) -> Moment:
        return await self._live.__anext__()

    def _mark(self) -> None:
        if self._turn_began is None:
            self._turn_began = time.monotonic()

    def _wait_for_more(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._pause = asyncio.get_running_loop().call_later(PAUSE, self._flush_quietly)

    def _flush_quietly(self) -> None:
        try:
            self._intake.flush()
        except InputError:  # the queue is full, which the client has been told already
            self._intake.reset()

    def _finish_turn(self) -> None:
        try:
            self._intake.feed(self._pcm.flush())
            self._intake.flush()
        except InputError as error:
            raise Fault(400, "bad_sound", str(error)) from None

    def _start_saying(self, message: Say) -> None:
        if len(self._says) >= SAYING:
            raise Fault(429, "too_many", f"{SAYING} texts are waiting to be spoken; wait for them")
        voices = {voice.name: voice for voice in installed_voices()}
        if message.voice is not None and message.voice not in voices:
            raise Fault(404, "not_found", "there is no such voice; GET /voices lists them")
        if not voices:
            raise Fault(501, "no_voice", "no speech synthesiser is installed here (flite or espeak-ng); send sound")
        task = asyncio.create_task(self._say(message.text, voices.get(message.voice)))
        self._says.add(task)
        task.add_done_callback(self._says.discard)

    async def _say(self, text: str, voice: Any) -> None:
        async with self._say_order:
            try:
                samples = await asyncio.to_thread(speak, text, voice)
                self._mark()
                self._live.say(samples)
            except InputError as error:
                self.problems.append(str(error))
