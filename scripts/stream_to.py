"""A live avatar into an RTMP server, a file or a virtual camera, driven by a recording, a pipe, or nobody (idle).

    python scripts/stream_to.py --sink rtmp://localhost/live/avatar --audio_path speech.wav
    arecord -t raw -f S16_LE -r 16000 -c 1 | python scripts/stream_to.py --sink /dev/video10 --audio_path -
    python scripts/stream_to.py --sink idle.mp4 --seconds 10

`--audio_path -` reads 16 kHz mono 16-bit PCM from the standard input as it comes.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # run from a checkout, without installing the project

from core.cli.program import Parser, leave, run_program, set_up_logging

if TYPE_CHECKING:
    from core.streaming.conversation import Conversation

EXAMPLE = ROOT / "example" / "portrait.png"
PIECE = 1280  # bytes of standard input per read, 40 ms


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--sink", required=True, help="rtmp://..., a file ending in .mp4, or /dev/videoN")
    parser.add_argument("--source_path", default=str(EXAMPLE), help="portrait [example/portrait.png]")
    parser.add_argument("--audio_path", help="speech file, or - for PCM on the standard input [none: idle]")
    parser.add_argument("--seconds", type=float, help="stop after so long [at the end of the speech; idle: never]")
    parser.add_argument("--data_root", default="auto", help="folder of a model pack, or 'auto' [auto]")
    parser.add_argument("--max_size", type=int, default=720, help="longest side of the picture [720]")
    parser.add_argument("--seed", type=int, default=0, help="decides head motion and blinks [0]")
    return parser.parse(argv)


def run(args: argparse.Namespace) -> int:
    """Stream until the end; returns the number of frames."""
    from core.media import read_audio
    from core.motion import FPS
    from core.sdk import StreamSDK
    from core.streaming.conversation import Conversation
    from live.sink import open_sink

    speech = None if args.audio_path in (None, "-") else read_audio(args.audio_path)
    sdk = StreamSDK(data_root=args.data_root)
    avatar = sdk.register(args.source_path, sdk.options(online_mode=True, max_size=args.max_size, seed=args.seed))
    sink = open_sink(args.sink, avatar.frames[0].shape[:2])
    limit = None if args.seconds is None else round(args.seconds * FPS)
    try:
        with Conversation(sdk.session(avatar, seed=args.seed), max_waiting=float("inf")) as talk:
            ended = threading.Event()
            if speech is not None:
                talk.say(speech)
                ended.set()
            elif args.audio_path == "-":
                threading.Thread(target=_listen, args=(talk, ended), daemon=True).start()
            for moment in talk:
                sink.write(moment.image, moment.sound)
                if limit is not None and moment.index + 1 >= limit:
                    break
                if limit is None and ended.is_set() and not talk.busy and not moment.speaking:
                    break
            return moment.index + 1
    finally:
        sink.close()


def _listen(talk: Conversation, ended: threading.Event) -> None:
    """Body of the thread that reads the standard input."""
    from live.pcm import PcmFeed

    feed = PcmFeed()
    try:
        while piece := sys.stdin.buffer.read(PIECE):
            talk.say(feed.feed(piece[: len(piece) // 2 * 2]))
    finally:
        ended.set()


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    set_up_logging()
    args = parse_args(argv)
    return run_program(lambda: print(f"{args.sink}: {run(args)} frames"))


if __name__ == "__main__":
    leave(main())
