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
        help="picture, video, folder of pictures or pattern such as frames/%%04d.png [example/portrait.png]",
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
    models.add_argument("--lmdm", help="motion network trained with MotionDiT/, in place of the pack's")
    speed = parser.add_argument_group("speed of official packs (the embedded one runs on the CPU in its own way)")
    speed.add_argument("--device", help="auto, cpu, cuda, cuda:1 [auto: a GPU if there is one]")
    speed.add_argument("--precision", choices=PRECISIONS, help="of the large PyTorch networks [auto: fp16 on a GPU]")
    speed.add_argument("--batch_size", type=int, help="frames rendered at once, where that many wait [8 on a GPU]")
    speed.add_argument("--compile", action="store_true", help="torch.compile: slower to start, then faster")
    speed.add_argument("--no_cuda_graphs", dest="cuda_graphs", action="store_false", help="launch each GPU operator")


def add_motion_flags(parser: argparse.ArgumentParser) -> None:
    """How the head and the face move."""
    motion = parser.add_argument_group("motion")
    motion.add_argument("--seed", type=int, help="decides head motion and blinks; same seed, same video [0]")
    motion.add_argument(
        "--emo",
        help="emotion: angry, disgust, fear, happy, neutral, sad, surprise, contempt, "
        "an index 0-7, several joined by commas, or parts as happy:0.7,surprise:0.3 [neutral]",
    )
    motion.add_argument("--fade_in", type=int, help="frames over which the motion grows out of the pose [-1: none]")
    motion.add_argument("--fade_out", type=int, help="frames over which it returns to the source pose [-1: none]")
    motion.add_argument("--sampling_timesteps", type=int, help="steps of a diffusion sampler, where the pack has one")
    motion.add_argument("--sampler", choices=CHOICES["sampler"], help="ddim as the reference; dpm takes 10-15 steps")
    motion.add_argument("--overlap_v2", type=int, help="frames shared by neighbouring motion windows")
    motion.add_argument("--vad", action="store_true", help="rest the lips while nobody speaks (the embedded pack does)")
    motion.add_argument("--smo_k_d", type=int, help="smoothing of the generated head motion, frames")


def add_live_flags(parser: argparse.ArgumentParser) -> None:
    """How speech arrives."""
    live = parser.add_argument_group("live speech")
    live.add_argument(
        "--online",
        dest="online_mode",
        action="store_true",
        help="take the speech in pieces as a live source delivers them, and say how long the first frame took",
    )
    live.add_argument("--offline", dest="online_mode", action="store_false", help="the opposite, for online packs")
    live.add_argument("--pace", action="store_true", help="let the pieces come at the speed of speech; count delays")
    live.add_argument(
        "--chunksize",
        type=int,
        nargs=3,
        metavar=("P", "C", "F"),
        help="past, current and future frames of a piece, as 3 5 2; the embedded encoder takes only C [its own]",
    )
    live.add_argument("--first_chunk", type=int, help="frames of the first piece, for an earlier start [as all others]")


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """How the source is read and the face cut out of it."""
    source = parser.add_argument_group("source")
    source.add_argument("--max_size", type=int, help="longest side of the source; larger ones are reduced [1920]")
    source.add_argument(
        "--template_n_frames", type=int, help="frames of a source video that are used [-1: as many as are rendered]"
    )
    source.add_argument("--smo_k_s", type=int, help="smoothing of a source video's own motion, frames")
    source.add_argument(
        "--no_resample",
        dest="resample",
        action="store_false",
        help="use a source video's frames one by one at 25 per second, whatever its own rate",
    )
    source.add_argument(
        "--no_cache", dest="cache", action="store_false", help="do not keep, nor use, what was found in a source before"
    )
    source.add_argument("--crop_scale", type=float, help="size of the face crop over the size of the face [2.3]")
    source.add_argument("--crop_vx_ratio", type=float, help="shift of the crop to the right, in crop sizes [0]")
    source.add_argument("--crop_vy_ratio", type=float, help="shift of the crop downwards, in crop sizes [-0.125]")


def add_batch_flags(parser: argparse.ArgumentParser) -> None:
    """Many runs in one go."""
    many = parser.add_argument_group("many runs (docs/controls.md)")
    many.add_argument("--jobs", metavar="FILE", help=".csv or .yaml with source, audio, output and options of each run")
    many.add_argument("--workers", type=int, help="processes, spread over the GPUs that are there [one per GPU, or 1]")
    many.add_argument("--resume", action="store_true", help="leave out the jobs that are done")
    many.add_argument("--engine", choices=("processes", "ray"), help="ray: on several machines [processes]")
    many.add_argument("--address", help="of the Ray cluster [one on this machine]")
