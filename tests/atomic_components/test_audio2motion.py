"""Windows of the motion model joined to one motion, offline and online, against the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.atomic_components.audio2motion import Audio2Motion, OfflineMotion, OnlineMotion, warmup_rows
from core.atomic_components.condition_handler import Character, ConditionHandler, ConditionParts
from core.atomic_components.speech import Speech
from core.errors import InputError
from core.motion import MOTION_DIM, Motion
from core.settings.options import ConditionOptions, MotionOptions

RELEASED_ONLINE = {"overlap_v2": 70, "fix_kp_cond": 1, "fix_kp_cond_dim": (0, 202)}


def features(n):
    t, j = np.arange(n)[:, None], np.arange(1024)[None]
    return (0.5 * np.sin(0.013 * (t + 1) * ((j % 17) + 1)) + 0.2 * np.cos(0.07 * t)).astype(np.float32)


class FakeModel:
    """The deterministic motion model of the golden files; remembers what it was asked."""

    def __init__(self):
        d = np.arange(MOTION_DIM)
        self.terms = (7 * d) % 13 / 13 - 0.5, (5 * d) % 11 / 11 - 0.5, (3 * d) % 17 / 170
        self.carried, self.starts = [], []

    def __call__(self, cond_frame, cond, start):
        self.carried.append(cond_frame[0].copy())
        self.starts.append(start)
        W, U, B = self.terms
        c = cond[0].astype(np.float64).mean(axis=1)[:, None]
        g = (np.arange(cond.shape[1])[:, None] - 39.5) / 40
        return (0.6 * cond_frame.astype(np.float64) + 3 * c * W + 0.05 * g * U + B)[None].astype(np.float32)


@pytest.fixture
def world(golden):
    """world(case, settings) -> fake model, condition handler, character and options of a recorded case."""
    z, faces = golden("pipeline_audio2motion.npz"), golden("pipeline_condition.npz")

    def build(case, settings):
        who = "vid" if case in ("off_default_237", "on_ov70_240") else "img"
        eyes = (faces[f"{who}_{part}"] for part in ("eye_open", "eye_ball", "sc"))
        character = Character(z[f"{who}_s_kp_cond"], *eyes)
        handler = ConditionHandler(character, ConditionOptions(4), ConditionParts())
        settings = dict(settings)
        if settings.get("v_min_max_for_clip") == "array":
            settings["v_min_max_for_clip"] = z["v_min_max"]
        if "fix_kp_cond_dim" in settings:
            settings["fix_kp_cond_dim"] = tuple(settings["fix_kp_cond_dim"])
        return FakeModel(), handler, character, MotionOptions(**settings)

    return build


def columns(z, case, rows):
    return rows if z[case].shape[1] == MOTION_DIM else rows[:, z["sub_dims"]]


OFFLINE = [
    "off_default_237",
    "off_rel_like_237",
    "off_ov15_smo5_fix2_237",
    "off_smo1_100",
    "off_smo4_100",
    "off_short_5",
    "off_exact_70",
    "off_exact_80",
    "off_exact_81",
    "off_ov1_90",
]


def whole(worker, fed, block=1000):
    """Feeds features in blocks -> the motion of the clip."""
    out = [motion for start in range(0, len(fed), block) for motion in worker.push(fed[start : start + block])]
    return Motion(np.concatenate([motion.data for motion in [*out, *worker.finish()]]))


@pytest.mark.parametrize("case", OFFLINE)
def test_offline_matches_the_reference(golden, world, case):
    z, facts = golden("pipeline_audio2motion.npz"), golden("pipeline_audio2motion.json")[case]
    model, handler, character, options = world(case, facts["kw"])
    motion = whole(OfflineMotion(model, handler, character, options), features(facts["T"]))
    assert len(motion) == facts["frames"] and len(model.carried) == facts["clips"]
    np.testing.assert_allclose(columns(z, case, motion.data), z[case], atol=2e-5)
    np.testing.assert_allclose(np.array(model.carried)[:, z["sub_dims"]], z[f"{case}_kp_cond"], atol=2e-5)
    assert model.starts == list(range(0, facts["T"], 80 - options.overlap_v2))


@pytest.mark.parametrize("settings", [{}, {"overlap_v2": 0, "smo_k_d": 1}, {"overlap_v2": 33, "smo_k_d": 9}])
@pytest.mark.parametrize("block", [1, 7, 100])
def test_blocks_do_not_change_offline_motion(world, settings, block):
    at_once = whole(OfflineMotion(*world("off_default_237", settings)), features(237))
    in_blocks = whole(OfflineMotion(*world("off_default_237", settings)), features(237), block)
    np.testing.assert_allclose(in_blocks.data, at_once.data, atol=1e-6)


def test_offline_motion_comes_out_on_the_way(world):
    worker = OfflineMotion(*world("off_default_237", {}))
    early = sum(len(motion) for motion in worker.push(features(237)))
    assert early >= 237 - 80 - 10


def stream(world, case, settings, n, chunk=5, online=True, limit=None):
    """Feeds n features in chunks -> motion rows, frames out after each chunk, reference frame, model."""
    model, handler, character, options = world(case, settings)
    reference = []
    warmup = np.zeros((options.overlap_v2, 1024), np.float32) if online else None
    worker = OnlineMotion(model, handler, character, options, warmup, reference.append, limit)
    out, counts = [np.zeros((0, MOTION_DIM))], []
    fed = features(n)
    for start in range(0, n, chunk):
        out += [motion.data for motion in worker.push(fed[start : start + chunk])]
        counts.append(sum(map(len, out)))
    out += [motion.data for motion in worker.finish()]
    return np.concatenate(out), counts, reference, model


ONLINE = ["on_ov70_240", "on_ov70_235", "on_ov70_237", "on_ov75_240", "on_ov40_240", "on_ov70_10"]


@pytest.mark.parametrize("case", ONLINE)
def test_online_matches_the_reference(golden, world, case):
    z, facts = golden("pipeline_audio2motion.npz"), golden("pipeline_audio2motion.json")[case]
    rows, counts, reference, model = stream(world, case, facts["kw"], facts["F"])
    assert len(rows) == facts["F"] and counts == facts["emitted_after_chunk"]
    np.testing.assert_allclose(columns(z, case, rows), z[case][: facts["F"]], atol=2e-5)
    np.testing.assert_allclose(np.array(model.carried)[:, z["sub_dims"]], z[f"{case}_kp_cond"], atol=2e-5)
    np.testing.assert_allclose(reference[0].data[0], z[f"{case}_d0"], atol=2e-5)
    assert len(reference) == 1


@pytest.mark.parametrize("case", ["on_notonline_ov10_237", "on_notonline_ov10_237_onechunk"])
def test_streaming_without_warmup_matches_the_reference(golden, world, case):
    z, facts = golden("pipeline_audio2motion.npz"), golden("pipeline_audio2motion.json")[case]
    rows, counts, reference, _ = stream(world, case, facts["kw"], facts["F"], facts["chunk"], online=False)
    np.testing.assert_allclose(columns(z, case, rows), z[case], atol=2e-5)
    assert not reference
    assert all(ours >= theirs for ours, theirs in zip(counts, facts["emitted_after_chunk"], strict=True))


@pytest.mark.parametrize("overlap", [0, 1, 10, 40, 60, 70, 75, 79])
@pytest.mark.parametrize("n", [1, 5, 10, 79, 80, 81, 163])
def test_online_gives_one_frame_per_feature(world, overlap, n):
    rows, _, _, model = stream(world, "img", {"overlap_v2": overlap}, n, chunk=7)
    assert len(rows) == n and np.isfinite(rows).all()
    assert model.starts[0] == -overlap


@pytest.mark.parametrize("n", [0, 7, 100])
def test_online_stops_at_its_limit(world, n):
    assert len(stream(world, "img", RELEASED_ONLINE, 120, limit=n)[0]) == n


def test_chunk_size_does_not_change_online_motion(world):
    few, many = (stream(world, "img", RELEASED_ONLINE, 200, chunk=chunk)[0] for chunk in (3, 200))
    np.testing.assert_array_equal(few, many)


def test_an_empty_stream_gives_nothing(world):
    rows, _, _, model = stream(world, "img", RELEASED_ONLINE, 0)
    assert len(rows) == 0 and not model.carried


@pytest.mark.parametrize("overlap", [-1, 80, 100])
def test_bad_overlaps_are_refused(world, overlap):
    with pytest.raises(InputError, match="overlap_v2"):
        OfflineMotion(*world("img", {"overlap_v2": overlap}))


def test_empty_audio_is_refused(world):
    with pytest.raises(InputError, match="empty"):
        list(OfflineMotion(*world("img", {})).finish())


def test_frames_carry_their_source_index(golden, world, avatar, motion_of):
    facts = golden("pipeline_audio2motion.json")["off_default_237"]
    motion = whole(OfflineMotion(*world("off_default_237", {})), features(237))
    video = avatar(motion_of(golden("pipeline_stitch.npz")["src_vid"]))
    stage = Audio2Motion(OfflineMotion(*world("off_default_237", {})), video)
    voice = np.linspace(0, 1, 237)
    pieces = [Speech(features(237)[:100], 100, voice[:100]), Speech(features(237)[100:], 237, voice[100:])]
    frames = [frame for piece in pieces for frame in stage(piece)] + [*stage.finish()]
    np.testing.assert_allclose([f.voice for f in frames], voice)
    assert frames[0].heard == 100 and frames[-1].heard == 237
    assert stage.fed == stage.made == stage.expected() == 237
    assert [f.index for f in frames] == list(range(237))
    assert [f.source for f in frames] == facts["frame_idx"]
    np.testing.assert_array_equal(frames[150].motion.data, motion.data[150:151])


def test_no_more_frames_than_wanted(golden, world, avatar, motion_of):
    stage = Audio2Motion(
        OfflineMotion(*world("off_default_237", {})), avatar(motion_of(golden("pipeline_stitch.npz")["src_vid"]))
    )
    stage.limit = 50
    assert len([*stage(Speech(features(237))), *stage.finish()]) == stage.expected() == 50


class Clock:
    """A motion model whose motion is the number of the frame: what comes out shows at once if a frame is misplaced."""

    def __call__(self, cond_frame, cond, start):
        numbers = np.arange(start, start + cond.shape[1], dtype=np.float32)
        return np.repeat(numbers[None, :, None], MOTION_DIM, axis=2)


@given(
    overlap=st.integers(40, 79),
    first=st.integers(1, 40),
    fed=st.integers(0, 400),
    piece=st.integers(1, 50),
    block=st.integers(1, 50),
)
def test_every_frame_of_a_live_stream_is_in_its_place(overlap, first, fed, piece, block):
    options = MotionOptions(overlap_v2=overlap, first_chunk=min(first, 80 - overlap), smo_k_d=1)
    character = Character(np.zeros(MOTION_DIM, np.float32), np.zeros((1, 2)), np.zeros((1, 6)), np.zeros(63))
    silence = np.zeros((warmup_rows(options), 4), np.float32)
    worker = OnlineMotion(Clock(), lambda audio, start: audio, character, options, silence, block=block)
    out = []
    for start in range(0, fed, piece):
        out += worker.push(np.zeros((min(piece, fed - start), 4), np.float32))
    out += worker.finish()
    numbers = np.concatenate([motion.data[:, -1] for motion in out]) if out else np.zeros(0)
    np.testing.assert_allclose(numbers, np.arange(fed), atol=1e-3)


def test_a_small_first_chunk_comes_out_early(world):
    def counts(first):
        model, handler, character, options = world("on_ov70_240", {"overlap_v2": 70, "first_chunk": first})
        silence = np.zeros((warmup_rows(options), 1024), np.float32)
        worker = OnlineMotion(model, handler, character, options, silence, block=5)
        return np.cumsum([sum(map(len, worker.push(features(60)[i : i + 1]))) for i in range(60)])

    early, regular = counts(3), counts(0)
    assert np.argmax(regular > 0) == 19 and np.argmax(early > 0) == 7  # after 20 and 3 + 5 features
    assert np.diff(early).max() <= 10


@pytest.mark.parametrize("first", [-1, 11, 80])
def test_a_first_chunk_longer_than_a_step_is_refused(first):
    with pytest.raises(InputError, match=rf"first_chunk is {first}; it must be 0 .* 10"):
        warmup_rows(MotionOptions(overlap_v2=70, first_chunk=first))
