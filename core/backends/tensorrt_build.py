"""Builds TensorRT engines from ONNX graphs, with versions 10 and 11. The precision is the graph's.

NOT RUN yet for want of a machine with TensorRT; the tests use a stand-in for the package. Version 10 is asked for a
strongly typed network, which version 11 always makes, so that both build the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.backends.engine_tag import ANY_AMPERE, ONE_GPU, SAME_CAPABILITY
from core.backends.tensorrt import make_logger
from core.errors import PackError
from core.utils.whole_file import whole_file

LOG = logging.getLogger(__name__)
Range = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # least, usual and greatest shape of an input
LEVELS = {ONE_GPU: "NONE", ANY_AMPERE: "AMPERE_PLUS", SAME_CAPABILITY: "SAME_COMPUTE_CAPABILITY"}


class BuildOutOfMemory(PackError):
    """The GPU has no room for building this engine."""


@dataclass(frozen=True)
class BuildOptions:
    """How engines are built."""

    level: int = 5  # of optimisation, 0..5; the reference takes 5
    compatibility: str = ONE_GPU  # one of LEVELS: GPUs on which the engine shall run
    timing_cache: Path | None = None  # measured kernels, kept from build to build
    plugin: Path | None = None  # library with GridSample3D, put into the engine


def build_engine(trt: Any, model: bytes, shapes: Mapping[str, Range], options: BuildOptions) -> bytes:
    """The engine's bytes.

    Args:
        trt: the module, as `core.backends.tensorrt.package` gives it.
        model: an ONNX file's content.
        shapes: ranges of the inputs that have free axes.

    Raises PackError with what TensorRT says; BuildOutOfMemory when a smaller batch may help.
    """
    logger = make_logger(trt)
    trt.init_libnvinfer_plugins(logger, "")
    if options.plugin is not None:
        trt.get_plugin_registry().load_library(str(options.plugin))
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        faults = [str(parser.get_error(i)) for i in range(parser.num_errors)] or logger.errors
        raise PackError(f"TensorRT {trt.__version__} cannot read the graph: {_line(faults)}")
    config = _config(trt, builder, shapes, options)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        text = _line(logger.errors)
        kind = BuildOutOfMemory if "memory" in text.lower() else PackError
        raise kind(f"TensorRT {trt.__version__} cannot build the engine: {text}")
    if options.timing_cache is not None:
        _keep(options.timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(engine)


def _config(trt: Any, builder: Any, shapes: Mapping[str, Range], options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    config.builder_optimization_level = options.level
    wanted = LEVELS[options.compatibility]
    if not hasattr(trt.HardwareCompatibilityLevel, wanted):
        raise PackError(f"TensorRT {trt.__version__} does not know the compatibility level {options.compatibility}")
    config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, wanted)
    if options.plugin is not None:
        config.plugins_to_serialize = [str(options.plugin)]
    if options.timing_cache is not None:
        held = options.timing_cache.read_bytes() if options.timing_cache.is_file() else b""
        cache = config.create_timing_cache(held)
        if cache is None or not config.set_timing_cache(cache, False):  # of another version or GPU: begin anew
            config.set_timing_cache(config.create_timing_cache(b""), False)
    if shapes:
        profile = builder.create_optimization_profile()
        for name, (least, usual, greatest) in shapes.items():
            profile.set_shape(name, least, usual, greatest)
        config.add_optimization_profile(profile)
    return config


def _keep(cache: Path, content: bytes) -> None:
    """Write the timing cache; without it the next build takes longer, which is no reason to lose this one."""
    try:
        with whole_file(cache) as part:
            part.write_bytes(content)
    except OSError as error:
        LOG.warning("%s: the timing cache cannot be written (%s)", cache, error.strerror or error)


def _line(texts: list[str]) -> str:
    return " ".join(" ".join(texts).split())[:300] or "no reason given"
