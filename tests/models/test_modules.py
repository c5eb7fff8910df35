"""Building blocks of the warping network and the decoder against the golden vectors of the reference."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from core.models.modules import upsample, volume
from core.models.modules.fold import fold_constants
from core.models.modules.spade import Spade
from core.models.modules.spectral import SpectralConv2d

HERE = torch.zeros(())  # the device of the tests


@pytest.fixture
def helpers(golden):
    return {name: torch.from_numpy(np.asarray(array)) for name, array in golden("helpers.npz").items()}


def close(found, wanted, limit: float = 1e-6) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=limit)


def test_coordinate_grid(helpers):
    close(volume.coordinate_grid((2, 3, 4), HERE), helpers["grid/2x3x4"])
    grid = volume.coordinate_grid((16, 64, 64), HERE)
    assert list(grid.shape) == helpers["grid/16x64x64_shape"].tolist()
    close(grid.flatten()[:: helpers["grid/16x64x64_step"]], helpers["grid/16x64x64_sample"])
    for i, name in enumerate("xyz"):
        close(volume.axis(grid.shape[2 - i], HERE), helpers[f"grid/axis_{name}"])


def test_an_axis_of_one_voxel_is_refused():
    with pytest.raises(ValueError, match="at least 2 voxels"):
        volume.axis(1, HERE)


def test_gaussians(helpers):
    close(volume.gaussians(helpers["gauss/kp"], (4, 6, 8), 0.01), helpers["gauss/4x6x8"])
    close(volume.gaussians(helpers["gauss/kp"], (4, 6, 8), 0.3), helpers["gauss/4x6x8_var0.3"])
    big = volume.gaussians(helpers["gauss/kp_big"], (16, 64, 64), 0.01)
    close(big.flatten()[:: helpers["gauss/16x64x64_step"]], helpers["gauss/16x64x64_sample"], 2e-6)
    close(big.amax((0, 2, 3, 4)), helpers["gauss/16x64x64_max"], 2e-6)


def test_sampling(helpers):
    found = volume.sample(helpers["grid_sample/input"], helpers["grid_sample/grid"])
    close(found, helpers["grid_sample/out"])


def test_sampling_at_the_plain_grid_is_not_the_identity(helpers):
    plain = volume.sample_shifted(helpers["grid_sample/identity_input"], torch.zeros(1, 1, 3))[:, 0]
    close(plain, helpers["grid_sample/identity_out"], 2e-6)
    assert (plain - helpers["grid_sample/identity_input"]).abs().max() > 0.1


def test_shifted_sampling_is_sampling_at_a_shifted_grid():
    torch.manual_seed(0)
    content, shift = torch.randn(2, 3, 4, 6, 5), torch.randn(2, 7, 3) * 0.7
    shift[0, 0] = torch.tensor([3.0, 0.0, 0.0])  # all outside
    points = volume.coordinate_grid((4, 6, 5), HERE) + shift[:, :, None, None, None]
    found = volume.sample_shifted(content, shift)
    for k in range(7):
        close(found[:, k], volume.sample(content, points[:, k]), 1e-5)
    assert not found[0, 0].any() and found[0, 1].any()


@pytest.mark.parametrize("folded", [False, True])
def test_spade(helpers, folded):
    for doubled in (False, True):
        spade = Spade(6, 4, doubled)
        spade.load_state_dict({k[6:]: v for k, v in helpers.items() if k.startswith("spade/mlp")})
        if folded:
            fold_constants(spade)
        modulation = helpers["spade/seg"] if doubled else upsample.double(helpers["spade/seg"])
        with torch.inference_mode():
            close(spade(F.instance_norm(helpers["spade/x"]), modulation), helpers["spade/out"], 2e-5)


def test_spectral_convolution(helpers):
    conv = SpectralConv2d(3, 4, 3)
    names = {"weight_orig": "w", "weight_u": "u", "weight_v": "v", "bias": "b"}
    conv.load_state_dict({name: helpers[f"spectral/{short}"] for name, short in names.items()})
    assert conv.sigma().item() == pytest.approx(helpers["spectral/sigma"].item(), rel=1e-6)
    close(conv(helpers["spectral/x"]), helpers["spectral/out"], 2e-6)
    fold_constants(fold_constants(conv))
    assert set(conv.state_dict()) == {"weight", "bias"}
    close(conv(helpers["spectral/x"]), helpers["spectral/out"], 2e-6)


def test_pixel_shuffle_and_doubling(helpers):
    close(F.pixel_shuffle(helpers["pixel_shuffle/x"], 2), helpers["pixel_shuffle/out"], 0)
    close(upsample.double(helpers["pixel_shuffle/x"]), helpers["upsample/out"], 0)
    close(upsample.double(helpers["upsample3d/x"]), helpers["upsample3d/out"], 0)


@pytest.mark.parametrize("conv, size", [(upsample.DoubledConv2d, (3, 5)), (upsample.DoubledConv3d, (4, 3, 5))])
def test_split_convolution_of_a_doubled_map(conv, size):
    torch.manual_seed(0)
    part, x = conv(6, 7).requires_grad_(False), torch.randn(2, 6, *size)
    plain = part(x)
    part.split()
    assert part.weight.shape[0] == 4 * 7 and part.weight.shape[-2:] == (2, 2)
    close(part(x), plain)
    part.split()
    close(part(x), plain)


def test_up_block_folds_norm_and_kernel():
    torch.manual_seed(0)
    block, x = upsample.UpBlock3d(6, 5).requires_grad_(False), torch.randn(2, 6, 4, 3, 2)
    block.norm.running_mean.uniform_(-1, 1)
    block.norm.running_var.uniform_(0.5, 2)
    plain = block.eval()(x)
    close(fold_constants(fold_constants(block))(x), plain, 2e-6)
