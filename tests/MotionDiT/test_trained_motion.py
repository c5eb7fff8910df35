"""Trained checkpoints of any size as the motion model of a pack, in all three file formats."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from core.errors import PackError
from core.models.lmdm import Lmdm, LmdmSizes
from core.packs.motion_config import MotionConfig, read_config
from core.packs.trained_motion import load_trained_motion, pack_condition
from MotionDiT.checkpoints import save_weights

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"frames": 10, "motion": 265, "cond": 24, "width": 16, "heads": 2, "feedforward": 24}
SIZES |= {"encoder_layers": 1, "decoder_layers": 2}
PACK = {"audio_feat_dim": 24, "use_emo": True, "use_sc": False, "seq_frames": 10}
CONDITION = {"aud": 16, "emo": 8}
FRAME = np.linspace(-1, 1, 265, dtype=np.float32)[None]
COND = np.random.default_rng(0).standard_normal((1, 10, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Lmdm(LmdmSizes(**SIZES)).eval()


@pytest.fixture(scope="module")
def export():
    sys.path.insert(0, str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("export_onnx", ROOT / "scripts" / "export_onnx.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["export_onnx"] = module
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "scripts"))
    return module


def sampled(model):
    return model.sampler(3, 5, "dpm")(FRAME, COND, 0)


def test_three_formats_give_the_same_motion(network, export, tmp_path):
    config = MotionConfig(SIZES, CONDITION, training={"epoch": 2})
    results = []
    for suffix in ("pt", "safetensors"):
        save_weights(tmp_path / f"a.{suffix}", network, config)
        assert read_config(tmp_path / f"a.{suffix}").plain() == config.plain()
        results.append(sampled(load_trained_motion(tmp_path / f"a.{suffix}", PACK, device="cpu")))
    assert export.main(["--lmdm", str(tmp_path / "a.pt"), "--out", str(tmp_path / "a.onnx")]) == 0
    assert read_config(tmp_path / "a.onnx").plain() == config.plain()
    model = load_trained_motion(tmp_path / "a.onnx", PACK)
    results.append(sampled(model))
    assert model.frames == 10 and results[0].shape == (1, 10, 265) and np.isfinite(results[0]).all()
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-3, atol=1e-3 * results[0].std())


def test_export_has_guidance_and_no_clip(network, export, tmp_path):
    from core.backends.onnx import load_session

    with torch.no_grad():
        network.final_layer.bias[0] += 40
    save_weights(tmp_path / "a.pt", network, MotionConfig(SIZES, CONDITION))
    export.main(["--lmdm", str(tmp_path / "a.pt"), "--out", str(tmp_path / "a.onnx")])
    x = np.random.default_rng(1).standard_normal((1, 10, 265)).astype(np.float32)
    found = load_session(tmp_path / "a.onnx").run(x=x, cond_frame=FRAME, cond=COND, time_cond=np.array([400]))
    inputs = (torch.from_numpy(x), torch.from_numpy(FRAME), torch.from_numpy(COND), torch.tensor([400]))
    with torch.no_grad():
        noise, start = network(*inputs)
        network.final_layer.bias[0] -= 40
    np.testing.assert_allclose(found["x_start"], start, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["pred_noise"], noise, rtol=1e-4, atol=1e-4)
    assert found["x_start"][0, :, 0].min() > 30


def test_an_exported_network_needs_no_torch(network, export, tmp_path):
    save_weights(tmp_path / "a.pt", network, MotionConfig(SIZES, CONDITION))
    export.main(["--lmdm", str(tmp_path / "a.pt"), "--out", str(tmp_path / "a.onnx")])
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np\n"
        "from core.packs.trained_motion import load_trained_motion\n"
        f"model = load_trained_motion({str(tmp_path / 'a.onnx')!r}, {PACK!r})\n"
        "print(model.sampler(0, 4)(np.zeros((1, 265), 'f'), np.zeros((1, 10, 24), 'f'), 0).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "(1, 10, 265)", done.stderr


def test_scaling_and_relative_columns_are_undone(network, tmp_path):
    mean, variance = np.linspace(-2, 2, 265), np.linspace(0.25, 4, 265)
    save_weights(tmp_path / "plain.pt", network, MotionConfig(SIZES, CONDITION))
    config = MotionConfig(SIZES, CONDITION, 0, (199, 202), mean.tolist(), variance.tolist())
    save_weights(tmp_path / "scaled.pt", network, config)
    inside = load_trained_motion(tmp_path / "plain.pt", PACK, device="cpu").sampler(0, 4)
    outside = load_trained_motion(tmp_path / "scaled.pt", PACK, device="cpu").sampler(0, 4)
    scaled = ((FRAME - mean) / np.sqrt(variance)).astype(np.float32)
    expected = inside(scaled, COND, 0)
    expected[..., 199:202] += scaled[:, None, 199:202]
    np.testing.assert_allclose(outside(FRAME, COND, 0), expected * np.sqrt(variance) + mean, rtol=1e-4, atol=1e-4)


def test_misfits_are_explained(network, tmp_path):
    path = tmp_path / "a.pt"
    save_weights(path, network, MotionConfig(SIZES, CONDITION))
    told = r"trained on 16 \(aud\) \+ 8 \(emo\) = 24 .* gives 385 \(aud\) \+ 8 \(emo\) = 393"
    with pytest.raises(PackError, match=told):
        load_trained_motion(path, {**PACK, "audio_feat_dim": 393})
    save_weights(path, network, MotionConfig({**SIZES, "motion": 63}, CONDITION, 202))
    with pytest.raises(PackError, match=r"columns 202 .. 264; inference needs all 265"):
        load_trained_motion(path, PACK)
    save_weights(path, network, MotionConfig({**SIZES, "width": 32}, CONDITION))
    with pytest.raises(PackError, match="lmdm with other sizes"):
        load_trained_motion(path, PACK)
    save_weights(path, network, MotionConfig(SIZES, {"aud": 17, "emo": 8}))
    with pytest.raises(PackError, match="describes 25 condition columns for a network of 24"):
        load_trained_motion(path, PACK)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(PackError, match="a.pt"):
        load_trained_motion(path, PACK)
    with pytest.raises(PackError, match="no such checkpoint"):
        load_trained_motion(tmp_path / "b.onnx", PACK)


def test_condition_of_a_pack():
    official = {"audio_feat_dim": 1103, **dict.fromkeys(("use_emo", "use_sc", "use_eye_open", "use_eye_ball"), True)}
    assert pack_condition(official) == {"aud": 1024, "emo": 8, "eye_open": 2, "eye_ball": 6, "sc": 63}
    assert pack_condition({"audio_feat_dim": 393, "use_emo": True}) == {"aud": 385, "emo": 8}


def run_inference(checkpoint, output):
    command = [sys.executable, str(ROOT / "inference.py"), "--data_root", str(ROOT / "checkpoints" / "ditto_lite")]
    command += ["--audio_path", str(ROOT / "example" / "sentence.wav"), "--max_size", "256", "--overlap_v2", "4"]
    command += ["--lmdm", str(checkpoint), "--output_path", str(output), "--sampling_timesteps", "2", "--quiet"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_the_front_door_takes_a_checkpoint(tmp_path):
    sizes = SIZES | {"cond": 393, "frames": 40}
    config = MotionConfig(sizes, {"aud": 385, "emo": 8})
    torch.manual_seed(1)
    save_weights(tmp_path / "own.safetensors", Lmdm(LmdmSizes(**sizes)).eval(), config)
    done = run_inference(tmp_path / "own.safetensors", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mp4").stat().st_size > 10_000


def test_the_front_door_explains_a_checkpoint_of_another_pack(network, tmp_path):
    save_weights(tmp_path / "other.safetensors", network, MotionConfig(SIZES, CONDITION))
    done = run_inference(tmp_path / "other.safetensors", tmp_path / "out.mp4")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "16 (aud) + 8 (emo)" in done.stderr and "385 (aud) + 8 (emo)" in done.stderr
    assert not (tmp_path / "out.mp4").exists()
