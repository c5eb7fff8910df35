"""Make a complete pack with random weights of the official architecture, to test and profile pipelines without it.

    pip install -e '.[export]'
    python scripts/make_random_pack.py --format pytorch --out DIR            # real sizes, 2 GB
    python scripts/make_random_pack.py --format onnx --out DIR --small       # thin networks, same interfaces
    python scripts/make_random_pack.py --format pytorch --out DIR --speech wavlm

The same seed gives the same weights. Pictures come out as coloured noise. The five face models are stand-ins that see
one face in the middle of any picture; blaze_face and face_mesh take the place of MediaPipe's file in the PyTorch pack.
HuBERT is the transformers library's with the real configuration; with --small it is a stand-in, a stack of thin
convolutions with the same interface, for which that library is not needed. WavLM in its place is always the library's,
as weights (wavlm_large.pth) in the PyTorch pack and as a network (wavlm.onnx) in the other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from core.cli.extras import needs

needs("export", "torch")

import torch
import yaml
from torch import Tensor, nn

from core.aux_models.wavlm_torch import build_wavlm
from core.backends.checkpoint import NESTING
from core.cli.program import Parser, run_program, set_up_logging
from core.errors import InputError, OutputError
from core.models.modules.fold import fold_constants
from scripts.export_onnx import NETS, export, write_onnx
from scripts.random_pack.weights import fill

FORMATS = ("pytorch", "onnx")
SPEECH = ("hubert", "wavlm")
WAVLM_FILES = {"pytorch": "wavlm_large.pth", "onnx": "wavlm.onnx"}
SMALL: dict[str, dict[str, Any]] = {  # what differs from the published sizes; interfaces stay
    "appearance_extractor": {"widths": [8, 16, 32], "res_blocks": 1},
    "motion_extractor": {"depths": [1, 1, 1, 1], "widths": [16, 32, 48, 64]},
    "warp_network": {"compressed": 1, "width": 2, "max_width": 16},
    "decoder": {"middle": 32, "up": [16, 8]},
    "stitch_network": {},
    "lmdm": {"width": 64, "heads": 4, "feedforward": 128, "encoder_layers": 1, "decoder_layers": 2},
}
HUBERT = {  # configuration of the large model
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "apply_spec_augment": False,
}
SMALL_WAVLM = {  # what differs from the large model
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)  # of HuBERT's convolutions
STAND_IN_WIDTH, FEATURES = 32, 1024
CHUNK = 6480  # samples
DEFAULTS = {  # as released, where that is known (spec pipeline.md 2.5), with 10 steps
    "online_mode": False,
    "max_size": 1920,
    "template_n_frames": -1,
    "crop_scale": 2.3,
    "crop_vx_ratio": 0.0,
    "crop_vy_ratio": -0.125,
    "crop_flag_do_rot": True,
    "smo_k_s": 13,
    "emo": 4,
    "eye_f0_mode": False,
    "overlap_v2": 10,
    "fix_kp_cond": 1,
    "fix_kp_cond_dim": [0, 202],
    "sampling_timesteps": 10,
    "smo_k_d": 3,
    "N_d": -1,
    "use_d_keys": None,
    "relative_d": True,
    "drive_eye": None,
    "delta_eye_open_n": 0,
    "flag_stitching": True,
    "fade_type": "d0",
    "fade_out_keys": ["exp"],
    "overall_ctrl_info": {"delta_pitch": 2},
}


class SpeechStandIn(nn.Module):
    """HuBERT's convolutions, thin, and a projection: the same rows for the same samples, without the transformer."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, *[STAND_IN_WIDTH] * len(KERNELS))
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, kernel, stride)
            for a, b, kernel, stride in zip(widths[:-1], widths[1:], KERNELS, STRIDES, strict=True)
        )
        self.layer_norm = nn.LayerNorm(STAND_IN_WIDTH)
        self.projection = nn.Linear(STAND_IN_WIDTH, FEATURES)

    def forward(self, input_values: Tensor) -> Tensor:
        """(1, n) samples -> ((n - 400) // 320 + 1, 1024)."""
        x = input_values[:, None]
        for conv in self.convs:
            x = nn.functional.gelu(conv(x))
        return self.projection(self.layer_norm(x[0].T))


