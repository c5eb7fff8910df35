"""Scripts written for the reference's StreamSDK, driven step by step as its inference script does (spec 17.1)."""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from core.errors import InputError, OutputError, StageError
from core.media import read_audio
from core.motion import SAMPLE_RATE

ROOT = Path(__file__).resolve().parent.parent
PORTRAIT, SPEECH = ROOT / "example" / "portrait.png", ROOT / "example" / "speech.wav"
ONLINE = {"overlap_v2": 70, "fix_kp_cond": 1, "fix_kp_cond_dim": [0, 202], "sampling_timesteps": 2}


def reference_run(SDK, audio_path, source_path, output_path, more_kwargs={}):  # noqa: B006
    """What the reference's inference.py does up to the muxing, in its words."""
    setup_kwargs = more_kwargs.get("setup_kwargs", {})
    run_kwargs = more_kwargs.get("run_kwargs", {})
    SDK.setup(source_path, output_path, **setup_kwargs)
    audio = read_audio(audio_path)
    num_f = math.ceil(len(audio) / 16000 * 25)
    fade_in = run_kwargs.get("fade_in", -1)
    fade_out = run_kwargs.get("fade_out", -1)
    ctrl_info = run_kwargs.get("ctrl_info", {})
    SDK.setup_Nd(N_d=num_f, fade_in=fade_in, fade_out=fade_out, ctrl_info=ctrl_info)
    if SDK.online_mode:
        chunksize = run_kwargs.get("chunksize", (3, 5, 2))
        audio = np.concatenate([np.zeros((chunksize[0] * 640,), dtype=np.float32), audio], 0)
        split_len = int(sum(chunksize) * 0.04 * 16000) + 80
        for i in range(0, len(audio), chunksize[1] * 640):
            audio_chunk = audio[i : i + split_len]
            if len(audio_chunk) < split_len:
                audio_chunk = np.pad(audio_chunk, (0, split_len - len(audio_chunk)), mode="constant")
            SDK.run_chunk(audio_chunk, chunksize)
    else:
        aud_feat = SDK.wav2feat.wav2feat(audio)
        SDK.audio2motion_queue.put(aud_feat)
    SDK.close()


def frames_of(path) -> np.ndarray:
    with av.open(str(path)) as container:
        assert not container.streams.audio
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def sdk():
    from stream_pipeline_offline import StreamSDK

    return StreamSDK(data_root="ditto_lite")


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The SDK over a thin random pack of the official kind."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("pack") / "ditto_pytorch"
    from scripts.make_random_pack import make_pack

    make_pack(folder, "pytorch", small=True)
    from stream_pipeline_online import StreamSDK

    return StreamSDK(data_root=folder)


@pytest.fixture
def speech(tmp_path):
    """speech(frames) -> a wav of so many frames of the example and a bit more."""

    def cut(frames: int) -> Path:
        path = tmp_path / f"{frames}.wav"
        soundfile.write(path, read_audio(SPEECH)[16000 : 16000 + 640 * frames - 100], SAMPLE_RATE)
        return path

    return cut


@pytest.mark.parametrize("setup", [{}, {"online_mode": True}, {"online_mode": True, "first_chunk": 2}])
def test_embedded_pack(sdk, speech, tmp_path, setup):
    output = str(tmp_path / "new" / "result.mp4")
    reference_run(sdk, speech(33), str(PORTRAIT), output, {"setup_kwargs": setup})
    assert sdk.tmp_output_path == output + ".tmp.mp4"
    assert len(frames_of(sdk.tmp_output_path)) == 33
    assert sdk.online_mode is setup.get("online_mode", False)
    info = sdk.source_info
    assert info["is_image_flag"] and info["img_rgb_lst"][0].shape == (512, 512, 3) and info["sc"].shape == (63,)
    assert info["x_s_info_lst"][0]["pitch"].shape == (1, 66) and len(info["f_s_lst"]) == len(info["M_c2o_lst"]) == 1


