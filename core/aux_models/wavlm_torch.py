"""WavLM from a file of PyTorch weights, with the network of the transformers library (extra `wavlm`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.backends.checkpoint import load_state_dict
from core.backends.mismatch import mismatch
from core.backends.pytorch import choose_device
from core.backends.session import CheckedSession, TensorSpec
from core.errors import PackError

LARGE = {  # configuration of the published large model
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "max_bucket_distance": 800,
    "num_buckets": 320,
    "apply_spec_augment": False,
}
PREFIX = "wavlm."  # put before the names by models with a task on top
RENAMED = tuple(  # names of the authors' own file, and of older weight norms -> names in the network
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^mask_emb$", "masked_spec_embed"),
        (r"^post_extract_proj\.", "feature_projection.projection."),
        (r"^layer_norm\.", "feature_projection.layer_norm."),
        (r"(conv_layers\.\d+)\.0\.", r"\1.conv."),
        (r"(conv_layers\.\d+)\.2\.1\.", r"\1.layer_norm."),
        (r"encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
        (r"pos_conv_embed\.conv\.weight_g$", "pos_conv_embed.conv.parametrizations.weight.original0"),
        (r"pos_conv_embed\.conv\.weight_v$", "pos_conv_embed.conv.parametrizations.weight.original1"),
        (r"\.self_attn_layer_norm\.", ".layer_norm."),
        (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
        (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
        (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
        (r"\.self_attn\.", ".attention."),
        (r"\.fc1\.", ".feed_forward.intermediate_dense."),
        (r"\.fc2\.", ".feed_forward.output_dense."),
    )
)
UNUSED = "masked_spec_embed"  # only for training


class WavLmSession(CheckedSession):
    """The network behind the Session interface: `audio` (1, n) -> `features` (1, rows, 1024)."""

    def __init__(self, path: Path, network: nn.Module, device: torch.device):
        audio = TensorSpec("audio", (1, "samples"), np.dtype(np.float32))
        features = TensorSpec("features", (1, "rows", network.config.hidden_size), np.dtype(np.float32))
        super().__init__(path, {"audio": audio}, {"features": features})
        self._network, self._device = network, device

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See Session."""
        self.check(inputs)
        with torch.inference_mode():
            found = self._network(torch.tensor(inputs["audio"], device=self._device)).last_hidden_state
        return {"features": found.float().cpu().numpy()}


def load_wavlm(path: Path, device: str = "auto", sizes: Mapping[str, Any] | None = None) -> WavLmSession:
    """Load weights with the names of the transformers library or of the authors' own file.

    Args:
        device: as in `core.backends.load`.
        sizes: entries of WavLMConfig that differ from LARGE.

    Raises PackError when the library is missing or the file does not fit.
    """
    where = choose_device(device)
    with torch.device("meta"):
        network = build_wavlm(sizes)
    names = network.state_dict()
    state = {_name(key): value for key, value in load_state_dict(path, "wavlm").items()}
    state.setdefault(UNUSED, torch.zeros(network.config.hidden_size))
    problem = mismatch("wavlm", names, state)
    if problem:
        raise PackError(f"{path}: {problem}")
    copies: dict[str, Tensor] = {key: state[key].to(where, torch.float32, copy=True) for key in names}
    network.load_state_dict(copies, strict=True, assign=True)
    network.requires_grad_(False).eval()
    return WavLmSession(path, network.to(where), where)


def build_wavlm(sizes: Mapping[str, Any] | None = None) -> nn.Module:
    """WavLMModel with the configuration LARGE, changed by `sizes`. Raises PackError without transformers."""
    try:
        from transformers import WavLMConfig, WavLMModel
    except ImportError:
        raise PackError("WavLM needs the package transformers: pip install -e '.[wavlm]'") from None
    return WavLMModel(WavLMConfig(**{**LARGE, **(sizes or {})}))


def _name(key: str) -> str:
    """The network's name of a published tensor."""
    key = key.removeprefix(PREFIX)
    for pattern, name in RENAMED:
        key = pattern.sub(name, key)
    return key