class Rows(nn.Module):
    """HubertModel of transformers with the interface of the official file."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_values: Tensor) -> Tensor:
        """(1, n) samples -> ((n - 400) // 320 + 1, 1024)."""
        return self.model(input_values).last_hidden_state[0]


def build_hubert(seed: int, config: Mapping[str, Any] | None = None) -> nn.Module:
    """HuBERT of the transformers library with random weights; `config` replaces entries of HUBERT.

    Raises InputError when transformers is missing.
    """
    try:
        from transformers import HubertConfig, HubertModel
    except ImportError as error:
        raise InputError("HuBERT needs transformers: pip install -e '.[export]'; or take --small") from error
    settings = HubertConfig(**{**HUBERT, **(config or {})})
    settings._attn_implementation = "eager"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the few tensors that `fill` leaves as they are
        model = HubertModel(settings)
    fill(model, "hubert", seed)
    convolution = model.encoder.pos_conv_embed.conv
    if nn.utils.parametrize.is_parametrized(convolution):  # weight norm, constant from here on
        nn.utils.parametrize.remove_parametrizations(convolution, "weight")
    return Rows(model).eval().requires_grad_(False)


def write_hubert(path: Path, seed: int, small: bool) -> None:
    """Write the speech encoder as an ONNX file that takes chunks of any length."""
    network = fill(SpeechStandIn(), "hubert", seed) if small else build_hubert(seed)
    free = {"input_values": {1: "samples"}, "encoding_out": {0: "rows"}}
    write_onnx(network, (torch.zeros(1, CHUNK),), path, ["input_values"], ["encoding_out"], free)


def write_wavlm(folder: Path, kind: str, seed: int, small: bool) -> None:
    """Write WavLM as a state dict or as an ONNX file that takes samples of any length."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the tensors that `fill` leaves as they are
        model = fill(build_wavlm(SMALL_WAVLM if small else None), "hubert", seed)
    if kind == "pytorch":
        torch.save(model.state_dict(), folder / WAVLM_FILES[kind])
        return
    convolution = model.encoder.pos_conv_embed.conv
    nn.utils.parametrize.remove_parametrizations(convolution, "weight")
    free = {"audio": {1: "samples"}, "features": {0: "rows"}}
    write_onnx(Rows(model), (torch.zeros(1, CHUNK),), folder / WAVLM_FILES[kind], ["audio"], ["features"], free)


def make_pack(out: Path, kind: str, small: bool = False, seed: int = 0, speech: str = "hubert") -> None:
    """Write a pack.

    Args:
        out: folder, made if it is missing; files of the same names are replaced.
        kind: "pytorch" (models/*.pth, aux_models/*.onnx) or "onnx" (*.onnx side by side).
        small: thin networks, whose sizes are then in config.yaml.
        speech: "hubert" or "wavlm".

    Raises InputError or PackError when a library is missing.
    """
    try:
        from scripts.random_pack.faces import write_faces
    except ImportError as error:
        raise InputError("random packs need onnx: pip install -e '.[export]'") from error
    aux = out / "aux_models" if kind == "pytorch" else out
    aux.mkdir(parents=True, exist_ok=True)
    for name, net in NETS.items():
        network = fill(net.build(SMALL[name] if small else None), name, seed)
        if kind == "pytorch":
            (out / "models").mkdir(exist_ok=True)
            torch.save(_nested(name, network.state_dict()), out / "models" / f"{net.file}.pth")
        else:
            export(name, fold_constants(network), out / f"{net.file}.onnx")
    write_faces(aux, original=kind == "pytorch")
    if speech == "wavlm":
        write_wavlm(aux, kind, seed, small)
    else:
        write_hubert(aux / ("hubert_streaming_fix_kv.onnx" if kind == "pytorch" else "hubert.onnx"), seed, small)
    text = yaml.safe_dump(pack_config(kind, small, speech), sort_keys=False)
    (out / "config.yaml").write_text(f"# random weights: the pictures are noise\n{text}", encoding="utf-8")


def pack_config(kind: str, small: bool, speech: str = "hubert") -> dict[str, Any]:
    """Content of the pack's config.yaml."""
    original = kind == "pytorch"
    folder = "aux_models/" if original else ""
    files = {
        "insightface_det_cfg": "det_10g" if original else "insightface_det",
        "landmark106_cfg": "2d106det" if original else "landmark106",
        "landmark203_cfg": "landmark203",
        "hubert_cfg": "hubert_streaming_fix_kv" if original else "hubert",
    }
    more = {"force_ori_type": True} if original else {}
    base: dict[str, Any] = {key: {"model_path": f"{folder}{file}.onnx", **more} for key, file in files.items()}
    if speech == "wavlm":
        del base["hubert_cfg"]
        base["wavlm_cfg"] = {"model_path": f"{folder}{WAVLM_FILES[kind]}"}
        if small and original:
            base["wavlm_cfg"]["sizes"] = SMALL_WAVLM
    pair = ("blaze_face", "face_mesh")
    base["landmark478_cfg"] = {f"{name}_model_path": f"{folder}{name}.onnx" for name in pair}
    for name, net in NETS.items():
        entry: dict[str, Any] = {"model_path": f"models/{net.file}.pth" if original else f"{net.file}.onnx"}
        if small and original and SMALL[name]:
            entry["sizes"] = _full_sizes(name)
        base[f"{name}_cfg"] = entry
    motion = {
        **base.pop("lmdm_cfg"),
        "motion_feat_dim": 265,
        "audio_feat_dim": 1103,
        "seq_frames": 80,
        **dict.fromkeys(("use_emo", "use_sc", "use_eye_open", "use_eye_ball"), True),
        "w2f_type": speech,
    }
    return {"base_cfg": base, "audio2motion_cfg": motion, "default_kwargs": dict(DEFAULTS)}


def _full_sizes(name: str) -> dict[str, Any]:
    """All sizes of the small network, in what YAML knows."""
    sizes = asdict(NETS[name].sizes(**SMALL[name]))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in sizes.items()}


def _nested(name: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The state dict as the published file holds it."""
    tensors = {f"module.{key}" if name == "stitch_network" else key: value for key, value in state.items()}
    return {NESTING[name]: tensors} if name in NESTING else tensors


def run(args: argparse.Namespace) -> None:
    """Make the pack and say so. Raises DittoError."""
    try:
        make_pack(args.out, args.format, args.small, args.seed, args.speech)
    except OSError as error:
        raise OutputError(f"{args.out}: the pack cannot be written ({error.strerror or error})") from error
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {args.format} pack, {size / 1e6:.0f} MB")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, required=True, help="kind of pack")
    parser.add_argument("--out", type=Path, required=True, help="the pack's folder")
    parser.add_argument("--speech", choices=SPEECH, default="hubert", help="speech features (default hubert)")
    parser.add_argument("--small", action="store_true", help="thin networks with the same inputs and outputs")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default 0)")
    args = parser.parse(arguments)
    set_up_logging()
    return run_program(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