@pytest.mark.parametrize(
    "setup", [{"sampling_timesteps": 2}, pytest.param({"online_mode": True, **ONLINE}, marks=pytest.mark.slow)]
)
def test_official_pack(official, speech, tmp_path, setup):
    setup = {**setup, "max_size": 256}
    reference_run(official, speech(3), str(PORTRAIT), str(tmp_path / "r.mp4"), {"setup_kwargs": setup})
    assert len(frames_of(official.tmp_output_path)) == 3


def test_the_script_and_run_give_the_same_video(sdk, speech, tmp_path):
    more = {"setup_kwargs": {"seed": 5, "ctrl_info": {3: {"delta_yaw": 8}}}, "run_kwargs": {"fade_in": 4}}
    reference_run(sdk, speech(20), PORTRAIT, tmp_path / "a.mp4", more)
    script = frames_of(sdk.tmp_output_path)
    result = sdk.run(PORTRAIT, speech(20), tmp_path / "b.mp4", more_kwargs=more)
    with av.open(str(result.output)) as container:
        ours = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    np.testing.assert_array_equal(script, ours)


def test_controls_of_both_calls_are_merged(sdk, speech, tmp_path):
    def head(setup, run):
        more = {"setup_kwargs": {"ctrl_info": setup}, "run_kwargs": {"ctrl_info": run}}
        reference_run(sdk, speech(4), PORTRAIT, tmp_path / "a.mp4", more)
        return frames_of(sdk.tmp_output_path).astype(int)

    turn, drop = {2: {"delta_yaw": 12}}, {2: {"delta_pitch": 9}}
    plain, both, first = head({}, {}), head(turn, drop), head(turn, {})
    assert np.abs(first - plain)[2].max() > 60 and np.abs(both - first)[2].max() > 60
    assert np.abs(both - plain)[0].mean() < 1, "only the encoder may tell them apart"


def test_no_state_is_carried_over(sdk, speech, tmp_path):
    def plain():
        reference_run(sdk, speech(12), PORTRAIT, tmp_path / "a.mp4")
        return frames_of(sdk.tmp_output_path)

    before = plain()
    more = {"setup_kwargs": {"seed": 9, "online_mode": True, "emo": "happy"}, "run_kwargs": {"fade_out": 6}}
    reference_run(sdk, speech(12), PORTRAIT, tmp_path / "b.mp4", more)
    np.testing.assert_array_equal(plain(), before)


def test_length_need_not_be_known(sdk, speech, tmp_path):
    samples = read_audio(speech(25))
    with sdk:
        sdk.setup(PORTRAIT, tmp_path / "a.mp4", online_mode=True)
        for start in range(0, len(samples), 1234):  # consecutive pieces of another length than a window's
            sdk.run_chunk(samples[start : start + 1234])
    assert len(frames_of(sdk.tmp_output_path)) == 25


def test_wrong_order_is_named(sdk, tmp_path):
    for call in (
        lambda: sdk.setup_Nd(10),
        lambda: sdk.run_chunk(np.zeros(6480, np.float32)),
        lambda: sdk.audio2motion_queue.put(np.zeros((5, 385), np.float32)),
    ):
        with pytest.raises(InputError, match="call setup"):
            call()
    sdk.close()  # nothing to close is no error
    sdk.setup(PORTRAIT, tmp_path / "a.mp4")
    sdk.setup(PORTRAIT, tmp_path / "b.mp4")  # gives the first one up
    sdk.cancel()
    assert not list(tmp_path.iterdir()) and not stage_threads()


def stage_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stage-")]


def test_closing_without_speech_is_an_error_and_leaves_nothing(sdk, tmp_path):
    for online in (False, True):
        sdk.setup(PORTRAIT, tmp_path / "a.mp4", online_mode=online)
        with pytest.raises(InputError, match="empty"):
            sdk.close()
        assert not list(tmp_path.iterdir()) and not stage_threads()


def test_a_producer_that_stops_early_gets_what_it_sent(sdk, tmp_path):
    samples = read_audio(SPEECH)
    sdk.setup(PORTRAIT, tmp_path / "a.mp4", online_mode=True)
    sdk.setup_Nd(500)
    sdk.run_chunk(samples[: 640 * 13])
    sdk.close()
    assert len(frames_of(sdk.tmp_output_path)) == 13


