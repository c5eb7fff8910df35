"""Speech windows around each frame, and the extractor behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")

from core.errors import InputError
from core.lite.speech_encoder import SpeechEncoder
from core.packs.pack import EMBEDDED
from DiffTalk.speech import audio_conditions, conditions_of, encoder_rows, read_logits

EXAMPLE = Path(__file__).parents[2] / "example"


def test_windows_of_each_frame() -> None:
    rows = np.arange(1, 41, dtype=np.float32)[:, None] * np.ones(29, np.float32)
    stacks = audio_conditions(rows)
    assert stacks.shape == (20, 8, 16, 29)
    assert not stacks[0, :4].any()  # no windows before the clip
    window = stacks[0, 4, :, 0]  # of frame 0: rows -8 .. 7
    assert window.tolist() == [0] * 8 + list(range(1, 9))
    assert stacks[10, 4, :, 0].tolist() == list(range(13, 29))  # rows 12 .. 27
    assert np.array_equal(stacks[10, 7], stacks[13, 4])
    assert not stacks[19, 5:].any()


def test_rows_are_the_encoder_s_at_twice_the_rate() -> None:
    audio, _rate = soundfile.read(EXAMPLE / "sentence.wav", dtype="float32")
    encoder = SpeechEncoder(EMBEDDED / "speech_encoder.onnx")
    rows = encoder_rows(encoder, audio[: 5 * 16000])
    whole = encoder.extract(audio[: 5 * 16000])[:, :384]
    halves = rows.reshape(len(whole), 2, 384).mean(axis=1)
    assert np.corrcoef(halves.ravel(), whole.ravel())[0, 1] > 0.99


def test_logits_of_another_program(tmp_path: Path) -> None:
    audio = tmp_path / "a.wav"
    soundfile.write(audio, np.zeros(16000, np.float32), 16000)
    path = tmp_path / "a.npy"
    np.save(path, np.ones((50, 29), np.float32))
    stacks, name = conditions_of(audio, path)
    assert stacks.shape == (25, 8, 16, 29) and name == "file"
    np.save(path, np.ones((80, 29), np.float32))
    with pytest.raises(InputError, match="80 rows do not fit"):
        conditions_of(audio, path)


@pytest.mark.parametrize("bad", [np.ones((50, 28)), np.ones(50), np.full((5, 29), np.nan), np.ones((5, 29), int)])
def test_wrong_logits(tmp_path: Path, bad: np.ndarray) -> None:
    path = tmp_path / "a.npy"
    np.save(path, bad)
    with pytest.raises(InputError, match="a.npy"):
        read_logits(path)
