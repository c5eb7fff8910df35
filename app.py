"""A page in the browser: a portrait, speech or text, and a talking video.

    python app.py                  # opens on http://127.0.0.1:7860; nothing is sent anywhere else

Needs the extra `app` (gradio).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from core.cli.program import Parser, run_program, set_up_logging
from core.errors import DittoError, InputError
from core.media.audio import lasts_longer
from core.media.spoken_text import installed_voices, speak
from core.motion import SAMPLE_RATE
from core.settings.emotions import EMOTIONS

ROOT = Path(__file__).resolve().parent
PORTRAIT, SPEECH = ROOT / "example" / "portrait.png", ROOT / "example" / "speech.wav"
LONGEST = 600  # seconds of speech
CONSENT = (
    "Use faces and voices only with the consent of the people they belong to. "
    "The video says in its metadata that it is synthetic. Everything stays on this machine."
)


def build_page(sdk: Any, workplace: Path):
    """The Gradio page over a loaded StreamSDK. Results are written into `workplace`."""
    import gradio as gr

    voices = {voice.name: voice for voice in installed_voices()}

    def talk(
        picture, clip, sound, text, voice, emotion, seed, crop_scale, max_size, progress=gr.Progress()
    ) -> tuple[str, str]:
        source = clip or picture
        if source is None:
            raise gr.Error("Give a portrait first: a picture, or a video.")
        options = {"emo": emotion, "seed": int(seed), "crop_scale": crop_scale, "max_size": int(max_size)}
        try:
            audio = _speech(sound, text, voices.get(voice), workplace)
            output = _fresh(workplace, ".mp4")
            result = sdk.run(source, audio, output, lambda *done: progress(done, unit="frames"), **options)
        except DittoError as error:
            raise gr.Error(str(error).replace(f"{workplace}/", "")) from None
        speed = 1 / result.real_time_factor
        return str(result.output), f"{result.frames} frames in {result.elapsed:.1f} s: {speed:.1f} times real time"

    with gr.Blocks(title="Talking portrait", analytics_enabled=False) as page:
        gr.Markdown(f"# Talking portrait\nA face and speech in, a talking video out. {CONSENT}")
        with gr.Row():
            with gr.Column():
                inputs, start = _inputs(gr, list(voices))
            with gr.Column():
                video = gr.Video(label="Result", interactive=False, buttons=["download"])
                figures = gr.Markdown()
        start.click(talk, inputs, [video, figures], concurrency_limit=1, api_name="talk")
    return page


def _inputs(gr: Any, voices: list[str]) -> tuple[list[Any], Any]:
    """What the user gives, as `talk` in `build_page` takes it, and the button that starts it."""
    with gr.Tab("Picture"):
        picture = gr.Image(str(PORTRAIT), type="filepath", label="Portrait", sources=["upload", "webcam"], height=380)
    with gr.Tab("Video"):
        clip = gr.Video(label="Portrait video (used instead of the picture)", sources=["upload"])
    with gr.Tab("Speech"):
        sound = gr.Audio(value=str(SPEECH), type="filepath", label="Recording, or your microphone")
    with gr.Tab("Text"):
        text = gr.Textbox(label="Text to speak (used instead of the recording)", lines=3)
        names = voices or ["no synthesiser installed: flite or espeak-ng"]
        voice = gr.Dropdown(names, value=names[0], label="Voice")
    with gr.Accordion("Controls", open=False):
        emotion = gr.Dropdown(list(EMOTIONS), value="neutral", label="Emotion")
        seed = gr.Number(0, precision=0, minimum=0, label="Seed: same seed, same video")
        crop_scale = gr.Slider(1.5, 4.0, 2.3, step=0.1, label="Room around the face")
        max_size = gr.Slider(256, 1920, 1024, step=64, label="Longest side of the video")
    start = gr.Button("Make it talk", variant="primary")
    return [picture, clip, sound, text, voice, emotion, seed, crop_scale, max_size], start


def _speech(sound: str | None, text: str, voice: Any, workplace: Path) -> Path:
    """The recording to use: the text spoken, if there is one, else the sound. Raises InputError."""
    import soundfile

    if text and text.strip():
        spoken = _fresh(workplace, ".wav")
        soundfile.write(spoken, speak(text, voice), SAMPLE_RATE)
        return spoken
    if sound is None:
        raise InputError("Give speech first: a recording, the microphone, or a text.")
    if lasts_longer(sound, LONGEST):
        raise InputError(f"The recording is too long; at most {LONGEST} s are made here.")
    return Path(sound)


def _fresh(workplace: Path, suffix: str) -> Path:
    handle, name = tempfile.mkstemp(suffix, dir=workplace)
    os.close(handle)
    Path(name).unlink()
    return Path(name)


def run(args: argparse.Namespace) -> None:
    """Show the page until it is stopped. Raises DittoError."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; pip install -e '.[app]'") from None
    from core.sdk import StreamSDK

    sdk = StreamSDK(data_root=args.data_root)
    with tempfile.TemporaryDirectory(prefix="talking-") as workplace:
        page = build_page(sdk, Path(workplace))
        try:
            page.launch(server_name=args.host, server_port=args.port, share=False, allowed_paths=[workplace])
        except OSError as error:
            raise InputError(f"cannot listen on {args.host}:{args.port} ({error}); try another --port") from None


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1: this machine only]")
    parser.add_argument("--port", type=int, default=7860, help="port [7860]")
    parser.add_argument("--data_root", default="auto", help="folder of a model pack, or 'auto' [auto]")
    args = parser.parse(argv)
    set_up_logging()
    return run_program(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
