"""The same steps with a pack of the official kind: thin networks with random weights, right shapes and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.motion import SCALE
from core.settings.safe_pickle import load_plain_pickle
from prepare_data.motion_format import KEYS, to_rows
from prepare_data.options import FeatureOptions, RunOptions
from prepare_data.run import ALL_STEPS, run_steps

pytest.importorskip("torch")
pytest.importorskip("onnx")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def official_pack(tmp_path_factory):
    from scripts.make_random_pack import make_pack

    folder = tmp_path_factory.mktemp("pack")
    make_pack(folder, "pytorch", small=True)
    return folder


def test_official_features(official_pack, tmp_path, make_clip, write_info, portrait):
    info = write_info(tmp_path, [make_clip(tmp_path / "in" / "a.mp4", frames=6)])
    features = FeatureOptions(data_root=str(official_pack), emo_source="neutral")
    summary = run_steps(info, ALL_STEPS, features, RunOptions(workers=0, quiet=True, device="cpu"))
    assert not summary.failed, list(summary.lines())
    load = {name: np.load(tmp_path / name / "a.npy") for name in ("LP_npy", "LP_npy_flip", "hubert_aud_npy")}
    assert load["LP_npy"].shape == (6, 328) and load["hubert_aud_npy"].shape[1] == 1024
    assert np.abs(load["LP_npy"] - load["LP_npy_flip"]).max() > 1e-4
    frames = load_plain_pickle(tmp_path / "LP_pkl" / "a.pkl")
    assert [list(frame) for frame in frames] == [list(KEYS)] * 6
    np.testing.assert_allclose(to_rows(frames), load["LP_npy"], atol=1e-6)
    assert frames[0]["scale"][0, 0] == pytest.approx(load["LP_npy"][0, SCALE][0] + 1, abs=1e-6)


def test_motion_is_what_the_network_says_about_the_frame(official_pack):
    """One frame through the pack's own network, outside the preparation."""
    import cv2
    import torch

    from core.packs.official import load_entry
    from core.packs.pack import find_pack, open_pack
    from prepare_data.models import open_models

    torch.manual_seed(0)
    frame = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    rows = open_models(str(official_pack), None, "cpu", False, 1).motion(lambda: [frame], lambda: None, 0)
    pack = open_pack(find_pack(official_pack), None, {})
    network = load_entry(pack.config, pack.files, "motion_extractor_cfg", "motion_extractor")
    image = cv2.resize(frame, (256, 256)).astype(np.float32).transpose(2, 0, 1)[None] / 255
    np.testing.assert_allclose(rows, to_rows([network.run(image=image)]), rtol=1e-4, atol=1e-5)
