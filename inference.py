"""One portrait and one speech recording in, a talking video out.

    python inference.py                                        # the example portrait and speech
    python inference.py --source_path me.jpg --audio_path hello.wav --output_path hello.mp4

A flag that is not given is not passed on, so that the pack's configuration decides (spec pipeline.md sections 3, 17).
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from core.errors import DittoError, StageError

EXAMPLE = Path(__file__).resolve().parent / "example"
LOG = logging.getLogger("ditto")


class Parser(argparse.ArgumentParser):
    """Answers a wrong flag with one line that suggests the nearest right one."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see --help)\n")

    def parse(self, argv: list[str] | None) -> argparse.Namespace:
        """Parse `argv`; unknown flags end the program with exit code 2."""
        args, unknown = self.parse_known_args(argv)
        if unknown:
            flag = unknown[0].split("=")[0]
            near = difflib.get_close_matches(flag, list(self._option_string_actions), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unknown argument '{flag}'{hint}")
        return args


def build_parser() -> Parser:
    """All flags of the front door, grouped. Names and meanings are the reference's where it has them."""
    parser = Parser(
        prog="inference.py",
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        epilog="Without --source_path and --audio_path the pictures and speech in example/ are used. "
        "Defaults in brackets are those of the embedded pack; other packs bring their own.",
    )
    main_io = parser.add_argument_group("input and output")
    main_io.add_argument("--source_path", help="portrait picture: png, jpeg, webp, ... [example/portrait.png]")
    main_io.add_argument("--audio_path", help="speech: wav, mp3, m4a, flac, ogg, ... [example/speech.wav]")
    main_io.add_argument("--output_path", help="video to write [output/result.mp4]")
    main_io.add_argument("--crf", type=int, help="video quality, 0 (best) to 51; lower is larger [18]")
    main_io.add_argument(
        "--no_tag",
        dest="tag",
        action="store_false",
        help="leave out the note in the file that says the video is synthetic",
    )
    models = parser.add_argument_group("models")
    models.add_argument("--data_root", help="folder of a model pack, or 'auto' [auto]")
    models.add_argument("--cfg_pkl", help="configuration of the pack, .pkl or .yaml [the one inside the pack]")
    motion = parser.add_argument_group("motion")
    motion.add_argument("--seed", type=int, help="decides head motion and blinks; same seed, same video [0]")
    motion.add_argument(
        "--emo",
        help="emotion: angry, disgust, fear, happy, neutral, sad, surprise, contempt, "
        "an index 0-7, or several joined by commas [neutral]",
    )
    motion.add_argument("--fade_in", type=int, help="frames over which the motion grows out of the pose [-1: none]")
    motion.add_argument("--fade_out", type=int, help="frames over which it returns to the source pose [-1: none]")
    motion.add_argument("--sampling_timesteps", type=int, help="steps of a diffusion sampler, where the pack has one")
    motion.add_argument("--overlap_v2", type=int, help="frames shared by neighbouring motion windows")
    motion.add_argument("--smo_k_d", type=int, help="smoothing of the generated head motion, frames")
    source = parser.add_argument_group("source")
    source.add_argument("--max_size", type=int, help="longest side of the picture; larger ones are reduced [1920]")
    source.add_argument("--crop_scale", type=float, help="size of the face crop over the size of the face [2.3]")
    source.add_argument("--crop_vx_ratio", type=float, help="shift of the crop to the right, in crop sizes [0]")
    source.add_argument("--crop_vy_ratio", type=float, help="shift of the crop downwards, in crop sizes [-0.125]")
    talk = parser.add_argument_group("messages").add_mutually_exclusive_group()
    talk.add_argument("--verbose", action="store_true", help="say what is being done, and time per stage")
    talk.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 done, 1 internal failure, 2 bad input, 130 interrupted)."""
    options = vars(build_parser().parse(argv))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it has to say comes as our own errors
    verbose, quiet = options.pop("verbose", False), options.pop("quiet", False)
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = generate(options, show_progress=not quiet)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except DittoError as error:
        if isinstance(error, StageError):
            LOG.info("where it happened:", exc_info=True)  # ours to mend; shown with --verbose
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    if not quiet:
        print(
            f"{result.output}: {result.frames} frames, {result.seconds:.2f} s of video in {result.elapsed:.2f} s "
            f"(real-time factor {result.real_time_factor:.2f}){peak_memory()}"
        )
    if verbose:
        for name, timing in result.timings.items():
            print(f"  {name:<14} {1000 * timing.busy / max(timing.count, 1):7.2f} ms x {timing.count}")
    return 0


def peak_memory() -> str:
    """`, peak memory N MB` of this process, or nothing where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    return f", peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6:.0f} MB"


def generate(options: dict, show_progress: bool):
    """Load the pack and run one job. Heavy imports wait until the flags have been understood."""
    import cv2
    from tqdm import tqdm

    from core.sdk import StreamSDK

    cv2.setNumThreads(1)  # the stages already use the cores; more threads only fight with them
    source = options.pop("source_path", str(EXAMPLE / "portrait.png"))
    audio = options.pop("audio_path", str(EXAMPLE / "speech.wav"))
    output = options.pop("output_path", "output/result.mp4")
    sdk = StreamSDK(cfg_pkl=options.pop("cfg_pkl", None), data_root=options.pop("data_root", "auto"))
    hidden = None if show_progress else True  # None: shown on a terminal only
    bar = tqdm(unit="frame", disable=hidden, leave=False, delay=0.2)

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        return sdk.run(source, audio, output, progress=progress, **options)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a stage left behind may still be in native code, which an ordinary exit would abort with a crash
