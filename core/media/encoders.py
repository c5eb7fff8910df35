"""Which video encoder writes the result, and how it is told the quality (spec section 15; alpha, hardware ours)."""

from __future__ import annotations

import logging
from fractions import Fraction
from functools import cache

import av

from core.errors import InputError

LOG = logging.getLogger(__name__)
HARDWARE = ("h264_nvenc", "h264_videotoolbox", "h264_qsv", "h264_amf")  # in the order in which "auto" tries them
SOFTWARE = ("libx264", "libx265")
ENCODERS = ("auto", *SOFTWARE, *HARDWARE)
_LARGE = 1_200_000  # pixels from which x264 takes a faster preset: 1080p in 20 instead of 50 ms, files 1.6 times larger
_PROBE = (256, 256)
_HD_LINES = 720  # from here on players expect BT.709, below it BT.601


def choose_encoder(wanted: str) -> str:
    """The encoder that is wanted, if it works here; "auto" is the first hardware encoder that does, else libx264.

    Raises InputError for an unknown name. One that does not work is replaced with a warning.
    """
    if wanted not in ENCODERS:
        raise InputError(f"encoder is '{wanted}'; use one of {', '.join(ENCODERS)}")
    if wanted == "auto":
        return next((name for name in HARDWARE if works(name)), "libx264")
    if works(wanted):
        return wanted
    LOG.warning("the encoder %s does not work on this machine (no such device or driver); libx264 is used", wanted)
    return "libx264"


@cache
def works(name: str) -> bool:
    """Whether an encoder is built in and opens, which those of hardware only do where there is some."""
    if name not in av.codecs_available:
        return False
    try:
        context = av.CodecContext.create(name, "w")
        context.width, context.height = _PROBE
        context.pix_fmt, context.framerate, context.time_base = "yuv420p", 25, Fraction(1, 25)
        context.open()
    except (av.FFmpegError, ValueError, OSError):
        return False
    return True


def add_opaque(
    container: av.container.OutputContainer,
    size: tuple[int, int],
    rate: Fraction,
    crf: int,
    encoder: str = "libx264",
    preset: str | None = None,
) -> av.VideoStream:
    """A yuv420p stream. `crf` is x264's scale of quality, which hardware encoders follow roughly."""
    height, width = (side + side % 2 for side in size)
    stream = container.add_stream(encoder, rate=rate, options=_quality(encoder, crf, height * width, preset))
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    context = stream.codec_context
    if encoder in SOFTWARE:
        context.thread_count = 1  # the renderer needs the other cores, and more threads do not lower the cost per frame
    if encoder == "h264_videotoolbox":
        context.bit_rate = int(height * width * rate * 0.15)
    _set_colours(context, height)
    return stream


def add_transparent(
    container: av.container.OutputContainer, size: tuple[int, int], rate: Fraction, crf: int
) -> av.VideoStream:
    """A stream with opacity: ProRes 4444 in a mov, VP9 in a webm."""
    height, width = (side + side % 2 for side in size)
    if container.format.name == "webm":
        options = {"crf": str(crf), "b": "0", "deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"}
        stream = container.add_stream("libvpx-vp9", rate=rate, options=options)
        stream.pix_fmt = "yuva420p"
    else:
        stream = container.add_stream("prores_ks", rate=rate, options={"profile": "4444", "alpha_bits": "16"})
        stream.pix_fmt = "yuva444p10le"
    stream.height, stream.width = height, width
    _set_colours(stream.codec_context, height)
    return stream


def _quality(encoder: str, crf: int, pixels: int, preset: str | None) -> dict[str, str]:
    if encoder in SOFTWARE:
        options = {"crf": str(crf), "preset": preset or ("veryfast" if pixels < _LARGE else "superfast")}
        return options | ({"tag": "hvc1", "x265-params": "log-level=error"} if encoder == "libx265" else {})
    return {
        "h264_nvenc": {"rc": "vbr", "cq": str(max(crf, 1)), "b": "0", "preset": "p4"},
        "h264_qsv": {"global_quality": str(max(crf, 1))},
        "h264_amf": {"rc": "cqp", "qp_i": str(crf), "qp_p": str(crf)},
        "h264_videotoolbox": {},
    }[encoder]


def _set_colours(context: av.VideoCodecContext, height: int) -> None:
    context.color_range = av.video.reformatter.ColorRange.MPEG
    space = av.video.reformatter.Colorspace
    context.colorspace = space.ITU709 if height >= _HD_LINES else space.ITU601
    context.color_primaries = context.color_trc = 1  # BT.709, whose primaries are those of sRGB
