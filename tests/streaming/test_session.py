"""Live sessions and streams: order and times, nothing shared but the models, and every way in which they can end."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError, StageError
from core.lite.motion_space import LOWER_LIP, UPPER_LIP
from core.media import read_audio
from core.pipeline import Cancelled
from core.sdk import StreamSDK

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT, HOPPER = ROOT / "example" / "portrait.png", ROOT / "tests" / "data" / "grace_hopper.jpg"
LIMIT = 3.0  # seconds within which everything must have stopped


@pytest.fixture(scope="module")
def sdk() -> StreamSDK:
    return StreamSDK(data_root="ditto_lite")


@pytest.fixture(scope="module")
def avatar(sdk):
    return sdk.register(PORTRAIT)


@pytest.fixture(scope="module")
def voices() -> dict[str, np.ndarray]:
    return {name: read_audio(ROOT / "example" / f"{name}.wav")[8000:32000] for name in ("speech", "sentence")}


@pytest.fixture(autouse=True)
def no_threads_left():
    yield
    deadline = time.monotonic() + LIMIT
    while stage_threads() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not stage_threads()


def stage_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stage-")]


def cut(samples: np.ndarray, *lengths: int):
    """The samples in chunks of these lengths, in turn."""
    start = turn = 0
    while start < len(samples):
        length = lengths[turn % len(lengths)]
        yield samples[start : start + length]
        start, turn = start + length, turn + 1


def test_frames_come_in_order_with_their_times(sdk, avatar, voices):
    frames = [*sdk.stream(avatar, cut(voices["speech"][:10000], 1000, 1, 0, 333))]
    assert [frame.index for frame in frames] == list(range(16))
    assert [frame.seconds for frame in frames] == [i / 25 for i in range(16)]
    assert all(frame.image.shape == (512, 512, 3) and frame.image.dtype == np.uint8 for frame in frames)
    heard = [frame.heard for frame in frames]
    assert heard == sorted(heard) and heard[-1] == 10000
    assert all(frame.heard > 640 * frame.index for frame in frames)
    assert np.abs(frames[0].image.astype(int) - frames[-1].image).max() > 30


def test_the_cut_of_the_audio_does_not_matter(sdk, avatar, voices):
    samples = voices["speech"][:12800]
    whole = [frame.image for frame in sdk.stream(avatar, [samples])]
    pieces = [frame.image for frame in sdk.stream(avatar, cut((samples * 32768).astype(np.int16), 80, 4000))]
    assert len(whole) == len(pieces) == 20
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(whole, pieces)) <= 8  # 16 bits round the samples
    exact = [frame.image for frame in sdk.stream(avatar, cut(samples, 80, 4000))]
    np.testing.assert_allclose(np.array(whole, np.int16), exact, atol=1)


def test_sessions_side_by_side_give_what_each_gives_alone(sdk, avatar, voices):
    other = sdk.register(HOPPER, sdk.options(max_size=320))
    happy = {"seed": 2, "emo": "happy"}
    cases = [(avatar, "speech", {"seed": 1}), (other, "sentence", happy), (avatar, "sentence", {})]
    alone = [[f.image for f in sdk.stream(a, cut(voices[v], 640), **o)] for a, v, o in cases]
    together: list[list] = [[], [], []]

    def talk(i: int) -> None:
        who, voice, options = cases[i]
        together[i] = [f.image for f in sdk.stream(who, cut(voices[voice], 640), **options)]

    threads = [threading.Thread(target=talk, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, same in zip(alone, together):
        assert len(one) == 38
        np.testing.assert_array_equal(one, same)


def test_push_finish_and_iterate(sdk, avatar, voices):
    samples = voices["sentence"][:9600]
    with sdk.session(avatar) as session:

        def speak():
            for chunk in cut(samples, 320):
                session.push(chunk)
            session.finish()

        threading.Thread(target=speak).start()
        frames = [*session]
    assert len(frames) == 15 and session.samples == 9600 and not session.failed
    assert session.timings["deliver"].count == 15
    with pytest.raises(StopIteration):
        session.get()


def test_a_frame_is_there_as_soon_as_its_audio_is(sdk, avatar, voices):
    """Nothing more than the audio it says that it needs is pushed, and the first frame comes."""
    needed = next(sdk.stream(avatar, cut(voices["speech"], 320))).heard
    assert needed <= 0.62 * 16000
    with sdk.session(avatar) as session:
        for chunk in cut(voices["speech"][:needed], 320):
            session.push(chunk)
        assert session.get(timeout=20).index == 0
        with pytest.raises(TimeoutError):
            while True:
                session.get(timeout=2)
        assert not session.failed


def test_a_small_first_chunk_starts_earlier(sdk, avatar, voices):
    first = {n: next(sdk.stream(avatar, cut(voices["speech"], 320), first_chunk=n)).heard for n in (0, 2)}
    assert first[2] <= first[0] - 3 * 640 / 2


def test_the_consumer_stops(sdk, avatar, voices):
    produced = []

    def endless():
        while True:
            produced.append(1)
            yield voices["speech"][:640]

    frames = sdk.stream(avatar, endless())
    for _ in range(3):
        next(frames)
    start = time.monotonic()
    frames.close()
    assert time.monotonic() - start < LIMIT and not stage_threads()
    count = len(produced)
    assert count < 500, "the producer is held back"
    time.sleep(0.1)
    assert len(produced) == count


def test_the_producer_raises(sdk, avatar, voices):
    def breaks():
        yield voices["speech"][:16000]
        raise ConnectionError("microphone gone")

    with pytest.raises(ConnectionError, match="microphone gone"):
        for _ in sdk.stream(avatar, breaks()):
            pass
    assert len([*sdk.stream(avatar, [voices["speech"][:3200]])]) == 5  # the next job works


def test_a_stage_dies(sdk, avatar, voices, monkeypatch):
    def dies(*arguments):
        raise RuntimeError("boom")

    session = sdk.session(avatar)
    stage = next(s for s in session._pipeline._stages if s.name == "warp_f3d")
    monkeypatch.setattr(stage.function, "_warp", dies)
    with pytest.raises(StageError, match="warp_f3d.*boom"):
        for _ in range(500):
            session.push(voices["speech"][:1600])
    assert session.failed
    with pytest.raises(StageError, match="boom"):
        session.get()
    session.close()


def test_close_at_any_time(sdk, avatar, voices):
    session = sdk.session(avatar)
    session.close()
    with pytest.raises(Cancelled, match="closed"):
        session.push(voices["speech"][:640])
    with pytest.raises(StopIteration):
        session.get()
    session.close()
    session = sdk.session(avatar)
    session.push(voices["speech"])
    session.finish()
    time.sleep(0.3)  # in the middle of the frames
    start = time.monotonic()
    session.close()
    assert time.monotonic() - start < LIMIT


def test_a_push_that_waits_is_woken_by_close(sdk, avatar, voices):
    session, raised = sdk.session(avatar), []

    def speak():
        try:
            for _ in range(1000):
                session.push(voices["speech"])
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=speak)
    thread.start()
    time.sleep(0.5)  # nobody takes the frames
    with pytest.raises(TimeoutError):
        session.push(voices["speech"], timeout=0.1)
    session.close()
    thread.join(LIMIT)
    assert not thread.is_alive() and isinstance(raised[0], Cancelled)


def test_silence_keeps_the_lips_closed_and_the_head_alive(sdk, avatar):
    images = [frame.image for frame in sdk.stream(avatar, [np.zeros(640 * 60, np.float32)])]
    assert len(images) == 60 and np.abs(images[5].astype(int) - images[55]).max() > 10


def test_no_speech_no_frames(sdk, avatar):
    assert [*sdk.stream(avatar, [])] == [] == [*sdk.stream(avatar, [np.zeros(0, np.float32)])]


@pytest.mark.parametrize(
    "chunk",
    [np.zeros((2, 640), np.float32), np.full(640, np.nan, np.float32), np.zeros(640, np.uint8), np.array(["a"])],
)
def test_samples_that_cannot_be_used(sdk, avatar, chunk):
    with pytest.raises(InputError, match="audio"):
        [*sdk.stream(avatar, [chunk])]
    with sdk.session(avatar) as session, pytest.raises(InputError, match="audio"):
        session.push(chunk)


def test_options_that_do_not_fit(sdk, avatar):
    with pytest.raises(InputError, match=r"overlap_v2 is 20; online mode needs 40 \.\. 79"):
        sdk.session(avatar, overlap_v2=20)
    with pytest.raises(InputError, match=r"first_chunk is 6.* 5"):
        sdk.session(avatar, first_chunk=6)
    with pytest.raises(InputError, match="chunk size"):
        sdk.session(avatar, chunksize=(1, 0, 1))
    with pytest.raises(InputError, match=r"'seed' is -1; it must be 0 \.\."):
        sdk.session(avatar, seed=-1)
    with pytest.raises(InputError, match="did you mean 'emo'"):
        sdk.session(avatar, emoo=1)


def test_controls_and_length_count_in_a_stream(sdk, avatar, voices):
    samples = voices["speech"][:9600]
    plain = [frame.image.astype(int) for frame in sdk.stream(avatar, [samples])]
    turned = [frame.image for frame in sdk.stream(avatar, [samples], ctrl_info={3: {"delta_yaw": 12}}, N_d=8)]
    assert len(turned) == 8
    change = [np.abs(a - b).max() for a, b in zip(plain, turned)]
    assert change[3] > 60 and change[2] == 0


@pytest.mark.slow
def test_a_long_stream_keeps_memory_and_lip_timing(avatar, voices):
    """Three minutes with a renderer that only notes the lips: real speech models, a sentence every four seconds."""
    sdk, gaps, face = StreamSDK(data_root="ditto_lite"), [], np.zeros((512, 512, 3), np.uint8)

    def notes_the_lips(feature, x_s, x_d):
        gaps.append(float(x_d[0, LOWER_LIP, 1] - x_d[0, UPPER_LIP, 1]))

    sdk.models = replace(sdk.models, warp=notes_the_lips, decode=lambda volume: face)
    period = np.zeros(64000, np.float32)
    period[16000:40000] = voices["sentence"]
    memory = []
    for frame in sdk.stream(avatar, (period[640 * (i % 100) :][:640] for i in range(4500))):
        if frame.index in (500, 4499):
            memory.append(resident_memory())
    assert memory[1] - memory[0] < 8e6
    opening = np.array(gaps[-4500:]).reshape(45, 100)
    usual = opening[1:11].mean(axis=0) - opening[1:11].mean()
    for one in opening[1:]:
        assert max(range(-5, 6), key=lambda shift: np.roll(one - one.mean(), shift) @ usual) == 0
    assert np.ptp(opening[-10:], axis=1).mean() == pytest.approx(np.ptp(opening[1:11], axis=1).mean(), rel=0.1)


def resident_memory() -> int:
    """Bytes of this process; skips where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("no /proc here")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
