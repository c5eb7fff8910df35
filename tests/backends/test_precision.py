"""Half precision: what converted weights compute, and what stays in float32."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from core.backends.precision import choose_precision, convert_weights
from core.errors import InputError
from core.models.appearance_extractor import AppearanceExtractor, AppearanceSizes
from core.models.decoder import Decoder, DecoderSizes
from core.models.modules.fold import fold_constants
from core.models.motion_extractor import MotionExtractor, MotionSizes

CPU, GPU = torch.device("cpu"), torch.device("cuda")
NETWORKS = {
    "appearance": (AppearanceExtractor, AppearanceSizes((4, 4, 8), 2, 2, 1), (1, 3, 8, 8)),
    "motion": (MotionExtractor, MotionSizes((1, 1), (8, 12), 5, 2), (1, 3, 16, 16)),
    "decoder": (Decoder, DecoderSizes(4, 8, (4, 4)), (1, 4, 4, 4)),
}


def build(name: str):
    """A tiny network with the same random weights in every call, and its input."""
    torch.manual_seed(0)
    make, sizes, shape = NETWORKS[name]
    network = fold_constants(make(sizes).eval().requires_grad_(False))
    return network, torch.rand(shape)


def values(found) -> torch.Tensor:
    """All outputs as one row of float32."""
    return torch.cat([each.float().flatten() for each in ((found,) if torch.is_tensor(found) else found)])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_converted_weights_give_the_numbers_of_autocast(name, channels_last):
    network, x = build(name)
    with torch.inference_mode():
        exact = values(network(x))
        with torch.autocast("cpu", torch.bfloat16):
            cast = values(network(x))
        convert_weights(network, torch.bfloat16, channels_last)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            found = values(network(x))
    error = (cast - exact).abs().max()
    assert 0 < error < 0.05 * exact.std() + 0.02, (error, exact.std())
    assert (found - cast).abs().max() <= error / 2 + 1e-6  # layouts may round in another order
    if not channels_last:
        torch.testing.assert_close(found, cast)


def test_only_products_are_converted():
    network, _ = build("motion")
    convert_weights(network, torch.float16)
    block = network.detector.stages[0][0]
    assert block.dwconv.weight.dtype == block.pwconv1.bias.dtype == torch.float16
    assert block.norm.weight.dtype == block.grn.gamma.dtype == torch.float32
    decoder, _ = build("decoder")
    convert_weights(decoder, torch.float16, channels_last=True)
    weight = decoder.G_middle_0.conv_0.weight
    assert weight.dtype == torch.float16 and weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(parameter.requires_grad for parameter in decoder.parameters())


def test_choice():
    assert choose_precision("auto", CPU) == choose_precision("fp32", CPU) == choose_precision("fp32", GPU)
    assert choose_precision("auto", GPU) == choose_precision("fp16", GPU) == torch.float16
    assert choose_precision("bf16", CPU) == choose_precision("bf16", GPU) == torch.bfloat16
    with pytest.raises(InputError, match="precision fp16 needs a GPU.*take fp32 or bf16"):
        choose_precision("fp16", CPU)
