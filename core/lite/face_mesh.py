"""478-point attention face mesh of the embedded pack (spec lite.md section 2)."""

from __future__ import annotations

from os import PathLike

import cv2
import numpy as np

from core.backends.onnx import load_session
from core.utils.blaze import Detection
from core.utils.picture import check_picture
from core.utils.roi import Roi, crop_roi, roi_around

INPUT_SIZE = 192
NUM_POINTS = 478
EYE_CORNERS = (33, 263)
EYE_RING = 16  # the first points of an eye head are the lids' rim; its mean depth is the iris depth

LIPS = (
    61,
    146,
    91,
    181,
    84,
    17,
    314,
    405,
    321,
    375,
    291,
    185,
    40,
    39,
    37,
    0,
    267,
    269,
    270,
    409,
    78,
    95,
    88,
    178,
    87,
    14,
    317,
    402,
    318,
    324,
    308,
    191,
    80,
    81,
    82,
    13,
    312,
    311,
    310,
    415,
    76,
    77,
    90,
    180,
    85,
    16,
    315,
    404,
    320,
    307,
    306,
    184,
    74,
    73,
    72,
    11,
    302,
    303,
    304,
    408,
    62,
    96,
    89,
    179,
    86,
    15,
    316,
    403,
    319,
    325,
    292,
    183,
    42,
    41,
    38,
    12,
    268,
    271,
    272,
    407,
)
LEFT_EYE = (
    33,
    7,
    163,
    144,
    145,
    153,
    154,
    155,
    133,
    246,
    161,
    160,
    159,
    158,
    157,
    173,
    130,
    25,
    110,
    24,
    23,
    22,
    26,
    112,
    243,
    247,
    30,
    29,
    27,
    28,
    56,
    190,
    226,
    31,
    228,
    229,
    230,
    231,
    232,
    233,
    244,
    113,
    225,
    224,
    223,
    222,
    221,
    189,
    35,
    124,
    46,
    53,
    52,
    65,
    143,
    111,
    117,
    118,
    119,
    120,
    121,
    128,
    245,
    156,
    70,
    63,
    105,
    66,
    107,
    55,
    193,
)
RIGHT_EYE = (
    263,
    249,
    390,
    373,
    374,
    380,
    381,
    382,
    362,
    466,
    388,
    387,
    386,
    385,
    384,
    398,
    359,
    255,
    339,
    254,
    253,
    252,
    256,
    341,
    463,
    467,
    260,
    259,
    257,
    258,
    286,
    414,
    446,
    261,
    448,
    449,
    450,
    451,
    452,
    453,
    464,
    342,
    445,
    444,
    443,
    442,
    441,
    413,
    265,
    353,
    276,
    283,
    282,
    295,
    372,
    340,
    346,
    347,
    348,
    349,
    350,
    357,
    465,
    383,
    300,
    293,
    334,
    296,
    336,
    285,
    417,
)
LEFT_IRIS, RIGHT_IRIS = tuple(range(468, 473)), tuple(range(473, 478))
# In the order in which they overwrite the mesh: output name, points
HEADS = (
    ("output_lips", LIPS),
    ("output_left_eye", LEFT_EYE),
    ("output_right_eye", RIGHT_EYE),
    ("output_left_iris", LEFT_IRIS),
    ("output_right_iris", RIGHT_IRIS),
)
MESH_HEAD, SCORE_HEAD = "output_mesh_identity", "conv_faceflag"


class FaceMesh:
    """Landmarks of the face inside a region of a picture. Calls are independent of each other."""

    def __init__(self, path: str | PathLike[str], threads: int = 1):
        """Load face_landmark_with_attention.onnx. Raises PackError when it is missing or something else."""
        heads = tuple(name for name, _ in HEADS)
        self._session = load_session(path, threads).require(("input_1",), (MESH_HEAD, SCORE_HEAD, *heads))

    def __call__(self, rgb: np.ndarray, roi: Roi) -> tuple[np.ndarray, float]:
        """Mesh (478, 3) float32 in pixels of `rgb` (z in the same unit) and the probability that it is a face.

        `rgb` is (H, W, 3) uint8; raises InputError otherwise.
        """
        check_picture(rgb)
        square = crop_roi(rgb, roi, INPUT_SIZE, cv2.BORDER_REPLICATE)
        out = self._session.run(input_1=square[None].astype(np.float32) / 255)
        mesh = np.empty((NUM_POINTS, 3), np.float32)
        mesh[: LEFT_IRIS[0]] = out[MESH_HEAD].reshape(-1, 3)
        for iris, eye in ((LEFT_IRIS, LEFT_EYE), (RIGHT_IRIS, RIGHT_EYE)):
            mesh[list(iris), 2] = mesh[list(eye[:EYE_RING]), 2].mean()
        for name, points in HEADS:
            mesh[list(points), :2] = out[name].reshape(-1, 2)
        mesh /= INPUT_SIZE
        mesh[:, :2] -= 0.5
        score = 1 / (1 + np.exp(-np.clip(out[SCORE_HEAD].item(), -80, 80)))
        return roi.to_image(mesh), float(score)


def roi_from_detection(detection: Detection) -> Roi:
    """Region of a detected face: its box, upright along the eyes."""
    return roi_around(detection.box[:2], detection.box[2:], detection.points[0], detection.points[1])


def roi_from_mesh(mesh: np.ndarray) -> Roi:
    """Region for the next look at a face whose mesh (478, 2 or 3) is known."""
    xy = np.asarray(mesh, np.float32)[:, :2]
    return roi_around(xy.min(axis=0), xy.max(axis=0), xy[EYE_CORNERS[0]], xy[EYE_CORNERS[1]])
