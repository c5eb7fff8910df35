"""The SCRFD adapter against goldens, and for real on portraits when weights of its family are at hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.aux_models.scrfd_detector import OUTPUTS, ScrfdDetector, letterbox, suppress
from core.backends.onnx import load_session
from core.errors import InputError, PackError
from core.utils.blaze import box_overlap

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
FOLDERS = [ROOT / "example", ROOT / "tests" / "data", SHARED / "portraits"]
PORTRAITS = [
    "portrait.png",
    "astronaut_mirrored_small.jpg",
    "grace_hopper.jpg",
    "hopper_rotated.jpg",
    "man_bald.jpg",
    "painting_pearl_earring.jpg",
    "woman_shouting.jpg",
    "two_faces_couple.jpg",
]
ROWS = (8192, 2048, 512)


def outputs(score, distance=0.0, offset=0.0):
    fills = [score] * 3 + [distance] * 3 + [offset] * 3
    widths = [1] * 3 + [4] * 3 + [10] * 3
    tables = zip(OUTPUTS, ROWS * 3, widths, fills, strict=True)
    return {name: np.full((rows, width), fill, np.float32) for name, rows, width, fill in tables}


@pytest.fixture(scope="module")
def planted(golden, fake_session):
    """The fake network of adapters.npz."""
    arrays = golden("adapters.npz")
    out = outputs(*arrays["scrfd/background"])
    for i, (level, row) in enumerate(zip(arrays["scrfd/plant_level"], arrays["scrfd/plant_row"], strict=True)):
        for kind, name in (("score", "scores"), ("box", "boxes"), ("kps", "kps")):
            out[f"{name}{level + 1}"][row] = arrays[f"scrfd/plant_{kind}"][i]
    return arrays, fake_session(out, image=(1, 3, 512, 512))


@pytest.mark.parametrize("name", ["wide", "tall", "small"])
def test_faces_and_input_are_the_golden_ones(planted, makers, assert_sampled, name):
    arrays, session = planted
    faces = ScrfdDetector(session)(makers.picture(f"adapters/scrfd/{name}", *arrays[f"scrfd/{name}/image_hw"]))
    want = arrays[f"scrfd/{name}/det"]
    np.testing.assert_allclose(faces.boxes, want[:, :4], atol=1e-4)
    np.testing.assert_array_equal(faces.scores, want[:, 4])
    np.testing.assert_allclose(faces.points, arrays[f"scrfd/{name}/kps"], atol=1e-4)
    assert faces.best == faces.scores[0]
    # bilinear resizing rounds differently between OpenCV versions: by one grey level, in few pixels
    assert_sampled(session.fed[-1], arrays, f"scrfd/{name}/blob", atol=1e-5, off=0.02)
    assert_sampled(session.fed[-1], arrays, f"scrfd/{name}/blob", atol=1.01 / 128)


def test_largest_face_and_threshold(planted, makers):
    arrays, session = planted
    rgb = makers.picture("adapters/scrfd/wide", 360, 640)
    faces = ScrfdDetector(session)(rgb)
    np.testing.assert_allclose(faces.boxes[faces.by_area()[0]], arrays["scrfd/wide/det_max1_max"][0, :4], atol=1e-4)
    strict = ScrfdDetector(session)(rgb, min_score=0.9)
    np.testing.assert_allclose(strict.boxes, arrays["scrfd/wide/det_thresh09"][:, :4], atol=1e-4)


@pytest.mark.parametrize("size", [(360, 480), (700, 300)])
def test_pipeline_goldens(golden, fake_session, picture, size):
    arrays, out, tag = golden("pipeline_aux.npz"), outputs(0.01), f"{size[0]}x{size[1]}"
    for level, row, score, *values in arrays["det_sparse"]:
        for name, part in (("scores", [score]), ("boxes", values[:4]), ("kps", values[4:])):
            out[f"{name}{int(level) + 1}"][int(row)] = part
    session = fake_session(out, image=(1, 3, 512, 512))
    faces = ScrfdDetector(session)(picture(*size))
    np.testing.assert_allclose(faces.boxes, arrays[f"det_{tag}"][:, :4], atol=1e-4)
    np.testing.assert_allclose(faces.points, arrays[f"det_kps_{tag}"], atol=1e-4)
    np.testing.assert_array_equal(faces.by_area(), arrays[f"det_order_{tag}"])
    np.testing.assert_allclose(session.fed[-1][0, :, ::32, ::32], arrays[f"det_blob_{tag}"], atol=0.03)


def test_anchors_are_the_golden_ones(planted):
    arrays, session = planted
    for centres, want in zip(ScrfdDetector(session)._centres, arrays["scrfd/anchors_head"], strict=True):
        np.testing.assert_array_equal(centres[[0, 1, 2, 3, -1]], want)


def test_no_face_gives_empty_arrays_and_the_best_score(fake_session):
    faces = ScrfdDetector(fake_session(outputs(0.3), image=(1, 3, 512, 512)))(np.zeros((20, 30, 3), np.uint8))
    assert faces.boxes.shape == (0, 4) and faces.points.shape == (0, 5, 2) and not len(faces.by_area())
    assert faces.best == pytest.approx(0.3)


def test_channel_order_is_reversed_unless_asked(fake_session):
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[..., 0] = 255
    session = fake_session(outputs(0.0), image=(1, 3, 512, 512))
    ScrfdDetector(session)(rgb)
    ScrfdDetector(session, rgb_order=True)(rgb)
    assert [fed[0, :, 0, 0].argmax() for fed in session.fed] == [2, 2, 0, 0]  # nothing found: each looks twice


def test_input_size_comes_from_the_model(fake_session):
    assert ScrfdDetector(fake_session(outputs(0.0), x=(1, 3, 640, 320))).input_size == (640, 320)
    assert ScrfdDetector(fake_session(outputs(0.0), x=(1, 3, "?", None))).input_size == (512, 512)


def test_a_second_look_at_half_size_finds_what_the_first_did_not(fake_session):
    """A level-1 row fires only when the picture leaves the lower half of the input black."""

    def scores(blob):
        table = np.full((ROWS[0], 1), 0.2, np.float32)
        table[8 * 64 * 2] = 0.8 if blob[0, 0, 300, 0] < -0.9 else 0.2
        return table

    out = outputs(0.3, distance=2.0)
    session = fake_session({**out, "scores1": scores}, image=(1, 3, 512, 512))
    faces = ScrfdDetector(session)(np.full((128, 128, 3), 200, np.uint8))
    assert len(session.fed) == 2
    np.testing.assert_allclose(faces.boxes, [[-8, 24, 8, 40]])  # 16 pixels of 64 around y = 64, halved


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (7, 5)])
def test_letterbox_takes_any_shape(shape):
    canvas, scale = letterbox(np.full((*shape, 3), 9, np.uint8), (512, 512))
    assert canvas.shape == (512, 512, 3) and canvas[0, 0, 0] == 9 and scale > 0


def test_suppression_ends_with_degenerate_boxes():
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [5, 5, 4, 4], [90, 90, 99, 99]], np.float32)
    assert suppress(boxes).tolist() == [0, 2, 3]


def test_a_foreign_model_is_refused(fake_session):
    with pytest.raises(PackError, match="fake.onnx.*9 outputs"):
        ScrfdDetector(fake_session({"a": np.zeros(1)}, x=(1, 3, 512, 512)))
    detector = ScrfdDetector(fake_session(outputs(0.0), x=(1, 3, 640, 640)))
    with pytest.raises(PackError, match="12800 x 1"):
        detector(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(InputError, match="uint8"):
        detector(np.zeros((9, 9)))


@pytest.fixture(scope="module")
def real():
    weights = SHARED / "weights" / "scrfd_2.5g_kps.onnx"
    if not weights.is_file():
        pytest.skip(f"{weights} is not here")
    return ScrfdDetector(load_session(weights))


@pytest.mark.parametrize("name", PORTRAITS)
def test_finds_the_faces_of_real_portraits(golden, real, name):
    """Against golden meshes, by another detector family; the points are eyes and mouth corners."""
    assert real.input_size == (640, 640)
    path = next((folder / name for folder in FOLDERS if (folder / name).is_file()), None)
    if path is None:
        pytest.skip(f"{name} is not here")
    faces = real(cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
    meshes = {**golden("face_mesh.json"), **golden("face_mesh_shared.json")}[name]
    for mesh in np.array(meshes, np.float32)[..., :2]:
        overlap = box_overlap(np.concatenate([mesh.min(axis=0), mesh.max(axis=0)]), faces.boxes)
        assert overlap.max() > 0.5
        distances = np.linalg.norm(faces.points[overlap.argmax()][[0, 1, 3, 4]] - mesh[[468, 473, 61, 291]], axis=1)
        assert distances.max() < 0.12 * np.ptp(mesh, axis=0).max()
