"""The 106 and 203 landmark adapters and the HuBERT adapter against goldens."""

import numpy as np
import pytest

from core.atomic_components.wav2feat import Wav2Feat, kept_features
from core.aux_models.hubert_streaming import HubertStreaming
from core.aux_models.landmark106 import Landmark106, view_matrix
from core.aux_models.landmark203 import Landmark203
from core.errors import InputError, PackError


def test_106_landmarks_are_the_golden_ones(golden, makers, fake_session, assert_sampled):
    arrays = golden("adapters.npz")
    session = fake_session({"fc1": arrays["lm106/pred"]}, data=(1, 3, 192, 192))
    box = arrays["lm106/bbox"]
    points = Landmark106(session)(makers.picture("adapters/lm106/image", *arrays["lm106/image_hw"]), box)
    np.testing.assert_allclose(points, arrays["lm106/points"], atol=1e-4)
    np.testing.assert_allclose(view_matrix(box), arrays["lm106/M"], atol=1e-5)  # the golden one was rounded to float32
    assert_sampled(session.fed[0], arrays, "lm106/blob", atol=1.0)
    assert_sampled(session.fed[0], arrays, "lm106/blob", atol=0.0, off=0.15)


def test_106_pipeline_goldens(golden, picture, fake_session):
    arrays = golden("pipeline_aux.npz")
    session = fake_session({"fc1": arrays["l106_raw"]}, data=(1, 3, 192, 192))
    points = Landmark106(session)(picture(360, 480), arrays["l106_bbox"])
    np.testing.assert_allclose(points, arrays["l106_out"], atol=1e-4)
    np.testing.assert_allclose(session.fed[0][0, :, ::12, ::12], arrays["l106_blob"], atol=4)


def test_106_takes_the_last_rows_and_any_input_name(golden, fake_session):
    arrays = golden("pipeline_aux.npz")
    longer = np.concatenate([np.zeros((1, 20), np.float32), arrays["l106_raw"]], axis=1)
    session = fake_session({"out": longer}, picture=(1, 3, 192, 192))
    points = Landmark106(session)(np.zeros((50, 50, 3), np.uint8), arrays["l106_bbox"])
    np.testing.assert_allclose(points, arrays["l106_out"], atol=1e-4)


def test_106_survives_an_empty_box(fake_session):
    session = fake_session({"fc1": np.zeros((1, 212), np.float32)}, data=(1, 3, 192, 192))
    points = Landmark106(session)(np.zeros((50, 50, 3), np.uint8), np.array([7.0, 8, 7, 8]))
    np.testing.assert_allclose(points, np.tile([7.0, 8], (106, 1)), atol=1e-4)


def test_203_landmarks_are_the_golden_ones(golden, makers, fake_session, assert_sampled):
    arrays = golden("adapters.npz")
    session = fake_session({"landmarks": arrays["lm203/pred"]}, input=(1, 3, 224, 224))
    crop = makers.picture("adapters/lm203/crop", 224, 224)
    points = Landmark203(session)(crop, arrays["lm203/M_c2o"])
    np.testing.assert_allclose(points, arrays["lm203/points"], atol=1e-4)
    assert_sampled(session.fed[0], arrays, "lm203/input", atol=1e-6)
    np.testing.assert_allclose(Landmark203(session)(crop, np.eye(3)), arrays["lm203/points_nocrop"], atol=1e-4)


def test_203_pipeline_goldens_from_the_original_file(golden, fake_session):
    arrays = golden("pipeline_aux.npz")
    other = np.zeros((1, 214), np.float32)
    session = fake_session({"a": other, "b": other, "c": arrays["l203_raw"]}, input=(1, 3, 224, 224))
    points = Landmark203(session)(np.zeros((224, 224, 3), np.uint8), arrays["l203_M_c2o"])
    np.testing.assert_allclose(points, arrays["l203_out"], atol=1e-4)


def test_a_foreign_landmark_model_is_refused(fake_session):
    wrong = fake_session({"landmarks": np.zeros((1, 136), np.float32)}, input=(1, 3, 224, 224))
    with pytest.raises(PackError, match=r"fake.onnx: expected an output of 203 x 2 values, found \[1, 136\]"):
        Landmark203(wrong)(np.zeros((224, 224, 3), np.uint8), np.eye(3))
    two = fake_session({"fc1": np.zeros((1, 212), np.float32)}, a=(1,), b=(1,))
    with pytest.raises(PackError, match="expected one input, found a, b"):
        Landmark106(two)(np.zeros((9, 9, 3), np.uint8), np.array([0.0, 0, 5, 5]))


def fake_encoder(samples):
    """Row k, column j = sample 320 k + j / 1024."""
    rows = (samples.shape[1] - 400) // 320 + 1
    return samples[0, : 320 * rows : 320][:, None] + np.arange(1024, dtype=np.float32) / 1024


@pytest.mark.parametrize("n", [20800, 640, 3200, 16001])
def test_hubert_features_are_the_golden_ones(golden, makers, fake_session, n):
    arrays = golden("adapters.npz")
    session = fake_session({"encoding_out": fake_encoder}, input_values=(1, "n"))
    rows = Wav2Feat(HubertStreaming(session)).extract(makers.uniform(f"adapters/hubert/{n}", (n,)))
    np.testing.assert_allclose(rows[:, [0, 1, 1023]], arrays[f"hubert/{n}/features"], atol=1e-4)
    assert [fed.shape[1] for fed in session.fed] == arrays[f"hubert/{n}/chunk_lengths"].tolist()


def test_hubert_chunk_with_and_without_batch_axis(golden, makers, fake_session):
    arrays, samples = golden("adapters.npz"), makers.uniform("adapters/hubert/chunk", (6480,))
    for encoder in (fake_encoder, lambda samples: fake_encoder(samples)[None]):
        hubert = HubertStreaming(fake_session({"encoding_out": encoder}, input_values=(1, "n")))
        rows = kept_features(hubert, samples, 5, 2)
        np.testing.assert_allclose(rows[:, [0, 1, 1023]], arrays["hubert/chunk/features"], atol=1e-4)


def test_hubert_refuses_too_short_audio(fake_session):
    hubert = HubertStreaming(fake_session({"encoding_out": fake_encoder}, input_values=(1, "n")))
    with pytest.raises(InputError, match="n >= 400"):
        hubert(np.zeros((1, 399), np.float32))
