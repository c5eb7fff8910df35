"""Regions of the face over a moving source: what stays untouched, and that no border shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.atomic_components.putback import PutBack
from core.avatars.avatar import Frame
from core.media import read_audio
from core.pipeline import Pipeline, Stage
from core.runs.plan import RunPlan
from core.sdk import StreamSDK
from core.settings.options import BlendOptions
from core.utils.color_match import SeamColours
from core.utils.face_region import face_region_mask
from core.utils.mask import blend_mask, region_masks

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
FRAMES = 6
REGIONS = ("crop", "face", "lower", "mouth")


@pytest.fixture(scope="module")
def sdk():
    return StreamSDK()


@pytest.fixture(scope="module")
def avatar(sdk):
    return sdk.register(EXAMPLE / "avatar.mp4", sdk.options(N_d=FRAMES, max_size=360))


def rendered(sdk, avatar, **options):
    """Finished pictures of some speech."""
    out = []
    plan = RunPlan(sdk.config, sdk.models, avatar, sdk.options(N_d=FRAMES, **options))
    collect = Stage("collect", lambda frame: out.append(frame.image))
    with Pipeline([plan.hearing(), *plan.frames(), *plan.pictures(), collect]) as pipeline:
        pipeline.put(read_audio(EXAMPLE / "speech.wav")[16000 : 16000 + 640 * FRAMES])
    return out


def share(avatar, index, region):
    """(H, W) share of the rendered face in a frame."""
    mask = blend_mask(BlendOptions()) if region == "crop" else face_region_mask(avatar.mesh[index], region)
    height, width = avatar.frames[index].shape[:2]
    return cv2.warpAffine(mask, avatar.M_c2o[index][:2], (width, height))


def seam(picture, source, mask):
    """Mean step across the outer half of the mask's slope above the source's own, in levels per pixel."""
    across = np.dstack([cv2.Sobel(mask, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1))])
    across /= np.linalg.norm(across, axis=2, keepdims=True) + 1e-6
    band = (mask > 0.02) & (mask < 0.5)

    def steps(image):
        image = image.astype(np.float32)
        slopes = [cv2.Sobel(image, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))]
        return np.abs(slopes[0] * across[..., :1] + slopes[1] * across[..., 1:])[band].mean()

    return steps(picture) - steps(source)


@pytest.mark.parametrize("region", REGIONS)
def test_no_seam_and_nothing_outside_is_touched(sdk, avatar, region):
    pictures = rendered(sdk, avatar, region=region)
    seams, changed = [], []
    for i, picture in enumerate(pictures):
        mask, source = share(avatar, i, region), avatar.frames[i]
        seams.append(seam(picture, source, mask))
        np.testing.assert_array_equal(picture[cv2.dilate(mask, np.ones((5, 5))) == 0], source[mask_is_zero(mask)])
        changed.append(np.abs(picture.astype(int) - source).max())
    assert np.mean(seams) < 2 and max(changed) > 20


def mask_is_zero(mask):
    return cv2.dilate(mask, np.ones((5, 5))) == 0


def test_a_hard_border_is_seen_by_the_measure(sdk, avatar):
    source, mask = avatar.frames[0], share(avatar, 0, "face")
    assert seam(np.where(mask[..., None] > 0.2, 255 - source, source), source, mask) > 2


def test_auto_is_the_face_while_the_head_stays(sdk, avatar):
    def same(**options):
        pairs = zip(rendered(sdk, avatar, **options), rendered(sdk, avatar, region="face", **options), strict=True)
        return all(np.array_equal(*pair) for pair in pairs)

    assert same()
    assert not same(overall_ctrl_info={"delta_yaw": 8})
    assert not same(use_d_keys=("exp", "yaw"))


def test_a_picture_keeps_its_head_still_for_a_region(sdk, caplog):
    picture = sdk.register(EXAMPLE / "portrait.png", sdk.options(max_size=360))
    first, last = (rendered(sdk, picture, region="face")[i] for i in (0, -1))
    outside = mask_is_zero(share(picture, 0, "face"))
    np.testing.assert_array_equal(first[outside], last[outside])
    assert "the head of a picture stays still" in caplog.text


@pytest.mark.parametrize("mode, alpha, least, most", [
    ("blend", 1.0, 1.0, 1.0), ("strong", 1.0, 1.0, 1.0), ("replace", 1.0, 1.0, 1.0), ("weak", 1.0, 0.5, 0.5),
    ("custom", 0.3, 0.3, 0.3),
])  # fmt: skip
def test_modes_apply_to_regions(avatar, mode, alpha, least, most):
    mask = region_masks(BlendOptions(mode, alpha, region="face"), avatar.mesh)(0)
    assert mask.max() == pytest.approx(most) and mask[0].max() == mask[:, 0].max() == 0
    plain = face_region_mask(avatar.mesh[0], "face")
    assert (mask > 0).sum() == (plain > 0).sum()
    if mode in ("strong", "replace"):
        assert (mask >= plain).all() and (mask > plain).any()
    assert mask[plain == 1].min() == pytest.approx(least)


def test_colours_are_matched_where_they_differ(avatar):
    """A face 25 levels too bright: brought back by auto; one of the right colours is left as it is, to the bit."""
    options = BlendOptions(region="face")
    height, width = 512, 512
    source = avatar.frames[0]
    crop = cv2.warpAffine(source, avatar.M_c2o[0][:2], (width, height), flags=cv2.WARP_INVERSE_MAP)

    def put(face, colours):
        stage = PutBack(avatar, region_masks(options, avatar.mesh), colours)
        return stage(Frame(0, 0, face=face)).image.astype(int)

    bright = np.clip(crop.astype(int) + 25, 0, 255).astype(np.uint8)
    inside = share(avatar, 0, "face") > 0.99
    off, auto, always = (
        np.abs(put(bright, how) - source)[inside].mean()
        for how in (None, SeamColours(always=False), SeamColours(always=True))
    )
    assert off > 20 and auto < 10 and always < 10
    np.testing.assert_array_equal(put(crop, SeamColours(always=False)), put(crop, None))
