"""The 478 landmark adapters against goldens, and the networks of a `.task` file against the embedded mesh."""

import runpy
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.aux_models.landmark478 import BlazeFace, FaceMesh256, Landmark478, MediaPipe478
from core.backends.onnx import load_session
from core.errors import PackError
from core.utils.blaze import anchor_centres
from core.utils.eyes import eye_state
from core.utils.roi import Roi, roi_around

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
TASK = SHARED / "weights" / "face_landmarker.task"
PORTRAITS = ["woman_shouting.jpg", "man_bald.jpg", "two_faces_couple.jpg"]


@pytest.fixture
def blaze(golden, fake_session):
    """The fake detector of adapters.npz."""
    arrays = golden("adapters.npz")
    raw, rest, size = arrays["blaze/background"]
    regressors, logits = np.full((1, 896, 16), rest, np.float32), np.full((1, 896, 1), raw, np.float32)
    regressors[..., 2:4] = size
    regressors[0, arrays["blaze/rows"]] = arrays["blaze/regressors"]
    logits[0, arrays["blaze/rows"], 0] = arrays["blaze/scores"]
    return fake_session({"regressors": regressors, "classificators": logits}, input=(1, 128, 128, 3))


@pytest.fixture
def mesh(golden, fake_session):
    """The fake mesh of adapters.npz."""
    pred = golden("adapters.npz")["mesh/pred"].reshape(1, 1, 1, 1434)
    return fake_session({"Identity": pred, "Identity_1": np.zeros(1)}, input=(1, 256, 256, 3))


def roi_of(values):
    x, y, side, _, angle = values
    return Roi((x, y), side, angle)


def assert_detections(found, golden, side):
    """golden: (n, 17) corners in 128ths, points in 0..1, mean score; ours come in picture pixels."""
    ours = [np.concatenate([face.box / side * 128, face.points.ravel() / side]) for face in found]
    np.testing.assert_allclose(ours, golden[:, :16], atol=1e-4)


def test_detections_are_the_golden_ones(golden, makers, blaze, assert_sampled):
    arrays = golden("adapters.npz")
    assert_detections(BlazeFace(blaze)(makers.picture("adapters/blaze/image", 512, 512)), arrays["blaze/boxes"], 512)
    assert_sampled(blaze.fed[0], arrays, "blaze/input", atol=1e-5, off=0.02)
    assert_sampled(blaze.fed[0], arrays, "blaze/input", atol=1.01 / 127.5)
    np.testing.assert_allclose(anchor_centres()[:, 0], arrays["blaze/anchors"], atol=1e-7)


def test_detections_of_the_pipeline_goldens(golden, picture, fake_session):
    arrays = golden("pipeline_aux.npz")
    regressors, logits = np.zeros((1, 896, 16), np.float32), np.full((1, 896, 1), -8, np.float32)
    regressors[0, arrays["blaze_ids"]], logits[0, arrays["blaze_ids"]] = arrays["blaze_reg"], arrays["blaze_cls"]
    session = fake_session({"regressors": regressors, "classificators": logits}, input=(1, 128, 128, 3))
    assert_detections(BlazeFace(session)(picture(512, 512)), arrays["blaze_out"], 512)


def test_region_is_the_golden_one(golden):
    adapters, pipeline = golden("adapters.npz"), golden("pipeline_aux.npz")
    for box, points, want in (
        (adapters["roi/bbox"], adapters["roi/keypoints"], adapters["roi/square_long"]),
        (pipeline["roi_in"][:4], pipeline["roi_in"][4:].reshape(2, 2), pipeline["roi_out"]),
    ):
        roi = roi_around(box[:2], box[2:], *points)
        np.testing.assert_allclose([*roi.centre, roi.side, roi.side, roi.angle], want, atol=1e-6)


def test_mesh_is_the_golden_one(golden, makers, mesh, assert_sampled):
    arrays = golden("adapters.npz")
    points = FaceMesh256(mesh)(makers.picture("adapters/mesh/image", 512, 512), roi_of(arrays["mesh/roi"]))
    np.testing.assert_allclose(points, arrays["mesh/points"], atol=1e-4)
    assert_sampled(mesh.fed[0], arrays, "mesh/input", atol=1.01 / 255, off=0.001)


def test_mesh_of_the_pipeline_goldens(golden, picture, fake_session):
    arrays = golden("pipeline_aux.npz")
    session = fake_session({"Identity": arrays["mesh_raw"]}, input=(1, 256, 256, 3))
    points = FaceMesh256(session)(picture(512, 512), roi_of(arrays["roi_out"]))
    np.testing.assert_allclose(points, arrays["mesh_out"], atol=1e-4)
    np.testing.assert_allclose(points[None] / 512, arrays["mesh_norm"], atol=1e-6)
    np.testing.assert_allclose(session.fed[0][0, ::16, ::16], arrays["mesh_in"], atol=0.03)  # black beyond the border


