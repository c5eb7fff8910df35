"""What the official download consists of, and whether what lies in a folder is that (spec models.md section 2).

Every file is opened: names of tensors and of inputs and outputs must be those that this program expects. Used by
download_checkpoints.py.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from core.backends.onnx_header import read_onnx_header
from core.errors import PackError
from core.models.manifest import NETWORKS, load_manifest
from core.settings.config import load_config

FOLDERS = {"pytorch": "ditto_pytorch", "onnx": "ditto_onnx", "trt": "ditto_trt_Ampere_Plus", "cfg": "ditto_cfg"}
IO = {  # inputs and outputs of the exported networks
    "appearance_extractor": ("image", "pred"),
    "blaze_face": ("input", "regressors classificators"),
    "decoder": ("feature", "output"),
    "face_mesh": ("input", "Identity Identity_1 Identity_2"),
    "hubert": ("input_values", "encoding_out"),
    "insightface_det": ("image", "scores1 scores2 scores3 boxes1 boxes2 boxes3 kps1 kps2 kps3"),
    "landmark106": ("data", "fc1"),
    "landmark203": ("input", "landmarks"),
    "lmdm_v0.4_hubert": ("x cond_frame cond time_cond", "pred_noise x_start"),
    "motion_extractor": ("image", "pitch yaw roll t exp scale kp"),
    "stitch_network": ("kp_source kp_driving", "out"),
    "warp_network": ("feature_3d kp_source kp_driving", "out"),
}
FP32 = ("hubert", "lmdm_v0.4_hubert", "motion_extractor")  # engines in full precision
AUX = ("2d106det.onnx", "det_10g.onnx", "face_landmarker.task", "hubert_streaming_fix_kv.onnx", "landmark203.onnx")
CONFIGS = ("v0.4_hubert_cfg_pytorch.pkl", "v0.4_hubert_cfg_trt.pkl", "v0.4_hubert_cfg_trt_online.pkl")
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Item:
    """A file of the download, by its path below the root; `network` names its manifest, `io` its graph's ends."""

    path: str
    network: str = ""
    io: tuple[str, str] = ("", "")
    optional: bool = False


@dataclass(frozen=True)
class Finding:
    """What was found of an item: state is "ok", "missing" or "damaged"; problem is empty when ok."""

    item: Item
    state: str
    size: int = 0
    problem: str = ""

    @property
    def failed(self) -> bool:
        """Whether the pack cannot be used like this."""
        return self.state == "damaged" or self.state == "missing" and not self.item.optional


def inventory(subset: str) -> list[Item]:
    """All files of "pytorch", "onnx", "trt" or "cfg"."""
    root = FOLDERS[subset]
    if subset == "pytorch":
        nets = [Item(load_manifest(net).checkpoint, network=net) for net in NETWORKS]
        return nets + [Item(f"{root}/aux_models/{name}") for name in AUX]
    if subset == "onnx":
        extra = [
            Item(f"{root}/warp_network_ori.onnx", io=IO["warp_network"], optional=True),
            Item(f"{root}/libgrid_sample_3d_plugin.so", optional=True),
        ]
        return [Item(f"{root}/{name}.onnx", io=ends) for name, ends in IO.items()] + extra
    if subset == "trt":
        return [Item(f"{root}/{name}_{'fp32' if name in FP32 else 'fp16'}.engine") for name in IO]
    return [Item(f"{root}/{name}") for name in CONFIGS]


def check(root: Path, subsets: Iterable[str]) -> list[Finding]:
    """Open every file of the subsets below `root`."""
    return [_look(root, item) for subset in subsets for item in inventory(subset)]


def _look(root: Path, item: Item) -> Finding:
    path = root / item.path
    if not path.is_file():
        return Finding(item, "missing", problem="not needed by every pack" if item.optional else "")
    size = path.stat().st_size
    try:
        problem = _foreign(path) or _content(path, item)
    except PackError as error:
        problem = str(error).removeprefix(f"{path}: ")
    return Finding(item, "damaged" if problem else "ok", size, problem)


def _foreign(path: Path) -> str:
    """Why a file is not even a model, or nothing: what failed downloads leave behind."""
    with open(path, "rb") as file:
        head = file.read(64)
    if not head:
        return "is empty; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file; run `git lfs pull`, or download it again"
    if head.lstrip()[:1] == b"<":
        return "is a web page, not a model; download it again"
    return ""


def _content(path: Path, item: Item) -> str:
    """What is wrong inside a file, or nothing. Raises PackError when it cannot be read at all."""
    if path.suffix == ".onnx":
        return _graph_ends(path, item)
    if path.suffix == ".pth":
        return _tensors(path, item.network) if importlib.util.find_spec("torch") else _zip(path, item.network)
    if path.suffix == ".task":
        return _zip(path)
    if path.suffix == ".pkl":
        load_config(path)
    return ""


def _graph_ends(path: Path, item: Item) -> str:
    header = read_onnx_header(path)
    inputs, outputs = (set(names.split()) for names in item.io)
    if inputs and inputs != set(header.inputs):
        return f"expected inputs {item.io[0]}, found {' '.join(header.inputs)}; not the right model"
    if not outputs <= set(header.outputs):
        return f"expected outputs {item.io[1]}, found {' '.join(header.outputs)}; not the right model"
    return ""


def _tensors(path: Path, network: str) -> str:
    from core.backends.checkpoint import load_state_dict  # needs PyTorch
    from core.backends.mismatch import mismatch

    wanted = {name: SimpleNamespace(shape=shape) for name, shape in load_manifest(network).tensors.items()}
    return mismatch(network, wanted, load_state_dict(path, network)) or ""


def _zip(path: Path, network: str = "") -> str:
    """Whether the archive is complete, and for a `network` large enough: all that can be said without PyTorch."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        return f"is truncated or not an archive ({error}); download it again"
    least = FLOAT_BYTES * load_manifest(network).parameters if network else 0
    return f"holds {content} bytes, {network} needs {least}; not the right file" if content < least else ""
