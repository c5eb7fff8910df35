"""Convert the two face models of mediapipe 0.10.21 (Apache-2.0) to ONNX files for the embedded pack.

    pip download --no-deps mediapipe==0.10.21
    pip install onnx tflite flatbuffers
    python scripts/ditto_lite/convert_face_models.py mediapipe-0.10.21-*.whl

The argument may also be the folder of an installed mediapipe package. The result is checked into the repository, so
only a change of the converter needs this script. See spec: embedded pack, face models.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

import onnx
from tflite_to_onnx import convert

MODELS = {
    "face_detection_short_range": "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    "face_landmark_with_attention": "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite",
}
PACK = Path(__file__).resolve().parents[2] / "checkpoints" / "ditto_lite"


def read_member(source: Path, member: str) -> bytes:
    """Bytes of `member` in a wheel, or in the site-packages or package folder of an installed mediapipe."""
    if source.is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as wheel:
            if member not in wheel.namelist():
                raise FileNotFoundError(f"{source} holds no {member}; use the wheel of mediapipe 0.10.21")
            return wheel.read(member)
    for root in (source, source.parent):
        if (root / member).is_file():
            return (root / member).read_bytes()
    raise FileNotFoundError(f"{source} is neither a mediapipe 0.10.21 wheel nor an installed package with {member}")


def convert_all(source: Path, out: Path) -> list[Path]:
    """Convert both models into the folder `out` (created) and return the files written."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name, member in MODELS.items():
        path = out / f"{name}.onnx"
        onnx.save(convert(read_member(source, member), name), path)
        written.append(path)
    return written


def main() -> int:
    """Command line: convert, then list the files and their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="mediapipe 0.10.21 wheel, or the folder of the installed package")
    parser.add_argument("--out", type=Path, default=PACK, help="folder for the ONNX files (default: %(default)s)")
    args = parser.parse_args()
    try:
        written = convert_all(args.source, args.out)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path in written:
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
