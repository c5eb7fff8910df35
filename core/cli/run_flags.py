"""Command-line flags of a run: files, pack, speed, motion, live speech, source, batches.

All for a parser that suppresses what is not given. The figures in brackets are those of the embedded pack.
"""

from __future__ import annotations

import argparse

from core.settings.run_options import CHOICES
from core.settings.speed import PRECISIONS


def add_file_flags(parser: argparse.ArgumentParser) -> None:
    """What goes in and what comes out."""
    files = parser.add_argument_group("input and output")
    files.add_argument(
        "--source_path",
        "--source_video",
        "--source",
        help="picture, video, folder of pictures, or pattern such as frames/%%04d.png [example/portrait.png]",
    )
    files.add_argument("--audio_path", "--audio", help="speech: wav, mp3, m4a, flac, ogg, ... [example/speech.wav]")
    files.add_argument("--output_path", "--output", help="video to write [output/result.mp4]")
    files.add_argument("--crf", type=int, help="video quality, 0 (best) to 51; lower is larger [18]")
    files.add_argument(
        "--no_tag",
        dest="tag",
        action="store_false",
        help="leave out the note in the file that says the video is synthetic",
    )


def add_pack_flags(parser: argparse.ArgumentParser) -> None:
    """Which models, and how fast they are run: the arguments of `StreamSDK`."""
    models = parser.add_argument_group("models")
    models.add_argument("--data_root", help="folder of a model pack, or 'auto' [auto]")
    models.add_argument("--cfg_pkl", help="configuration of the pack, .pkl or .yaml [the one inside the pack]")
    models.add_argument("--lmdm", help="motion network trained with MotionDiT/, instead of the pack's")
    speed = parser.add_argument_group("speed of official packs (the embedded one runs on the CPU in its own way)")
    speed.add_argument("--device", help="auto, cpu, cuda, cuda:1 [auto: a GPU if there is one]")
    speed.add_argument("--precision", choices=PRECISIONS, help="for the large PyTorch networks [auto: fp16 on a GPU]")
    speed.add_argument("--batch_size", type=int, help="frames rendered at once if that many are waiting [8 on a GPU]")
    speed.add_argument("--compile", action="store_true", help="use torch.compile: starts more slowly, then runs faster")
    speed.add_argument(
        "--no_cuda_graphs", dest="cuda_graphs", action="store_false", help="launch GPU operators one by one"
    )


def add_motion_flags(parser: argparse.ArgumentParser) -> None:
    """How the head and the face move."""
    motion = parser.add_argument_group("motion")
    motion.add_argument(
        "--seed", type=int, help="determines head motion and blinks; the same seed gives the same video [0]"
    )
    motion.add_argument(
        "--emo",
        help="emotion: angry, disgust, fear, happy, neutral, sad, surprise, contempt, "
        "an index 0-7, several joined by commas, or parts such as happy:0.7,surprise:0.3 [neutral]",
    )
    motion.add_argument("--fade_in", type=int, help="frames in which the motion grows out of the pose [-1: none]")
    motion.add_argument("--fade_out", type=int, help="frames in which it returns to the source pose [-1: none]")
    motion.add_argument("--sampling_timesteps", type=int, help="steps of the diffusion sampler, if the pack has one")
    motion.add_argument(
        "--sampler", choices=CHOICES["sampler"], help="ddim as in the reference; dpm needs only 10-15 steps"
    )
    motion.add_argument("--overlap_v2", type=int, help="frames shared by neighbouring motion windows")
    motion.add_argument(
        "--vad", action="store_true", help="rest the lips while nobody speaks (the embedded pack always does)"
    )
    motion.add_argument("--smo_k_d", type=int, help="smoothing of the generated head motion, in frames")


def add_live_flags(parser: argparse.ArgumentParser) -> None:
    """How speech arrives."""
    live = parser.add_argument_group("live speech")
    live.add_argument(
        "--online",
        dest="online_mode",
        action="store_true",
        help="take the speech in pieces as a live source delivers them, and say how long the first frame took",
    )
    live.add_argument(
        "--offline",
        dest="online_mode",
        action="store_false",
        help="take the speech as a whole, also with an online pack",
    )
    live.add_argument(
        "--pace", action="store_true", help="deliver the pieces at the speed of speech and count late frames"
    )
    live.add_argument(
        "--chunksize",
        type=int,
        nargs=3,
        metavar=("P", "C", "F"),
        help="past, current and future frames of a piece, such as 3 5 2; the embedded pack uses only C [its own]",
    )
    live.add_argument(
        "--first_chunk", type=int, help="frames of the first piece; fewer give an earlier start [as in the others]"
    )


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """How the source is read and the face cut out of it."""
    source = parser.add_argument_group("source")
    source.add_argument(
        "--max_size", type=int, help="longest side of the source in pixels; larger sources are scaled down [1920]"
    )
    source.add_argument(
        "--template_n_frames", type=int, help="number of frames of a source video to use [-1: as many as are rendered]"
    )
    source.add_argument("--smo_k_s", type=int, help="smoothing of a source video's own motion, in frames")
    source.add_argument(
        "--no_resample",
        dest="resample",
        action="store_false",
        help="use the frames of a source video one by one at 25 per second, whatever its own rate is",
    )
    source.add_argument(
        "--no_cache", dest="cache", action="store_false", help="neither use nor keep cached findings about the source"
    )
    source.add_argument("--crop_scale", type=float, help="size of the face crop, relative to the face [2.3]")
    source.add_argument("--crop_vx_ratio", type=float, help="shift of the crop to the right, in units of its side [0]")
    source.add_argument(
        "--crop_vy_ratio", type=float, help="shift of the crop downwards, in units of its side [-0.125]"
    )


def add_batch_flags(parser: argparse.ArgumentParser) -> None:
    """Many runs in one go."""
    many = parser.add_argument_group("many runs (docs/controls.md)")
    many.add_argument("--jobs", metavar="FILE", help=".csv or .yaml with source, audio, output and options of each run")
    many.add_argument(
        "--workers", type=int, help="number of processes, spread over the available GPUs [one per GPU, or 1]"
    )
    many.add_argument("--resume", action="store_true", help="skip jobs that are finished")
    many.add_argument("--engine", choices=("processes", "ray"), help="ray runs on several machines [processes]")
    many.add_argument("--address", help="address of the Ray cluster [a new one on this machine]")
