"""The embedded renderer on real pictures: what must stay, what must move, and that nothing jumps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from puppet import PORTRAITS, Puppet, load_puppets

from core.lite.appearance import LiteFeature


@pytest.fixture(scope="module")
def puppets() -> dict[str, Puppet]:
    return load_puppets()


@pytest.fixture(params=PORTRAITS)
def puppet(request, puppets) -> Puppet:
    return puppets[request.param]


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(512, 512) largest channel difference."""
    return np.abs(a.astype(int) - b.astype(int)).max(axis=-1)


def test_source_keypoints_give_the_source_back(puppet):
    image = puppet.show(puppet.x_s)
    assert image.shape == (512, 512, 3) and image.dtype == np.uint8
    off = difference(image, puppet.crop)
    assert off[~puppet.outer_lips].max() <= 2
    assert off.mean() < 0.1


@pytest.mark.parametrize("controls", [dict(yaw=12), dict(pitch=-8, roll=8), dict(opening=0.5, blink=1)])
def test_border_stays_to_the_pixel(puppet, controls):
    off = difference(puppet.render(**controls), puppet.crop)
    off[3:-3, 3:-3] = 0
    assert off.max() <= 4
    off[1:-1, 1:-1] = 0
    assert off.max() == 0


def test_background_stands_still_when_the_head_turns(puppet):
    oval = puppet.mesh[:, :2]
    low, high = oval.min(axis=0), oval.max(axis=0)
    y, x = np.mgrid[0:512, 0:512]
    side = (high - low) * 0.62
    far = (np.abs(x - (low + high)[0] / 2) > side[0] + 60) & (y < high[1])
    left, right = puppet.render(yaw=-8, opening=0), puppet.render(yaw=8, opening=0)
    face = puppet.outer_lips
    assert difference(left, right)[face].mean() > 8 * difference(left, right)[far].mean()
    assert difference(left, puppet.crop)[far].mean() < 2


def test_open_portrait_closes(puppets):
    puppet = puppets["astronaut"]
    before, _ = puppet.measure(puppet.crop)
    after, _ = puppet.measure(puppet.render(opening=0.0))
    assert before > 0.1 and after < 0.035


def test_opening_follows_the_keypoints(puppet):
    seen = [puppet.measure(puppet.render(opening=o))[0] for o in (0.0, 0.1, 0.25, 0.4)]
    assert seen[0] < 0.035
    assert np.all(np.diff(seen) > 0.04)
    assert seen[-1] > 0.25


def test_lips_that_are_a_slit_apart_in_the_picture_open_as_far_as_told(puppets):
    hopper = puppets["hopper"]
    puppet = Puppet(hopper.render(opening=0.08), hopper.tracker, hopper.space)
    assert 0.06 < puppet.source.opening < 0.14
    assert puppet.measure(puppet.render(opening=0.0))[0] < 0.035
    assert 0.27 < puppet.measure(puppet.render(opening=0.3))[0] < 0.33


def test_closed_lips_hide_the_cavity(puppet):
    for opening in (-0.03, 0.0, 0.003):
        deformation = puppet.warp.warp(puppet.feature, puppet.x_s, puppet.keypoints(opening=opening))
        curves = deformation.mouth.curves
        assert (curves[:, 1] - curves[:, 0]).max() < 0.6  # pixels


def test_opening_uncovers_dark_and_teeth(puppets):
    puppet = puppets["hopper"]
    lips = puppet.outer_lips
    grey = [cv2.cvtColor(puppet.render(opening=o), cv2.COLOR_RGB2GRAY)[lips] for o in (0.0, 0.35)]
    dark = [(g < 50).sum() for g in grey]
    assert dark[1] > dark[0] + 300


def test_teeth_in_a_slit_are_red_with_shadow_and_not_grey(puppets):
    puppet = puppets["astronaut"]
    deformation = puppet.warp.warp(puppet.feature, puppet.x_s, puppet.keypoints(opening=0.05))
    mouth = deformation.mouth
    down = mouth.curves[len(mouth.curves) // 2].mean() * np.array([-mouth.axis[1], mouth.axis[0]])
    column, row = np.round(mouth.origin + down).astype(int)
    red, _, blue = puppet.decode.decode(deformation)[row, column].astype(float)
    assert red > 150
    assert blue < 0.75 * red


def test_blink_shuts_the_eyes(puppet):
    _, open_eyes = puppet.measure(puppet.crop)
    _, shut = puppet.measure(puppet.render(blink=1.0))
    assert shut < 0.45 * open_eyes


def test_blink_leaves_the_rest_alone(puppet):
    off = difference(puppet.render(blink=1.0), puppet.crop)
    below = int(puppet.mesh[4, 1])
    assert off[below:][~puppet.outer_lips[below:]].max() <= 8


SWEEPS = {
    "opening": lambda k: dict(opening=0.5 * k),
    "width": lambda k: dict(opening=0.1, width=0.4 * k - 0.25),
    "blink": lambda k: dict(blink=k),
    "yaw": lambda k: dict(yaw=30 * k - 15),
}


@pytest.mark.parametrize("sweep", SWEEPS)
def test_nothing_jumps(puppet, sweep):
    frames = [puppet.render(**SWEEPS[sweep](k)).astype(np.float32) for k in np.linspace(0, 1, 81)]
    steps = np.array([np.abs(b - a).mean() for a, b in zip(frames, frames[1:], strict=False)])
    assert steps.max() < 2.0 * np.median(steps) + 0.02


def test_still_input_gives_a_still_picture(puppet):
    x_d = puppet.keypoints(opening=0.12, yaw=3, blink=0.3)
    wobble = x_d + np.random.default_rng(0).normal(0, 1e-5, x_d.shape).astype(np.float32)
    assert difference(puppet.show(x_d), puppet.show(wobble)).mean() < 0.05
    assert np.array_equal(puppet.show(x_d), puppet.show(x_d))


def test_extreme_keypoints_stay_finite(puppet):
    rng = np.random.default_rng(1)
    for x_d in (
        puppet.x_s * 30,
        puppet.x_s * 0,
        puppet.x_s + 5,
        puppet.keypoints(opening=4, width=-3, blink=5, yaw=80),
        rng.normal(0, 2, puppet.x_s.shape).astype(np.float32),
    ):
        deformation = puppet.warp.warp(puppet.feature, puppet.x_s, x_d)
        mouth = deformation.mouth
        for part in (deformation.maps, deformation.lids, mouth.upper_flow, mouth.lower_flow, mouth.curves, mouth.jaw):
            assert np.isfinite(part).all()
        assert puppet.decode.decode(deformation).shape == (512, 512, 3)


def test_grey_portrait_stays_grey(puppets):
    puppet = puppets["hopper"]
    grey = cv2.cvtColor(cv2.cvtColor(puppet.crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    feature = LiteFeature(grey, puppet.mesh)
    image = puppet.decode.decode(puppet.warp.warp(feature, puppet.x_s, puppet.keypoints(opening=0.35, blink=0.6)))
    assert (image.max(axis=-1).astype(int) - image.min(axis=-1)).max() <= 3


def test_feature_refuses_other_shapes():
    with pytest.raises(ValueError, match="crop must be"):
        LiteFeature(np.zeros((256, 256, 3), np.uint8), np.zeros((478, 3), np.float32))
    with pytest.raises(ValueError, match="mesh must be"):
        LiteFeature(np.zeros((512, 512, 3), np.uint8), np.zeros((468, 3), np.float32))