def test_both_together(golden, makers, blaze, mesh):
    arrays = golden("adapters.npz")
    points = Landmark478(BlazeFace(blaze), FaceMesh256(mesh))(makers.picture("adapters/mesh/image", 512, 512))
    np.testing.assert_allclose(points, arrays["lm478/out"][0], atol=1e-6)


def test_sides_are_not_swapped_in_other_pictures(blaze, mesh):
    """The reference mixes up width and height (spec models.md 14.7); the region must follow the box of the detector."""
    rgb = np.zeros((400, 300, 3), np.uint8)
    face = BlazeFace(blaze)(rgb)[0]
    roi = roi_around(face.box[:2], face.box[2:], *face.points[:2])
    points = Landmark478(BlazeFace(blaze), FaceMesh256(mesh))(rgb)
    np.testing.assert_allclose(points * [300, 400, 300], FaceMesh256(mesh)(rgb, roi), atol=1e-3)


def test_no_face_falls_back_to_the_expected_region(fake_session, mesh):
    nothing = {"regressors": np.zeros((1, 896, 16), np.float32), "classificators": np.full((1, 896, 1), -9, np.float32)}
    finder = Landmark478(BlazeFace(fake_session(nothing, input=(1, 128, 128, 3))), FaceMesh256(mesh))
    rgb, roi = np.zeros((512, 512, 3), np.uint8), Roi((200.0, 220.0), 300.0, 0.1)
    assert finder(rgb) is None
    np.testing.assert_allclose(finder(rgb, roi) * 512, FaceMesh256(mesh)(rgb, roi), atol=1e-3)


def test_mediapipe_missing_names_the_extra(tmp_path, monkeypatch):
    task = tmp_path / "face_landmarker.task"
    with pytest.raises(PackError, match="face_landmarker.task is missing"):
        MediaPipe478(task)
    task.write_bytes(b"no zip")
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(PackError, match=r"\.\[mediapipe\]"):
        MediaPipe478(task)


def test_a_damaged_task_file_is_refused(tmp_path):
    pytest.importorskip("mediapipe")
    (tmp_path / "face_landmarker.task").write_bytes(b"no zip")
    with pytest.raises(PackError, match="no face landmarker"):
        MediaPipe478(tmp_path / "face_landmarker.task")


def face_crop(golden, name):
    """A 512 crop around the face of a shared portrait, and the golden mesh (478, 3) in crop pixels."""
    path = SHARED / "portraits" / name
    if not path.is_file() or not TASK.is_file():
        pytest.skip(f"{path} or {TASK} is not here")
    rgb = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    points = np.array(golden("face_mesh_shared.json")[name][0], np.float32)
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    scale = 512 / (2 * (high - low).max())
    shift = 256 - scale * (low + high) / 2
    crop = cv2.warpAffine(rgb, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (512, 512))
    points *= scale
    points[:, :2] += shift
    return crop, points


def assert_same_face(points, want):
    """`points` normalised; within a few hundredths of the face, and eyes open alike."""
    distance = np.linalg.norm(points[:, :2] * 512 - want[:, :2], axis=1) / np.ptp(want[:, 1])
    assert distance.mean() < 0.02 and distance.max() < 0.08
    np.testing.assert_allclose(eye_state(points)[0], eye_state(want / 512)[0], atol=0.25)


@pytest.fixture(scope="module")
def task_networks(tmp_path_factory):
    """The two networks inside the `.task` file as the ONNX files of the exported packs."""
    if not TASK.is_file():
        pytest.skip(f"{TASK} is not here")
    for package in ("onnx", "tflite"):
        pytest.importorskip(package)
    convert = runpy.run_path(str(ROOT / "scripts" / "ditto_lite" / "tflite_to_onnx.py"))["convert"]
    folder, sessions = tmp_path_factory.mktemp("task"), []
    with zipfile.ZipFile(TASK) as archive:
        for name in ("face_detector", "face_landmarks_detector"):
            (folder / f"{name}.onnx").write_bytes(convert(archive.read(f"{name}.tflite"), name).SerializeToString())
            sessions.append(load_session(folder / f"{name}.onnx"))
    return Landmark478(BlazeFace(sessions[0]), FaceMesh256(sessions[1]))


@pytest.mark.parametrize("name", PORTRAITS)
def test_real_networks_agree_with_the_embedded_mesh(golden, task_networks, name):
    crop, want = face_crop(golden, name)
    assert_same_face(task_networks(crop), want)


@pytest.mark.parametrize("name", PORTRAITS)
def test_mediapipe_agrees_with_the_embedded_mesh(golden, name):
    pytest.importorskip("mediapipe")
    crop, want = face_crop(golden, name)
    landmarker = MediaPipe478(TASK)
    assert_same_face(landmarker(crop), want)
    assert landmarker(np.zeros((512, 512, 3), np.uint8)) is None
    landmarker.close()
