"""Make synthetic speech with known phoneme times: flite sentences as 16 kHz wav files and one JSON of their phones.

    python scripts/ditto_lite/make_phone_speech.py OUT_DIR [--sentences 900] [--seed 0]

Needs the `flite` program (voices slt, awb, rms, kal16). The sentences come from small word lists, rich in lip closures.
Phones are [name, start, end] in seconds; names are flite's (ARPAbet in small letters, `pau` for silence).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import wave
from pathlib import Path

VOICES = ("slt", "awb", "rms", "kal16")

WHO = """my mother|the farmer|a young woman|Peter and Mary|the whole family|Bob|our best friend
|the old captain|some people|the mayor|every pupil|Vivian|a famous painter|the plumber|Doctor Wilson
|the members of the club|a quiet boy|Mister Brown|the new teacher|Emma|nobody|the president
|two brave women|the man with the beard|your uncle|the visitor|Frank|I|we|they|she|he|you and I
|the queen|a beautiful bird|the company|the committee|this machine|that big dog|the children"""
DID = """wanted to buy|has already seen|never believed in|will probably move|might remember|painted|opened
|found|put away|forgot about|is going to keep|was looking for|brought home|asked for
|often plays with|cannot afford|should improve|gave up|took a picture of|finally received
|used to make|must have lost|would rather have|is thinking about|carried|complained about|described
|prepared|gladly shared|worked on|helped us with|climbed over|measured|simply loves|broke"""
WHAT = """a bowl of apples|the map of Europe|five fresh pumpkins|a warm blanket|the paper boat
|this wonderful movie|a cup of coffee|the bottom shelf|his broken umbrella|her favourite song
|the empty bottle|a very small room|the problem|seven purple flowers|the black and white film
|some butter and jam|a pair of brown boots|the number of visitors|every penny|our summer house
|a box of matches|the lamp by the window|the first chapter|many good ideas|a simple answer
|the boring meeting|its own shadow|a bunch of grapes|the value of money|a loaf of bread
|the top of the mountain|the wooden bridge|a few more minutes|what we had seen|the open door
|a long letter|the weather|those yellow leaves|an amazing jump|the football game|the moon"""
WHERE = """before the meeting|in the middle of the night|at home|above the village|from the beginning
|on Monday morning|after a while|behind the barn|without any help|in September|with both hands
|because of the storm|for the first time|near the river|as fast as possible|for my birthday
|under the table|by mistake|at half past five|on the way back|in a very calm voice
|every now and then|between two buildings|while we were away|if you must know|in the public park
|today"""
EXTRA = """Maybe.|Well, I hope so.|Of course!|Why not?|Please be patient.|Oh, what a pity.|Hmm, perhaps.
|Come back tomorrow!|You know what I mean.|That is impossible.|Let me think about it.
|Who would believe it?|How about a walk?|Yes, we do.|No, thank you.|Never mind.|We have to move on.
|It's about time.|Are you coming?|Thank you very much for your time.|Good evening, everybody."""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--sentences", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out_dir.mkdir(parents=True, exist_ok=True)
    rng = random.Random(args.seed)
    index = {}
    for i in range(args.sentences):
        voice = VOICES[i % len(VOICES)]
        name = f"{voice}_{i:04d}"
        text = sentence(rng)
        index[name] = {"voice": voice, "text": text, "phones": speak(text, voice, args.out_dir / f"{name}.wav", rng)}
    (args.out_dir / "phones.json").write_text(json.dumps(index))


def sentence(rng: random.Random) -> str:
    """A random English sentence or two."""
    who, did, what, where = (rng.choice(part.replace("\n", "").split("|")) for part in (WHO, DID, WHAT, WHERE))
    text = rng.choice([f"{who} {did} {what} {where}.", f"{where}, {who} {did} {what}.", f"{who} {did} {what}!"])
    if rng.random() < 0.4:
        extra = rng.choice(EXTRA.replace("\n", "").split("|"))
        text = f"{extra} {text}" if rng.random() < 0.5 else f"{text} {extra}"
    return text[0].upper() + text[1:]


def speak(text: str, voice: str, path: Path, rng: random.Random) -> list[tuple[str, float, float]]:
    """Speak a text into a wav file at a random rate and pitch and return its phones (name, start, end) in seconds."""
    stretch, shift = rng.uniform(0.8, 1.15), rng.uniform(0.85, 1.2)
    options = ["--setf", f"duration_stretch={stretch:.3f}", "--setf", f"f0_shift={shift:.3f}"]
    command = ["flite", "-voice", voice, *options, "-psdur", "-t", text, "-o", str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names, ends = zip(*(item.rsplit(":", 1) for item in output.split()))
    factor = wav_seconds(path) / float(ends[-1])  # the diphone voice ends a little earlier than it says
    times = [0.0, *(round(float(end) * factor, 4) for end in ends)]
    return list(zip(names, times[:-1], times[1:]))


def wav_seconds(path: Path) -> float:
    """Length of a wav file."""
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


if __name__ == "__main__":
    main()
