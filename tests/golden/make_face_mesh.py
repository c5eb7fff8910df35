"""Landmarks of mediapipe 0.10.21 for the face mesh tests. Run once, in an environment that has mediapipe:

python tests/golden/make_face_mesh.py tests/golden/face_mesh.json --decimals 2 PICTURE...
"""

import argparse
import json
from pathlib import Path

import cv2
import mediapipe as mp


def landmarks(path: Path, decimals: int) -> list[list[list[float]]]:
    """Every face of a picture: 478 points x, y, z in pixels."""
    rgb = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    height, width = rgb.shape[:2]
    options = {"static_image_mode": True, "max_num_faces": 4, "refine_landmarks": True}
    with mp.solutions.face_mesh.FaceMesh(**options) as mesh:
        faces = mesh.process(rgb).multi_face_landmarks or []

    def pixels(point) -> list[float]:
        return [round(value, decimals) for value in (point.x * width, point.y * height, point.z * width)]

    return [[pixels(point) for point in face.landmark] for face in faces]


def main() -> None:
    """Write one JSON line per picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--decimals", type=int, default=2)
    args = parser.parse_args()
    lines = [
        f"{json.dumps(path.name)}: {json.dumps(landmarks(path, args.decimals), separators=(',', ':'))}"
        for path in args.pictures
    ]
    args.out.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
