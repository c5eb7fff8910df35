"""Reading pictures, sound and video, and writing video. Nothing outside this package touches a codec."""

from core.media.audio import read_audio
from core.media.images import fit_size, read_image
from core.media.probe import is_image, is_video
from core.media.video_frames import VideoFrames
from core.media.video_reader import RgbConverter, VideoReader
from core.media.video_writer import SYNTHETIC_TAG, VideoWriter, check_output

__all__ = [
    "SYNTHETIC_TAG",
    "RgbConverter",
    "VideoFrames",
    "VideoReader",
    "VideoWriter",
    "check_output",
    "fit_size",
    "is_image",
    "is_video",
    "read_audio",
    "read_image",
]
