"""WavLM: windows, averaging, normalisation; weights under three kinds of names; refused for live sources."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from core.aux_models.wavlm import FUTURE, PAST, STEP, WavLm
from core.errors import InputError, PackError
from core.motion import num_frames

SMALL = {
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 8,
}
AUTHORS = (  # name in transformers -> name in the authors' file
    (r"^masked_spec_embed$", "mask_emb"),
    (r"^feature_projection\.projection\.", "post_extract_proj."),
    (r"^feature_projection\.layer_norm\.", "layer_norm."),
    (r"(conv_layers\.\d+)\.conv\.", r"\1.0."),
    (r"(conv_layers\.\d+)\.layer_norm\.", r"\1.2.1."),
    (r"encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"(layers\.\d+)\.layer_norm", r"\1.self_attn_layer_norm"),
    (r"gru_rel_pos_linear", "grep_linear"),
    (r"gru_rel_pos_const", "grep_a"),
    (r"rel_attn_embed", "relative_attention_bias"),
    (r"\.attention\.", ".self_attn."),
    (r"feed_forward\.intermediate_dense", "fc1"),
    (r"feed_forward\.output_dense", "fc2"),
)


class FakeWavLm:
    """Row r, all columns: mean of the 320 samples in the middle of its 400; remembers the lengths of its windows."""

    def __init__(self, lost_rows=0):
        self.inputs, self.path = {"audio": SimpleNamespace(shape=(1, None))}, "fake.onnx"
        self.lengths, self._lost = [], lost_rows

    def run(self, audio):
        self.lengths.append(audio.shape[1])
        count = (audio.shape[1] - 400) // 320 + 1 - self._lost
        means = [audio[0, 320 * r + 40 : 320 * r + 360].mean() for r in range(count)]
        return {"features": np.repeat(np.array(means, np.float32)[None, :, None], 1024, axis=2)}


@pytest.mark.parametrize("samples", [1, 640, 641, 20_000, 640 * STEP, 640 * STEP + 1, 640 * (2 * STEP + 7) + 3])
def test_each_frame_has_the_features_of_its_own_samples(samples):
    rng = np.random.default_rng(samples)
    audio = rng.normal(0.02, 0.1, samples).astype(np.float32)
    rows = WavLm(FakeWavLm()).extract(audio)
    frames = num_frames(samples)
    scaled = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
    expected = np.pad(scaled, (0, frames * 640 - samples)).reshape(frames, 640).mean(axis=1)
    assert rows.shape == (frames, 1024) and rows.dtype == np.float32
    np.testing.assert_allclose(rows[:, 7], expected, atol=1e-4)


def test_windows_are_bounded_and_overlap():
    session = FakeWavLm()
    WavLm(session).extract(np.zeros(640 * (3 * STEP), np.float32))
    full = 640 * (PAST + STEP + FUTURE) + 80
    assert session.lengths == [full - 640 * PAST, full, full - 640 * FUTURE] and full <= 320_080


def test_loudness_and_offset_do_not_matter():
    audio = np.random.default_rng(0).normal(0, 0.1, 9000).astype(np.float32)
    encoder = WavLm(FakeWavLm())
    np.testing.assert_allclose(encoder.extract(0.3 * audio + 0.1), encoder.extract(audio), atol=1e-3)


@pytest.mark.parametrize("frames", [0, 3])
def test_silence(frames):
    rows = WavLm(FakeWavLm()).silence(frames)
    assert rows.shape == (frames, 1024) and not rows.any()


def test_live_sources_are_refused_with_the_reason():
    encoder = WavLm(FakeWavLm())
    assert not encoder.can_stream
    with pytest.raises(InputError, match="WavLM.*cannot be computed live.*offline"):
        encoder.stream()


def test_bad_audio_and_a_wrong_network_are_refused():
    with pytest.raises(InputError, match="empty"):
        WavLm(FakeWavLm()).extract(np.zeros(0))
    with pytest.raises(PackError, match="fake.onnx: expected an output of 2 x 1024"):
        WavLm(FakeWavLm(lost_rows=1)).extract(np.zeros(100))


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from core.aux_models.wavlm_torch import build_wavlm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_wavlm(SMALL).eval()


def renamed(state, rules):
    names = {}
    for key, value in state.items():
        for pattern, name in rules:
            key = re.sub(pattern, name, key)
        names[key] = value
    return names


WEIGHT_NORM = (
    (r"parametrizations\.weight\.original0", "weight_g"),
    (r"parametrizations\.weight\.original1", "weight_v"),
)


@pytest.mark.parametrize("kind", ["plain", "older", "authors"])
def test_weights_under_any_published_name_give_the_same(network, tmp_path, kind):
    import torch

    from core.aux_models.wavlm_torch import load_wavlm

    state = network.state_dict()
    if kind == "older":
        state = {f"wavlm.{key}": value for key, value in renamed(state, WEIGHT_NORM).items()}
        del state["wavlm.masked_spec_embed"]
    if kind == "authors":
        state = {"cfg": {"normalize": True}, "model": renamed(state, (*WEIGHT_NORM, *AUTHORS))}
    torch.save(state, tmp_path / "wavlm.pth")
    audio = np.random.default_rng(1).normal(0, 1, (1, 6480)).astype(np.float32)
    rows = load_wavlm(tmp_path / "wavlm.pth", "cpu", SMALL).run(audio=audio)["features"]
    with torch.inference_mode():
        expected = network(torch.tensor(audio)).last_hidden_state.numpy()
    assert rows.shape == (1, 20, 1024)
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_weights_of_something_else_are_refused(network, tmp_path):
    import torch

    from core.aux_models.wavlm_torch import load_wavlm

    state = dict(network.state_dict())
    state.pop("encoder.layer_norm.weight")
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(PackError, match=r"part.pth: these are not the weights of wavlm.*encoder.layer_norm.weight"):
        load_wavlm(tmp_path / "part.pth", "cpu", SMALL)


def test_missing_library_names_the_extra(monkeypatch):
    pytest.importorskip("torch")
    import sys

    from core.aux_models.wavlm_torch import build_wavlm

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PackError, match=r"\[wavlm\]"):
        build_wavlm()


def test_an_offset_of_the_recording_changes_nothing():
    """Its variance is that around the mean; as a difference of two large sums it would drown in rounding."""
    rng = np.random.default_rng(0)
    wave = np.repeat(rng.normal(0, 1e-3, 6000), 320).astype(np.float32)
    plain, shifted = (WavLm(FakeWavLm()).extract(audio) for audio in (wave, wave + np.float32(0.5)))
    np.testing.assert_allclose(shifted[1:-1], plain[1:-1], atol=0.02)
    assert plain.std() > 0.5
