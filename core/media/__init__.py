"""Reading pictures, sound and video, and writing video. Nothing outside this package touches a codec."""

from core.media.alpha_frames import AlphaFrames, spread_colours
from core.media.audio import read_audio
from core.media.encoders import choose_encoder
from core.media.images import fit_size, read_alpha, read_image
from core.media.output import open_output
from core.media.output_place import check_output, is_picture_pattern
from core.media.picture_sequence import PictureFrames, PictureSequence, sequence_files
from core.media.picture_writer import PictureWriter
from core.media.probe import is_image, is_video
from core.media.video_frames import VideoFrames
from core.media.video_reader import RgbConverter, VideoReader
from core.media.video_writer import SYNTHETIC_TAG, VideoWriter

__all__ = [
    "SYNTHETIC_TAG",
    "AlphaFrames",
    "PictureFrames",
    "PictureSequence",
    "PictureWriter",
    "RgbConverter",
    "VideoFrames",
    "VideoReader",
    "VideoWriter",
    "check_output",
    "choose_encoder",
    "fit_size",
    "is_image",
    "is_picture_pattern",
    "is_video",
    "open_output",
    "read_alpha",
    "read_audio",
    "read_image",
    "sequence_files",
    "spread_colours",
]
