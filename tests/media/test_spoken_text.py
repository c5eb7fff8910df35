"""Text to speech with what is installed here."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InputError
from core.media import spoken_text
from core.media.spoken_text import MAX_CHARACTERS, Voice, installed_voices, speak


@pytest.fixture(scope="module")
def voice() -> Voice:
    voices = installed_voices()
    if not voices:
        pytest.skip("neither flite nor espeak-ng is installed")
    return voices[0]


def test_longer_texts_take_longer(voice):
    short, long = speak("Hello.", voice), speak("Hello there, how are you doing on this fine day?", voice)
    assert short.dtype == np.float32 and 0.05 < np.abs(short).max() <= 1
    assert 0.2 * 16000 < len(short) < len(long)


def test_text_is_never_an_option_or_a_command(voice, tmp_path):
    target = tmp_path / "made"
    speak(f"--help $(touch {target}) `touch {target}`; touch {target}", voice)
    assert not target.exists()


@pytest.mark.parametrize(
    "text, words", [("", "no text"), ("\x00 \n", "no text"), ("a" * (MAX_CHARACTERS + 1), "at most")]
)
def test_bad_texts(text, words):
    with pytest.raises(InputError, match=words):
        speak(text)


def test_nothing_installed(monkeypatch):
    monkeypatch.setattr(spoken_text.shutil, "which", lambda name: None)
    assert installed_voices() == []
    with pytest.raises(InputError, match="install flite or espeak-ng"):
        speak("hello")


def test_a_failing_synthesiser_is_named(monkeypatch):
    monkeypatch.setitem(spoken_text._COMMANDS, "flite", lambda *_: ["sh", "-c", "echo no such voice >&2; exit 1"])
    with pytest.raises(InputError, match="flite could not speak the text .no such voice"):
        speak("hello", Voice("none", "flite", "slt"))
