"""Text -> speech with the synthesisers that are installed on this machine: flite, espeak-ng."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.media.audio import read_audio

MAX_CHARACTERS = 4000
_TIMEOUT = 60  # seconds
# name -> (program, its name of the voice)
_VOICES = {
    "slt (flite)": ("flite", "slt"),
    "rms (flite)": ("flite", "rms"),
    "awb (flite)": ("flite", "awb"),
    "English (espeak-ng)": ("espeak-ng", "en-us"),
    "English, female (espeak-ng)": ("espeak-ng", "en-us+f3"),
    "German (espeak-ng)": ("espeak-ng", "de"),
    "French (espeak-ng)": ("espeak-ng", "fr-fr"),
    "Spanish (espeak-ng)": ("espeak-ng", "es"),
    "Chinese (espeak-ng)": ("espeak-ng", "cmn"),
}
_COMMANDS: dict[str, Callable[[str, Path, Path], list[str]]] = {
    "flite": lambda voice, text, sound: ["flite", "-voice", voice, "-f", str(text), "-o", str(sound)],
    "espeak-ng": lambda voice, text, sound: ["espeak-ng", "-v", voice, "-f", str(text), "-w", str(sound)],
}


@dataclass(frozen=True)
class Voice:
    """A voice that can be used here."""

    name: str
    program: str
    code: str


def installed_voices() -> list[Voice]:
    """The voices of the synthesisers on this machine, the best first; empty when there are none."""
    return [Voice(name, *entry) for name, entry in _VOICES.items() if shutil.which(entry[0])]


def speak(text: str, voice: Voice | None = None) -> np.ndarray:
    """Say a text.

    Args:
        text: at most MAX_CHARACTERS characters.
        voice: one of `installed_voices()`; None: the first.

    Returns:
        (n,) float32 at 16 kHz. Raises InputError for an empty or too long text, and when nothing is installed or the
        synthesiser fails.
    """
    text = "".join(c if c.isprintable() else " " for c in text).strip()
    if not text:
        raise InputError("there is no text to speak")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"the text has {len(text)} characters; at most {MAX_CHARACTERS} are spoken at a time")
    voice = voice or next(iter(installed_voices()), None)
    if voice is None:
        raise InputError("no speech synthesiser is installed; install flite or espeak-ng, or give a recording")
    with tempfile.TemporaryDirectory() as folder:
        written, sound = Path(folder, "text.txt"), Path(folder, "speech.wav")
        written.write_text(text, encoding="utf-8")
        command = _COMMANDS[voice.program](voice.code, written, sound)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{voice.program} could not speak the text ({error})") from None
        if done.returncode or not sound.is_file():
            reason = " ".join(done.stderr.split()) or "no output"
            raise InputError(f"{voice.program} could not speak the text ({reason})")
        return read_audio(sound)
