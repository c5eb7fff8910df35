"""An avatar for Pipecat: a frame processor that stands between the speech synthesis and the transport's output.

pipeline = Pipeline([transport.input(), stt, llm, tts, DittoAvatar(sdk, "me.jpg"), transport.output()])
"""

from __future__ import annotations

from typing import Any

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    SpeechOutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from core.avatars.avatar import Avatar
from core.motion import SAMPLE_RATE
from core.sdk import StreamSDK
from core.streaming.conversation import Conversation
from live.bridge import AsyncConversation
from live.pcm import PcmFeed, to_pcm


class DittoAvatar(FrameProcessor):
    """Takes the synthesised speech and gives pictures, with the speech on the pictures' clock."""

    def __init__(self, sdk: StreamSDK, source: Any, **options: Any):
        """Registers `source` (a path or an Avatar). Raises InputError."""
        super().__init__()
        self._sdk, self._options = sdk, options
        if not isinstance(source, Avatar):
            source = sdk.register(source, sdk.options(online_mode=True, **options))
        self._avatar = source
        self._live: AsyncConversation | None = None
        self._task = None
        self._pcm = PcmFeed()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Speech goes to the avatar, everything else passes."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            if self._live is not None:
                self._live.say(self._pcm.feed(frame.audio, frame.sample_rate, frame.num_channels))
            return
        if isinstance(frame, StartFrame):
            await self.push_frame(frame, direction)
            self._live = AsyncConversation(Conversation(self._sdk.session(self._avatar, **self._options)))
            self._task = self.create_task(self._show())
            return
        if isinstance(frame, InterruptionFrame) and self._live is not None:
            self._pcm.reset()
            await self._live.interrupt()
        elif isinstance(frame, TTSStoppedFrame) and self._live is not None:
            self._live.say(self._pcm.flush())
        elif isinstance(frame, (EndFrame, CancelFrame)):
            await self._stop()
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop the avatar when the pipeline goes away without an end frame."""
        await super().cleanup()
        await self._stop()

    async def _show(self) -> None:
        """Pushes every moment downstream as it comes."""
        async for moment in self._live:
            if moment.image is not None:
                height, width = moment.image.shape[:2]
                picture = OutputImageRawFrame(moment.image.tobytes(), (width, height), "RGB")
                picture.sync_with_audio = moment.speaking
                await self.push_frame(picture)
            if moment.speaking:
                await self.push_frame(SpeechOutputAudioRawFrame(to_pcm(moment.sound), SAMPLE_RATE, 1))

    async def _stop(self) -> None:
        live, task = self._live, self._task
        self._live = self._task = None
        if live is not None:
            await live.aclose()
        if task is not None:
            await self.cancel_task(task)
