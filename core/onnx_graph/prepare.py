"""Makes an ONNX file fit for TensorRT: sampling without a plugin, and precision written into the graph."""

from __future__ import annotations

import importlib.util
import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from core.errors import PackError
from core.onnx_graph.grid_sample import expand_grid_samples
from core.onnx_graph.half import to_half

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A graph for TensorRT as an ONNX file's content, and what was done to it."""

    content: bytes
    samplings: int  # volumetric samplings that were rewritten
    half_nodes: int  # nodes that compute in float16
    nodes: int


def prepare(
    source: Path,
    precision: str = "fp16",
    *,
    keep: Sequence[str] = (),
    plugin: bool = False,
    autocast: bool | None = None,
) -> Prepared:
    """Read a file and prepare it; inputs and outputs stay as they are.

    Args:
        precision: "fp16" for mixed precision, or "fp32".
        keep: patterns of node names that stay in float32.
        plugin: leave GridSample3D to TensorRT's plugin.
        autocast: let ModelOpt's AutoCast insert the casts, around the nodes that `to_half` would choose; None: where it
            is installed.

    Raises PackError when the file cannot be read or rewritten.
    """
    try:
        model = onnx.load(source)
        samplings = expand_grid_samples(model, custom=not plugin)
        chosen: list[str] = []
        if precision == "fp16":
            _name_nodes(model)
            use_autocast = _has_autocast() if autocast is None else autocast
            model, chosen = _autocast(model, keep) if use_autocast else (model, to_half(model, keep))
        if not plugin:
            onnx.checker.check_model(model)
        content = model.SerializeToString()
    except PackError:
        raise
    except Exception as error:  # protobuf and the checker have exceptions of their own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PackError(f"{source}: cannot be prepared for TensorRT ({reason})") from error
    return Prepared(content, samplings, len(chosen), len(model.graph.node))


def _has_autocast() -> bool:
    return importlib.util.find_spec("modelopt") is not None


def _autocast(model: onnx.ModelProto, keep: Sequence[str]) -> tuple[onnx.ModelProto, list[str]]:
    """Mixed precision by ModelOpt, which keeps more in float32 where values are large. Falls back to `to_half`."""
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    chosen = to_half(trial, keep)
    try:
        from modelopt.onnx.autocast import convert_to_mixed_precision

        others = sorted({node.name for node in model.graph.node} - set(chosen))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            onnx.save(model, path)
            result = convert_to_mixed_precision(
                onnx_path=str(path),
                low_precision_type="fp16",
                nodes_to_exclude=[f"^{re.escape(name)}$" for name in others],
                keep_io_types=True,
            )
    except Exception as error:  # a foreign program on graphs it was not made for
        LOG.warning("ModelOpt AutoCast failed (%s); taking the built-in pass", " ".join(str(error).split())[:200])
        return trial, chosen
    return result, chosen


def _name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own, by which it can be kept in float32."""
    taken: set[str] = set()
    for i, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{i}"
        taken.add(node.name)
