"""The adapters against the real frameworks, as far as they run without a server of theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from core.media import read_audio
from core.sdk import StreamSDK
from live.pcm import to_pcm

ROOT = Path(__file__).resolve().parents[2]
SPEECH = ROOT / "example" / "sentence.wav"


@pytest.fixture(scope="module")
def sdk() -> StreamSDK:
    return StreamSDK(data_root=ROOT / "checkpoints" / "ditto_lite")


@pytest.fixture(scope="module")
def avatar(sdk):
    return sdk.register(ROOT / "example" / "portrait.png", sdk.options(online_mode=True, max_size=256))


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return read_audio(SPEECH)[:24000]


def test_livekit_generator(sdk, avatar, speech):
    rtc = pytest.importorskip("livekit.rtc")
    pytest.importorskip("livekit.agents")
    from livekit.agents.voice.avatar import AudioSegmentEnd

    from live.adapters.livekit_avatar import DittoVideoGenerator

    async def conversation():
        generator = DittoVideoGenerator(sdk, avatar, seed=1)
        pcm = to_pcm(np.repeat(speech, 3))  # 48 kHz
        for i in range(0, len(pcm), 9600):
            await generator.push_audio(rtc.AudioFrame(pcm[i : i + 9600], 48000, 1, len(pcm[i : i + 9600]) // 2))
        await generator.push_audio(AudioSegmentEnd())
        pictures, sound = [], []
        async for item in generator:
            if isinstance(item, AudioSegmentEnd):
                break
            (pictures if isinstance(item, rtc.VideoFrame) else sound).append(item)
        await generator.clear_buffer()
        await generator.aclose()
        return generator.options, pictures, sound

    options, pictures, sound = asyncio.run(asyncio.wait_for(conversation(), 60))
    assert (options.video_width, options.video_height, options.audio_sample_rate) == (256, 256, 16000)
    assert len(pictures) >= 36 and pictures[0].width == 256
    heard = np.concatenate([np.frombuffer(frame.data, np.int16) for frame in sound]) / 32768
    assert np.sqrt(np.mean(heard**2)) > 0.01
    assert len(sound) - len(pictures) in (0, 1)


def test_pipecat_processor(sdk, avatar, speech):
    pytest.importorskip("pipecat")
    from pipecat.frames.frames import (
        EndFrame,
        OutputImageRawFrame,
        SpeechOutputAudioRawFrame,
        TTSAudioRawFrame,
        TTSStoppedFrame,
    )
    from pipecat.tests.utils import SleepFrame, run_test

    from live.adapters.pipecat_avatar import DittoAvatar

    frames = [TTSAudioRawFrame(to_pcm(speech), 16000, 1), TTSStoppedFrame(), SleepFrame(sleep=5.0), EndFrame()]
    down, _ = asyncio.run(
        asyncio.wait_for(run_test(DittoAvatar(sdk, avatar, seed=1), frames_to_send=frames, send_end_frame=False), 60)
    )
    pictures = [frame for frame in down if isinstance(frame, OutputImageRawFrame)]
    sound = b"".join(frame.audio for frame in down if isinstance(frame, SpeechOutputAudioRawFrame))
    assert len(pictures) > 30 and pictures[0].size == (256, 256)
    heard = np.frombuffer(sound, "<i2") / 32768
    assert abs(len(heard) - len(speech)) <= 1280
    assert np.corrcoef(heard[: len(speech)], speech[: len(heard)])[0, 1] > 0.99
    assert not any(isinstance(frame, TTSAudioRawFrame) for frame in down)
