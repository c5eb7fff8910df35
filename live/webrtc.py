"""WebRTC: an offer is answered with a picture track and a sound track on one clock; a data channel carries control."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from contextlib import AsyncExitStack
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from core.errors import DittoError
from core.motion import FPS, SAMPLE_RATE
from core.streaming.conversation import Moment
from live.bridge import TooSlow
from live.faults import Fault, full
from live.messages import Choices, parse
from live.metrics import Metrics
from live.pacer import Pacer
from live.pcm import to_pcm
from live.sessions import Sessions
from live.settings import Settings
from live.talk import Talk

LOG = logging.getLogger(__name__)
_LONGEST = {"picture": 2, "sound": FPS}  # moments that may wait for a track
_WATCH = 1.0  # seconds between looks at a peer


class MomentTrack(MediaStreamTrack):
    """Pictures or sound of the moments that are put in. The oldest go when nobody takes them."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self._waiting: deque[av.VideoFrame | av.AudioFrame] = deque(
            maxlen=_LONGEST["picture" if kind == "video" else "sound"]
        )
        self._arrived = asyncio.Event()

    def put(self, frame: av.VideoFrame | av.AudioFrame) -> None:
        """The next one."""
        self._waiting.append(frame)
        self._arrived.set()

    async def recv(self) -> av.VideoFrame | av.AudioFrame:
        """See aiortc. Raises MediaStreamError after stop()."""
        while not self._waiting:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    def stop(self) -> None:
        """No more frames."""
        super().stop()
        self._arrived.set()


class Peer:
    """One connection with its session."""

    def __init__(self, sessions: Sessions, settings: Settings, metrics: Metrics):
        servers = [RTCIceServer(urls=url) for url in settings.ice_servers]
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._sessions, self._limits, self._metrics = sessions, settings.limits, metrics
        self._tracks = MomentTrack("video"), MomentTrack("audio")
        self._channel: Any = None
        self._bad = 0
        self._seen = time.monotonic()
        self._connected, self._over = asyncio.Event(), asyncio.Event()
        self._talk: Talk | None = None
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task] = []

    async def answer(self, sdp: str, choices: Choices) -> dict[str, str]:
        """Take an offer and start; `run` must follow. Raises Fault."""
        try:
            if self._sessions.is_full:
                raise full("all sessions are in use")
            await self._take(sdp)
            self._talk, _ = await self._stack.enter_async_context(self._sessions.open(choices, "webrtc"))
            await self._pc.setLocalDescription(await self._pc.createAnswer())
        except BaseException:
            await self.aclose()
            raise
        local = self._pc.localDescription
        return {"sdp": local.sdp, "type": local.type, "session": self._talk.name}

    async def _take(self, sdp: str) -> None:
        """The offer, and the tracks that it asks for. Raises Fault."""
        self._pc.on("track", self._on_track)
        self._pc.on("datachannel", self._on_channel)
        self._pc.on("connectionstatechange", self._on_state)
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            wanted = {transceiver.kind for transceiver in self._pc.getTransceivers()}
            tracks = [track for track in self._tracks if track.kind in wanted]
            for track in tracks:
                self._pc.addTrack(track)
        except Exception as error:  # aiortc's parser raises many classes for texts that are no offer
            LOG.info("an offer was refused: %r", error)
            tracks = []
        if not tracks:
            raise Fault(400, "bad_offer", "this is no WebRTC offer with a picture or sound to receive")

    async def run(self) -> None:
        """Until the peer goes, or shows no sign of life."""
        show, watch, over = (asyncio.create_task(job) for job in (self._show(), self._watch(), self._over.wait()))
        self._tasks += show, watch, over
        try:
            done, _ = await asyncio.wait([show, watch, over], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except TooSlow as error:
            LOG.info("a WebRTC session was given up: %s", error)
        except DittoError as error:
            LOG.error("a WebRTC session failed: %s", error)
        finally:
            await asyncio.shield(self.aclose())

    async def aclose(self) -> None:
        """Free everything; may be repeated."""
        for task in self._tasks:
            task.cancel()
        for track in self._tracks:
            track.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()
        await self._pc.close()

    async def _watch(self) -> None:
        """Figures every second; ends when the peer shows no sign of life."""
        started = time.monotonic()
        while True:
            await asyncio.sleep(_WATCH)
            now = time.monotonic()
            if not self._connected.is_set() and now - started > self._limits.start_seconds:
                return
            if self._connected.is_set() and now - await self._last_sign() > self._limits.silent_seconds:
                return
            while self._talk.problems:
                self._tell({"type": "error", "code": "unspoken", "message": self._talk.problems.pop(0)})
            self._tell(self._talk.stats())

    async def _last_sign(self) -> float:
        """When the peer was last heard of: a message, sound, or a receiver report."""
        for sender in self._pc.getSenders():
            for entry in (await sender.getStats()).values():
                if entry.type == "remote-inbound-rtp":
                    age = time.time() - entry.timestamp.timestamp()
                    self._seen = max(self._seen, time.monotonic() - age)
        return self._seen

    async def _show(self) -> None:
        """Every moment at its time, to both tracks at once."""
        pictures, sounds = self._tracks
        pacer = Pacer()
        async for moment in self._talk:
            await asyncio.sleep(pacer.wait(moment.seconds))
            if moment.image is not None:
                pictures.put(_picture(moment))
            sounds.put(_sound(moment))
            self._metrics.frames.inc()
            for message in self._talk.sent(moment):
                if message["on"] and self._talk.delay is not None:
                    self._metrics.delay.observe(self._talk.delay)
                self._tell(message)

    def _on_state(self) -> None:
        state = self._pc.connectionState
        if state == "connected":
            self._seen = time.monotonic()
            self._connected.set()
        elif state in ("failed", "closed"):
            self._over.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and len(self._tasks) < 2:
            self._tasks.append(asyncio.create_task(self._hear(track)))

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.on("message", self._on_message)
        channel.on("close", self._over.set)

    async def _hear(self, track: MediaStreamTrack) -> None:
        """The peer's microphone."""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        try:
            while True:
                frame = await track.recv()
                self._seen = time.monotonic()
                for part in resampler.resample(frame):
                    self._talk.hear(part.to_ndarray().tobytes(), live=True)
        except (MediaStreamError, Fault) as error:
            LOG.debug("a microphone has ended: %r", error)

    async def _on_message(self, message: str | bytes) -> None:
        self._seen = time.monotonic()
        try:
            if isinstance(message, bytes):
                self._talk.hear(message)
                return
            answer = await self._talk.control(parse(message))
        except Fault as fault:
            self._bad += 1
            self._metrics.bad_messages.inc()
            if self._bad > self._limits.bad_messages:
                self._over.set()
            answer = {"type": "error", **fault.body()}
        if answer is not None:
            self._tell(answer)

    def _tell(self, message: dict[str, Any]) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(json.dumps(message))


def _picture(moment: Moment) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moment.image), format="rgb24")
    frame.pts, frame.time_base = moment.index, Fraction(1, FPS)
    return frame


def _sound(moment: Moment) -> av.AudioFrame:
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(moment.sound))
    frame.planes[0].update(to_pcm(moment.sound))
    frame.sample_rate = SAMPLE_RATE
    frame.pts, frame.time_base = moment.index * len(moment.sound), Fraction(1, SAMPLE_RATE)
    return frame
