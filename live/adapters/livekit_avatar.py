"""An avatar for LiveKit Agents: a VideoGenerator for `livekit.agents.voice.avatar.AvatarRunner`.

generator = DittoVideoGenerator(sdk, "me.jpg", seed=1)
runner = AvatarRunner(room, audio_recv=QueueAudioOutput(...), video_gen=generator, options=generator.options)
await runner.start()
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, AvatarOptions, VideoGenerator

from core.avatars.avatar import Avatar
from core.motion import FPS, SAMPLE_RATE
from core.sdk import StreamSDK
from core.streaming.conversation import Conversation
from live.bridge import AsyncConversation
from live.pcm import PcmFeed, to_pcm


class DittoVideoGenerator(VideoGenerator):
    """Sound of the agent in; pictures and the sound that belongs to them out, silence and idling included."""

    def __init__(self, sdk: StreamSDK, source: Any, **options: Any):
        """Registers `source` (a path or an Avatar); made in a running event loop. Raises InputError."""
        if not isinstance(source, Avatar):
            source = sdk.register(source, sdk.options(online_mode=True, **options))
        height, width = source.frames[0].shape[:2]
        self.options = AvatarOptions(
            video_width=width, video_height=height, video_fps=FPS, audio_sample_rate=SAMPLE_RATE, audio_channels=1
        )
        self._live = AsyncConversation(Conversation(sdk.session(source, **options)))
        self._pcm = PcmFeed()
        self._segment_open = False

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Speech of any rate and number of channels, or the end of a turn."""
        if isinstance(frame, AudioSegmentEnd):
            self._live.say(self._pcm.flush())
            self._segment_open = True
        else:
            self._live.say(self._pcm.feed(bytes(frame.data), frame.sample_rate, frame.num_channels))

    async def clear_buffer(self) -> None:
        """The user interrupts: silence from the next frame on."""
        self._pcm.reset()
        self._segment_open = False
        await self._live.interrupt()

    async def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        """Pictures and sound on one clock; AudioSegmentEnd after the last sound of a turn."""
        async for moment in self._live:
            if moment.image is not None:
                height, width = moment.image.shape[:2]
                yield rtc.VideoFrame(width, height, rtc.VideoBufferType.RGB24, moment.image.tobytes())
            yield rtc.AudioFrame(to_pcm(moment.sound), SAMPLE_RATE, 1, len(moment.sound))
            if self._segment_open and not moment.speaking and not self._live.conversation.busy:
                self._segment_open = False
                yield AudioSegmentEnd()

    async def aclose(self) -> None:
        """Stop the avatar."""
        await self._live.aclose()