def test_run_chunk_raises_as_soon_as_a_stage_has_died(sdk, speech, tmp_path, monkeypatch):
    def dies(volume):
        raise RuntimeError("boom")

    sdk.setup(PORTRAIT, tmp_path / "a.mp4", online_mode=True)
    with monkeypatch.context() as patch:
        for thread_stage in sdk._run._pipeline._stages:
            if thread_stage.name == "decode_f3d":
                patch.setattr(thread_stage.function, "_decode", dies)
        with pytest.raises(StageError, match="decode_f3d.*boom"):
            for _ in range(1000):
                sdk.run_chunk(np.zeros(3200, np.float32))
        with pytest.raises(StageError, match="boom"):
            sdk.close()
    assert not list(tmp_path.glob("*.mp4")) and not stage_threads()
    reference_run(sdk, speech(5), PORTRAIT, tmp_path / "b.mp4")
    assert len(frames_of(sdk.tmp_output_path)) == 5


def test_the_silent_video_can_be_muxed(sdk, speech, tmp_path):
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("no ffmpeg here")
    reference_run(sdk, speech(10), PORTRAIT, tmp_path / "r.mp4")
    command = [ffmpeg, "-loglevel", "error", "-y", "-i", sdk.tmp_output_path, "-i", speech(10)]
    command += ["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", tmp_path / "r.mp4"]
    subprocess.run([*map(str, command)], check=True)
    with av.open(str(tmp_path / "r.mp4")) as container:
        assert container.streams.video[0].frames == 10 and container.streams.audio


def test_the_run_function_of_inference(sdk, speech, tmp_path):
    spec = importlib.util.spec_from_file_location("inference_script", ROOT / "inference.py")
    inference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inference)
    inference.run(sdk, speech(6), PORTRAIT, tmp_path / "r.mp4", {"run_kwargs": {"fade_in": 2}})
    with av.open(str(tmp_path / "r.mp4")) as container:
        assert container.streams.video[0].frames == 6 and container.streams.audio


def test_a_disk_that_fills_up(sdk, speech, tmp_path):
    class Full:
        def mux(self, packet):
            raise OSError(28, "No space left on device")

        def close(self):
            raise OSError(28, "No space left on device")

    sdk.setup(PORTRAIT, tmp_path / "new" / "a.mp4")
    sdk._run._video._container = Full()
    sdk.audio2motion_queue.put(sdk.wav2feat.wav2feat(read_audio(speech(60))))
    with pytest.raises(OutputError, match="a.mp4.*No space left"):
        sdk.close()
    assert not (tmp_path / "new").exists() and not stage_threads()
    reference_run(sdk, speech(3), PORTRAIT, tmp_path / "b.mp4")
    assert len(frames_of(sdk.tmp_output_path)) == 3


def _watch(stitch) -> list[float]:
    """A list that grows by the share of the voice in each frame that `stitch` handles."""
    seen, original = [], stitch._apply_controls

    def watched(pose, source, controls):
        seen.append(controls["vad_alpha"])
        original(pose, source, controls)

    stitch._apply_controls = watched
    return seen


def test_the_voice_gate_rests_the_lips_in_every_way_of_feeding(sdk, tmp_path):
    quiet = np.random.default_rng(0).normal(0, 1e-4, 640 * 10).astype(np.float32)
    audio = np.concatenate([quiet, read_audio(SPEECH)[16000 : 16000 + 640 * 15]])
    voices = []
    for options in ({"vad": True}, {"vad": True, "online_mode": True}, {}):
        sdk.setup(PORTRAIT, tmp_path / "a.mp4", **options)
        seen = _watch(sdk._run._pipeline._stages[1].function)
        if sdk.online_mode:
            sdk.run_chunk(audio)
        else:
            sdk.audio2motion_queue.put(sdk.wav2feat.wav2feat(audio))
        sdk.close()
        voices.append(seen)
    assert voices[0] == voices[1] and len(voices[0]) == 25
    assert max(voices[0][:7]) == 0 and min(voices[0][12:]) == 1
    assert voices[2] == [1.0] * 25
