"""Stand-ins for the face models of a pack, as ONNX files: they see one frontal face in the middle of any picture.

Names, shapes and order of inputs and outputs are those of the real files (spec models.md 12); the numbers come from
the mean face of the embedded pack. The boxes and points fit together: the landmarks of a crop made from landmarks are
those landmarks again, so tracking stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.utils.blaze import anchor_centres

MEAN_FACE = Path(__file__).resolve().parents[2] / "checkpoints" / "ditto_lite" / "motion_space.npz"
OPSET = 20
IR_VERSION = 10  # what ONNX Runtime 1.18 reads
BOX_SIDE = 0.6  # of the detected box, over the shorter side of the picture
DETECTOR_SIZE, BLAZE_SIZE, MESH_SIZE = 512, 128, 256
VIEW_SCALE, VIEW_SHIFT = 1.5, 0.1  # crop of the landmark networks: its side over the face's, the face's place below
CROP_SCALE, CROP_SHIFT = 2.3, 0.125  # the same of the final crop
SURE = 0.9
SURE_LOGIT, NO_LOGIT = 4.0, -10.0
LEVELS = ((8, 8192), (16, 2048), (32, 512))  # stride and rows of the detector's outputs

# outlines on the 478 points
EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)  # the left one in the picture
LIP_UP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIP_LOW = (291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 61)
INNER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
JAW = (127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)  # left ear to chin
BROW = (70, 63, 105, 66, 107)
NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 2)
IRISES = (468, 473)
NOSE_TIP, MOUTH_CORNERS = 4, (61, 291)


@dataclass(frozen=True)
class MeanFace:
    """A frontal face in units of the longer side of its landmarks, origin at their centre, x right, y down.

    Attributes:
        mesh: (478, 3).
        points203, points106: (203, 2), (106, 2), in the order of the real networks as far as the program reads it.
    """

    mesh: np.ndarray
    points203: np.ndarray
    points106: np.ndarray


def mean_face() -> MeanFace:
    """The mean face of the embedded pack."""
    with np.load(MEAN_FACE, allow_pickle=False) as arrays:
        mesh = arrays["canonical"].astype(np.float64)
    if mesh[152, 1] < mesh[168, 1]:  # the chin is above the nose's root: y points up, z towards the viewer
        mesh = mesh * [1, -1, -1]
    mesh[:, 0] *= np.sign(mesh[263, 0] - mesh[33, 0])
    mesh[:, 0] -= mesh[[33, 263], 0].mean()
    points = _points203(mesh)
    low, high = points.min(axis=0), points.max(axis=0)
    side, centre = (high - low).max(), (low + high) / 2
    mesh[:, :2] -= centre
    return MeanFace(mesh / side, (points - centre) / side, (_points106(mesh + [*centre, 0]) - centre) / side)


def write_faces(out: Path, original: bool) -> None:
    """Write the five models into `out`, named as in the ONNX pack or, `original`, as in the PyTorch pack."""
    face = mean_face()
    names = ("det_10g", "2d106det") if original else ("insightface_det", "landmark106")
    out.mkdir(parents=True, exist_ok=True)
    _save(_detector(face, "input.1" if original else "image", original), out / f"{names[0]}.onnx")
    rough = (face.points106 * 2 / VIEW_SCALE).reshape(1, 212)
    _save(_constant_model("landmark106", ("data", (1, 3, 192, 192)), {"fc1": rough}), out / f"{names[1]}.onnx")
    fine = (0.5 + face.points203 / VIEW_SCALE + [0, VIEW_SHIFT]).reshape(1, 406)
    others = {f"out{i}": np.zeros((1, 406)) for i in range(2)} if original else {}
    results = {**others, "out2" if original else "landmarks": fine}
    _save(_constant_model("landmark203", ("input", (1, 3, 224, 224)), results), out / "landmark203.onnx")
    _save(_constant_model("blaze_face", ("input", (1, 128, 128, 3)), _blaze(face)), out / "blaze_face.onnx")
    mesh = (face.mesh / VIEW_SCALE + [0.5, 0.5, 0]) * MESH_SIZE
    results = {"Identity": mesh.reshape(1, 1, 1, 1434), "Identity_1": np.ones((1, 1)), "Identity_2": np.ones((1, 1))}
    _save(_constant_model("face_mesh", ("input", (1, 256, 256, 3)), results), out / "face_mesh.onnx")


def _line(points: np.ndarray, count: int, closed: bool = False) -> np.ndarray:
    """`count` points (count, 2) along a line of points, evenly by their number."""
    points = np.concatenate([points, points[:1]]) if closed else points
    places = np.linspace(0, len(points) - 1, count + 1)[:-1] if closed else np.linspace(0, len(points) - 1, count)
    return np.stack([np.interp(places, np.arange(len(points)), column) for column in points.T], axis=1)


def _both(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the left half, and the same on the right."""
    return points, points * [-1, 1]


