"""Make a small training set that is free of rights: talking clips of public-domain portraits with synthetic voices.

    python example/make_trainset_example.py

The embedded pack renders short 25 fps videos into example/trainset_example/fps25_mp4. The voices are those of espeak-ng
and flite, whichever is installed; without them the recordings in example/ are cut into pieces. It is data to try the
training with: what the pack cannot do, nobody learns from it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

import numpy as np

from core.cli.program import Parser, run_program
from core.errors import InputError
from core.media import read_audio
from core.media.audio import SAMPLE_RATE
from prepare_data.sound import write_wav

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "trainset_example" / "fps25_mp4"
PORTRAITS = (
    HERE / "portrait.png",
    HERE.parent / "tests" / "data" / "grace_hopper.jpg",
    HERE.parent / "tests" / "data" / "astronaut_mirrored_small.jpg",
)
RECORDINGS = (HERE / "speech.wav", HERE / "sentence.wav")
PIECE = 3.6  # seconds of a recording per clip; training needs 81 frames, 3.24 s
SENTENCES = (
    "My brother bought a big brown basket of apples before the market closed on Friday.",
    "Maybe we should move the table by the window, so that everybody can see the map.",
    "When the weather is fine, we often walk along the river and feed the birds in the park.",
    "Please put both bottles back on the top shelf, and remember to shut the door behind you.",
    "The old captain told us a very long story about whales, storms and forgotten islands.",
    "She plays the piano every evening, while the children finish their homework upstairs.",
    "If you have five minutes, I would like to show you how this wonderful machine works.",
    "Bob and Pamela may visit the museum in September, provided that the bus runs on Monday.",
)


@dataclass(frozen=True)
class Voice:
    """A speaker: name for files, and what writes a text as a wav file."""

    name: str
    speak: Callable[[str, Path], None]


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=6, help="number of clips (default 6)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the clips")
    options = parser.parse(argv)
    return run_program(
        lambda: make(options.out, options.clips), "interrupted; the same command goes on where it stopped"
    )


def make(out: Path, clips: int) -> None:
    """Render the clips that are not there yet. Raises InputError for a number below 1, other DittoErrors of the SDK."""
    if clips < 1:
        raise InputError(f"--clips is {clips}; at least one is needed")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    from core.sdk import StreamSDK

    sdk = StreamSDK(data_root="ditto_lite")
    portraits = [path for path in PORTRAITS if path.is_file()]
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, sound) in enumerate(spoken(clips, Path(scratch))):
            target = out / f"{name}.mp4"
            if target.is_file():
                print(f"{target}: there already")
                continue
            result = sdk.run(portraits[number % len(portraits)], sound, target, seed=number)
            print(f"{target}: {result.frames} frames")
    print(f"now: python {HERE.name}/get_data_info_json_for_trainset_example.py")


def spoken(clips: int, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Name and sound file of each clip."""
    voices = installed_voices()
    if not voices:
        print("neither espeak-ng nor flite is installed: the clips speak pieces of the recordings in example/")
        yield from _pieces(clips, scratch)
        return
    for number in range(clips):
        voice = voices[number % len(voices)]
        name = f"clip_{number:02d}_{voice.name}"
        sound = scratch / f"{name}.wav"
        voice.speak(SENTENCES[number % len(SENTENCES)], sound)
        yield name, sound


def installed_voices() -> list[Voice]:
    """Voices of flite and espeak-ng in turn, as far as they are installed."""
    flite = [Voice(f"flite_{name}", _flite(name)) for name in ("slt", "rms", "awb") if shutil.which("flite")]
    espeak = [
        Voice(f"espeak_{name.replace('+', '_')}", _espeak(name))
        for name in ("en-us+f3", "en-gb+m3", "en-us+m7")
        if shutil.which("espeak-ng")
    ]
    longest = max(len(flite), len(espeak))
    return [voice for turn in range(longest) for voices in (flite, espeak) for voice in voices[turn : turn + 1]]


def _flite(voice: str) -> Callable[[str, Path], None]:
    return lambda text, path: _run(["flite", "-voice", voice, "-t", text, "-o", str(path)])


def _espeak(voice: str) -> Callable[[str, Path], None]:
    return lambda text, path: _run(["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), text])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not Path(command[command.index("-o" if command[0] == "flite" else "-w") + 1]).is_file():
        raise InputError(f"{command[0]} could not speak: {' '.join(done.stderr.split()) or 'no sound written'}")


def _pieces(clips: int, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Pieces of the recordings, one after the other, from the front again when they are used up."""
    speech = np.concatenate([read_audio(path) for path in RECORDINGS])
    size = round(PIECE * SAMPLE_RATE)
    for number in range(clips):
        start = number * size % (len(speech) - size)
        name = f"clip_{number:02d}_recording"
        sound = scratch / f"{name}.wav"
        write_wav(sound, speech[start : start + size])
        yield name, sound


if __name__ == "__main__":
    sys.exit(main())
