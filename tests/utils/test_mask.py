"""Soft masks and blend modes."""

import numpy as np
import pytest

from core.errors import InputError
from core.settings.options import BlendOptions
from core.utils.mask import blend_mask, feather_mask


@pytest.mark.parametrize(
    "name, args",
    [
        ("mask_512x512_0.9_0.9", (512, 512, 0.9, 0.9)),
        ("mask_64x48_0.8_0.7", (64, 48, 0.8, 0.7)),
        ("mask_512x512_0.97_0.97", (512, 512, 0.97, 0.97)),
    ],
)
def test_feather_mask_matches_the_reference(golden, name, args):
    np.testing.assert_allclose(feather_mask(*args), golden("pipeline_putback.npz")[name], atol=2e-5)


CUSTOM = [f"custom{alpha}" for alpha in (0.0, 0.3, 0.7, 1.0)]


@pytest.mark.parametrize("name", ["blend", "strong", "replace", "weak", *CUSTOM])
def test_legacy_modes_match_the_fork(golden, name):
    mode, alpha = (name[:6], float(name[6:])) if name.startswith("custom") else (name, 1.0)
    mask = blend_mask(BlendOptions(mode, alpha, blend_legacy=True))
    np.testing.assert_allclose(mask[256, :40], golden("pipeline_putback.npz")[f"forkmask_{name}"], atol=2e-5)


@pytest.mark.parametrize("mode", ["blend", "strong", "weak", "custom"])
def test_modes_leave_no_seam_at_the_border(mode):
    mask = blend_mask(BlendOptions(mode, 0.7))
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) == 0


@pytest.mark.parametrize("options", [BlendOptions("hard"), BlendOptions("custom", 1.5)])
def test_bad_options_are_refused(options):
    with pytest.raises(InputError):
        blend_mask(options)
