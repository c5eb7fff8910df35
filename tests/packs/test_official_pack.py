"""Packs of the official kind, with thin random networks, through the same stages as the embedded pack."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
import yaml

from core.errors import InputError, PackError
from core.media import read_audio
from core.motion import SAMPLE_RATE, SAMPLES_PER_FRAME
from core.packs import pack as packs
from core.packs.model_files import find_models
from core.packs.official import build
from core.packs.pack import best_pack, open_pack
from core.runs.file_job import RunResult
from core.sdk import StreamSDK
from core.settings.config import load_config

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT, SPEECH = ROOT / "example" / "portrait.png", ROOT / "example" / "speech.wav"
FRAMES = 5
FORMATS = ("pytorch", "onnx")


@pytest.fixture(scope="module")
def pack_of(tmp_path_factory):
    """pack_of("pytorch" | "onnx") -> folder of a complete thin pack, made once."""
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    folder, made = tmp_path_factory.mktemp("packs"), {}
    from scripts.make_random_pack import make_pack

    def pack(kind: str) -> Path:
        if kind not in made:
            make_pack(folder / f"ditto_{kind}", kind, small=True)
            made[kind] = folder / f"ditto_{kind}"
        return made[kind]

    return pack


@pytest.fixture(scope="module")
def video_of(pack_of, tmp_path_factory):
    """video_of(kind) -> result and frames (n, H, W, 3) of a short run, made once."""
    folder, made = tmp_path_factory.mktemp("videos"), {}
    soundfile.write(folder / "short.wav", read_audio(SPEECH)[: FRAMES * SAMPLES_PER_FRAME], SAMPLE_RATE)

    def video(kind: str):
        if kind not in made:
            sdk = StreamSDK(data_root=pack_of(kind))
            made[kind] = run_to_pictures(sdk, folder / "short.wav", folder / kind)
        return made[kind]

    return video


def run_to_pictures(sdk: StreamSDK, speech: Path, folder: Path) -> tuple[RunResult, np.ndarray]:
    """A run and its frames (n, H, W, 3), as PNG files: an encoder turns one level into several."""
    result = sdk.run(PORTRAIT, speech, folder / "%03d.png", max_size=512)
    return result, np.stack([cv2.imread(str(path)) for path in sorted(folder.glob("*.png"))])


def small_copy(pack: Path, target: Path) -> dict:
    """The pack again, its files linked; returns its configuration, to be changed and written by `write_config`."""
    shutil.copytree(pack, target, copy_function=lambda source, to: Path(to).symlink_to(source))
    (target / "config.yaml").unlink()
    return yaml.safe_load((pack / "config.yaml").read_text())


def write_config(target: Path, config: dict) -> None:
    (target / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_renders_through_the_stages_of_the_embedded_pack(video_of, kind):
    result, frames = video_of(kind)
    assert result.frames == len(frames) == FRAMES
    assert list(result.timings) == [
        *("wav2feat", "audio2motion", "motion_stitch", "warp_f3d", "decode_f3d", "putback", "writer")
    ]
    assert frames.std(axis=(1, 2, 3)).min() > 20
    assert np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3)).min() > 0.05  # it moves


def test_backends_give_the_same_keypoints(pack_of, tmp_path):
    """Face models, speech, sampler and stitching; the same motion in every run, whatever computes it."""
    soundfile.write(tmp_path / "short.wav", read_audio(SPEECH)[: 90 * SAMPLES_PER_FRAME], SAMPLE_RATE)  # two windows
    driven = []
    for kind in (*FORMATS, "onnx"):
        pairs, avatar = StreamSDK(data_root=pack_of(kind)).keypoint_pairs(PORTRAIT, tmp_path / "short.wav", 90)
        assert len(pairs) == 90 and avatar.motion.kp.shape == (1, 63)
        driven.append(np.concatenate([x_d for _, x_d in pairs]))
    assert driven[0].shape == (90, 21, 3) and driven[0].std(axis=0).max() > 0.01
    np.testing.assert_allclose(driven[0], driven[1], atol=2e-3)
    np.testing.assert_array_equal(driven[1], driven[2])


@pytest.mark.slow
def test_backends_give_the_same_video(video_of):
    (_, torch_frames), (_, onnx_frames) = (video_of(kind) for kind in FORMATS)
    assert np.abs(torch_frames.astype(int) - onnx_frames).mean() < 0.5


@pytest.mark.slow
def test_batches_give_the_same_video(pack_of, video_of, tmp_path):
    _, frames = video_of("pytorch")
    soundfile.write(tmp_path / "short.wav", read_audio(SPEECH)[: FRAMES * SAMPLES_PER_FRAME], SAMPLE_RATE)
    sdk = StreamSDK(data_root=pack_of("pytorch"), device="cpu", batch_size=2)
    assert sdk.models.batch.size == 2
    result, found = run_to_pictures(sdk, tmp_path / "short.wav", tmp_path / "pictures")
    assert result.timings["warp_f3d"].count == result.timings["decode_f3d"].count == FRAMES
    assert np.abs(found.astype(int) - frames).max() <= 1


def test_all_missing_files_are_named_at_once(pack_of, tmp_path):
    small_copy(pack_of("onnx"), tmp_path / "pack")
    shutil.copy(pack_of("onnx") / "config.yaml", tmp_path / "pack")
    for name in ("decoder", "hubert", "face_mesh", "lmdm_v0.4_hubert"):
        (tmp_path / "pack" / f"{name}.onnx").unlink()
    with pytest.raises(PackError, match="model files missing") as error:
        open_pack(tmp_path / "pack", None, {})
    assert all(name in str(error.value) for name in ("decoder.onnx", "hubert.onnx", "face_mesh.onnx", "lmdm_v0.4"))
    assert "warp_network" not in str(error.value)


def test_configuration_without_entries_or_keys(pack_of, tmp_path):
    config = small_copy(pack_of("pytorch"), tmp_path / "other")
    with pytest.raises(PackError, match=r"has no config.yaml.*--cfg_pkl"):
        open_pack(tmp_path / "other", None, {})
    config = small_copy(pack_of("onnx"), tmp_path / "pack")
    del config["base_cfg"]["decoder_cfg"], config["base_cfg"]["hubert_cfg"]["model_path"]
    del config["audio2motion_cfg"]["use_sc"]
    write_config(tmp_path / "pack", config)
    with pytest.raises(PackError) as error:
        open_pack(tmp_path / "pack", None, {})
    lacking = "base_cfg.decoder_cfg", "base_cfg.hubert_cfg.model_path", "audio2motion_cfg.use_sc"
    assert all(name in str(error.value) for name in lacking)
    motion = {**load_config(pack_of("onnx") / "config.yaml").audio2motion_cfg, "w2f_type": "wav2vec"}
    with pytest.raises(PackError, match="w2f_type is 'wav2vec'; speech features can be hubert or wavlm"):
        open_pack(pack_of("onnx"), None, {"audio2motion_cfg": motion})


@pytest.mark.parametrize("kind", FORMATS)
def test_wavlm_in_place_of_hubert_works_offline_only(pack_of, tmp_path, kind):
    pytest.importorskip("transformers")
    from scripts import make_random_pack

    small_copy(pack_of(kind), tmp_path / "pack")
    folder = tmp_path / "pack" / ("aux_models" if kind == "pytorch" else "")
    make_random_pack.write_wavlm(folder, kind, 0, True)
    write_config(tmp_path / "pack", make_random_pack.pack_config(kind, True, "wavlm"))
    _, models = packs.load_pack(tmp_path / "pack")
    assert models.audio.extract(read_audio(SPEECH)[:7000]).shape == (11, 1024)
    with pytest.raises(InputError, match="offline"):
        models.audio.stream()


@pytest.mark.parametrize(
    "entry, other, text",
    [
        ("decoder_cfg", "stitch_network", "expected inputs feature, found kp_source, kp_driving; not the right model"),
        ("stitch_network_cfg", "warp_network", "warp_network.onnx: "),
        ("insightface_det_cfg", "landmark203", "a face detector with key points has 9 outputs"),
        ("landmark478_cfg", "hubert", "expected outputs regressors, classificators, found encoding_out"),
    ],
)
def test_file_of_another_model_is_named(pack_of, entry, other, text):
    root = pack_of("onnx")
    given = open_pack(root, None, {}).config.base_cfg[entry]
    key = "blaze_face_model_path" if entry == "landmark478_cfg" else "model_path"
    pack = open_pack(root, None, {"base_cfg": {entry: {**given, key: f"{other}.onnx"}}})
    with pytest.raises(PackError, match=f"{other}.onnx|{text}") as error:
        build(pack.config, pack.files)
    assert text in str(error.value) and "\n" not in str(error.value)


def test_windows_of_another_length_are_refused(pack_of):
    pack = open_pack(pack_of("onnx"), None, {"audio2motion_cfg": {"seq_frames": 60}})
    with pytest.raises(PackError, match=r"lmdm.*'x' should be \(1, 60, 265\), is \(1, 80, 265\)"):
        build(pack.config, pack.files)


def test_landmark478_takes_a_task_file_or_two_networks(pack_of):
    config = open_pack(pack_of("onnx"), None, {}).config
    pair = config.base_cfg["landmark478_cfg"]
    files = find_models(config, pack_of("onnx"))[0]
    assert "landmark478_cfg.blaze_face_model_path" in files and "landmark478_cfg.face_mesh_model_path" in files
    for entry, chosen in (
        ({"task_path": "hubert.onnx"}, True),
        ({"task_path": "hubert.onnx", "force_ori_type": True, **pair}, True),
        ({"task_path": "", **pair}, False),
        ({"task_path": "hubert.onnx", "force_ori_type": False, **pair}, False),
    ):
        changed = packs.override(config, {"base_cfg": {"landmark478_cfg": entry}})
        assert ("landmark478_cfg.task_path" in find_models(changed, pack_of("onnx"))[0]) == chosen


@pytest.fixture
def checkpoints(tmp_path, monkeypatch) -> Path:
    """An empty folder in place of checkpoints/."""
    monkeypatch.setattr(packs, "CHECKPOINTS", tmp_path)
    return tmp_path


def test_auto_takes_the_best_complete_pack_and_says_why(checkpoints, pack_of, caplog, monkeypatch):
    caplog.set_level("INFO")
    assert best_pack(None, {}).embedded
    assert "ditto_pytorch is not there; ditto_onnx is not there" in caplog.messages[-1]
    for kind in FORMATS:
        (checkpoints / f"ditto_{kind}").symlink_to(pack_of(kind))
    assert best_pack(None, {}).root.name == "ditto_pytorch"
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    assert best_pack(None, {}).root.name == "ditto_onnx"
    assert "ditto_pytorch needs the package torch" in caplog.messages[-1]


def test_auto_passes_over_an_incomplete_pack(checkpoints, caplog):
    caplog.set_level("INFO")
    (checkpoints / "ditto_onnx").mkdir()
    assert best_pack(None, {}).embedded
    assert "ditto_onnx has no config.yaml" in caplog.messages[-1]


def test_downloaded_pack_takes_the_configuration_beside_it(checkpoints):
    (checkpoints / "ditto_cfg").mkdir()
    (checkpoints / "ditto_pytorch").mkdir()
    published = checkpoints / "ditto_cfg" / "v0.4_hubert_cfg_pytorch.pkl"
    published.write_bytes(b"")
    assert packs.find_config(checkpoints / "ditto_pytorch") == published
    (checkpoints / "ditto_pytorch" / "config.yaml").touch()
    assert packs.find_config(checkpoints / "ditto_pytorch").name == "config.yaml"