def _jaw(flat: np.ndarray, count: int) -> np.ndarray:
    """Ear to ear along the chin; `count` is odd."""
    left, right = _both(_line(flat[list(JAW)], count // 2 + 1))
    return np.concatenate([left, right[-2::-1]])


def _points203(mesh: np.ndarray) -> np.ndarray:
    flat = mesh[:, :2]
    eyes = _both(_line(flat[list(EYE)], 24, closed=True))
    lips = _line(flat[list(LIP_UP + LIP_LOW[1:-1])], 36, closed=True), _line(flat[list(INNER_LIP)], 24, closed=True)
    brows = _both(_line(flat[list(BROW)], 20))
    nose = _line(flat[list(NOSE)], 16), flat[list(IRISES)]
    return np.concatenate([*eyes, *lips, _jaw(flat, 37), *brows, *nose])


def _points106(mesh: np.ndarray) -> np.ndarray:
    flat = mesh[:, :2]
    left_eye, right_eye = _both(_line(flat[list(EYE)], 10, closed=True))
    left_brow, right_brow = _both(_line(flat[list(BROW)], 9))
    mouth = _line(flat[list(LIP_UP)], 10), _line(flat[list(LIP_LOW)], 12)[1:-1]
    nose = _line(flat[list(NOSE)], 15)
    return np.concatenate([_jaw(flat, 33), left_eye, left_brow, *mouth, nose, right_eye, right_brow])


def _blaze(face: MeanFace) -> dict[str, np.ndarray]:
    """Outputs of the detector that looks at the final crop: one anchor sees the face where the crop has put it."""
    regressors, logits = np.zeros((1, 896, 16)), np.full((1, 896, 1), NO_LOGIT)
    anchors = anchor_centres()[:, 0]
    centre = np.array([0.5, 0.5 + CROP_SHIFT])
    row = int(np.argmin(np.linalg.norm(anchors - centre, axis=1)))
    eyes = face.mesh[list(IRISES), :2]
    points = np.concatenate([eyes, face.mesh[[NOSE_TIP, 13, 234, 454], :2]]) / CROP_SCALE + centre
    side = 1 / CROP_SCALE
    values = centre - anchors[row], [side, side], (points - anchors[row]).ravel()
    regressors[0, row] = BLAZE_SIZE * np.concatenate(values)
    logits[0, row] = SURE_LOGIT
    return {"regressors": regressors, "classificators": logits}


def _detector(face: MeanFace, input_name: str, original: bool) -> onnx.ModelProto:
    """One box in the middle of the picture, whose extent is where the canvas is not black."""
    marks = face.mesh[[*IRISES, NOSE_TIP, *MOUTH_CORNERS], :2] * BOX_SIDE
    stride, half = LEVELS[-1][0], BOX_SIDE / 2
    from_size = np.array([[-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5], [half] * 4]) / stride  # rows: width, height, shorter
    mark_rows = np.array([[0.5, 0] * 5, [0, 0.5] * 5, marks.ravel()]) / stride
    scores = [np.zeros((rows, 1)) for _, rows in LEVELS]
    scores[-1][0] = SURE
    boxes, points = ([np.zeros((rows, width)) for _, rows in LEVELS[:-1]] for width in (4, 10))
    names = [f"{part}{level}" for part in ("scores", "boxes", "kps") for level in (1, 2, 3)]
    constants = dict(zip(names, [*scores, *boxes, None, *points, None]))
    nodes = [_constant(name, value) for name, value in constants.items() if value is not None]
    nodes += _extent(input_name)
    rows = LEVELS[-1][1] - 1
    for name, matrix in (("boxes3", from_size), ("kps3", mark_rows)):
        nodes += [_constant(f"{name}_matrix", matrix), _constant(f"{name}_rest", np.zeros((rows, matrix.shape[1])))]
        nodes.append(helper.make_node("MatMul", ["extent", f"{name}_matrix"], [f"{name}_first"]))
        nodes.append(helper.make_node("Concat", [f"{name}_first", f"{name}_rest"], [name], axis=0))
    widths = {"scores": 1, "boxes": 4, "kps": 10}
    shapes = {name: (LEVELS[int(name[-1]) - 1][1], widths[name[:-1]]) for name in names}
    model = _model("detector", nodes, (input_name, (1, 3, DETECTOR_SIZE, DETECTOR_SIZE)), shapes)
    return _renamed(model, {name: str(448 + i) for i, name in enumerate(names)}) if original else model


def _extent(input_name: str) -> list[onnx.NodeProto]:
    """Nodes that find `extent` (1, 3): width, height and the shorter of both of what is not black in a picture."""
    nodes = [_constant("black", np.array(-0.99)), _constant("places", np.arange(1, DETECTOR_SIZE + 1))]
    nodes.append(_constant("least", np.array([32.0])))
    for name, axes in (("width", (0, 1, 2)), ("height", (0, 1, 3))):
        nodes += [
            _constant(f"{name}_axes", np.array(axes), np.int64),
            helper.make_node("ReduceMax", [input_name, f"{name}_axes"], [f"{name}_light"], keepdims=0),
            helper.make_node("Greater", [f"{name}_light", "black"], [f"{name}_seen"]),
            helper.make_node("Cast", [f"{name}_seen"], [f"{name}_ones"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_ones", "places"], [f"{name}_places"]),
            helper.make_node("ReduceMax", [f"{name}_places"], [f"{name}_last"], keepdims=1),
            helper.make_node("Max", [f"{name}_last", "least"], [name]),
        ]
    nodes.append(helper.make_node("Min", ["width", "height"], ["shorter"]))
    nodes.append(helper.make_node("Concat", ["width", "height", "shorter"], ["sizes"], axis=0))
    nodes.append(_constant("row", np.array([1, 3]), np.int64))
    nodes.append(helper.make_node("Reshape", ["sizes", "row"], ["extent"]))
    return nodes


def _constant_model(name: str, given: tuple[str, tuple[int, ...]], results: dict[str, np.ndarray]) -> onnx.ModelProto:
    """A model that ignores its input."""
    nodes = [_constant(key, value) for key, value in results.items()]
    return _model(name, nodes, given, {key: value.shape for key, value in results.items()})


def _constant(name: str, value: np.ndarray, dtype: type = np.float32) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value.astype(dtype)))


def _model(
    name: str, nodes: list[onnx.NodeProto], given: tuple[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]
) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info(given[0], TensorProto.FLOAT, given[1])]
    results = [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()]
    graph = helper.make_graph(nodes, name, inputs, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _renamed(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """The model with other names of its outputs."""
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = names.get(output.name, output.name)
    return model


def _save(model: onnx.ModelProto, path: Path) -> None:
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
