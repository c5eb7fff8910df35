"""Pictures: every common kind comes in upright, 8-bit, RGB and even-sized; what is not a picture is named."""

import struct

import cv2
import numpy as np
import pytest

from core.errors import InputError
from core.media import fit_size, is_image, is_video, read_image


@pytest.fixture
def picture() -> np.ndarray:
    """(40, 60, 3) RGB, smooth, with a red left and a blue right side."""
    across = np.linspace(0, 255, 60, dtype=np.uint8)
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[..., 0], rgb[..., 1], rgb[..., 2] = 255 - across, 100, across
    return rgb


def encode(path, pixels, *parameters):
    """Writes an RGB, RGBA or gray array with OpenCV's encoder."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    ok, data = cv2.imencode(path.suffix, pixels, parameters)
    assert ok
    path.write_bytes(data.tobytes())
    return path


def close(a, b, level=6) -> bool:
    return a.shape == b.shape and np.abs(a.astype(int) - b).mean() < level


def test_size_rule_against_the_reference(golden):
    for case in golden("pipeline_util.json")["check_resize"]:
        height, width, changed = case["out"]
        assert fit_size(case["h"], case["w"], case["max_dim"]) == (height, width)
        assert changed == ((height, width) != (case["h"], case["w"]))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_common_kinds(tmp_path, picture, suffix):
    path = encode(tmp_path / f"pic{suffix}", picture)
    image = read_image(path)
    assert close(image, picture) and image.dtype == np.uint8 and image.flags["C_CONTIGUOUS"]
    assert is_image(path) and not is_video(path)


def test_alpha_gray_and_16_bit(tmp_path, picture):
    alpha = np.dstack([picture, np.full((40, 60), 128, np.uint8)])
    assert close(read_image(encode(tmp_path / "a.png", alpha)), picture, 1)
    gray = picture[..., 0]
    assert close(read_image(encode(tmp_path / "g.jpg", gray)), np.dstack([gray] * 3))
    deep = encode(tmp_path / "d.png", picture.astype(np.uint16) * 257)
    assert close(read_image(deep), picture, 1)
    assert close(read_image(encode(tmp_path / "dg.png", gray.astype(np.uint16) * 257)), np.dstack([gray] * 3), 1)


def exif_rotated(jpeg: bytes, orientation: int) -> bytes:
    """Puts an EXIF block with an orientation behind the start marker."""
    tiff = b"II*\x00" + struct.pack("<I", 8) + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    block = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


@pytest.mark.parametrize("orientation, turns", [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_rotation(tmp_path, picture, orientation, turns):
    path = encode(tmp_path / "r.jpg", picture)
    path.write_bytes(exif_rotated(path.read_bytes(), orientation))
    assert close(read_image(path), np.rot90(picture, turns))


def test_large_and_odd_sizes(tmp_path, picture):
    path = encode(tmp_path / "odd.png", picture[:39, :59])
    assert read_image(path).shape == (38, 58, 3)
    assert read_image(path, max_size=30).shape == (20, 30, 3)
    assert read_image(path, max_size=-1).shape == (38, 58, 3)


def test_names_with_spaces_and_other_letters(tmp_path, picture):
    assert close(read_image(encode(tmp_path / "Bild von Zoë – 图片.png", picture)), picture, 1)


def test_the_content_decides_not_the_name(tmp_path, picture):
    path = encode(tmp_path / "x.png", picture)
    renamed = path.rename(tmp_path / "x.mp4")
    assert is_image(renamed) and close(read_image(renamed), picture, 1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("part", [0.3, 0.7, 0.97])
def test_truncated_files_are_refused(tmp_path, suffix, part):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = encode(tmp_path / f"cut{suffix}", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(InputError, match="cut"):
        read_image(path)


def test_progressive_jpeg_and_bytes_after_the_end_are_fine(tmp_path, picture):
    path = encode(tmp_path / "p.jpg", picture, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert close(read_image(path), picture)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\x00" * 100 + whole)
    assert close(read_image(path), picture)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture(tmp_path, picture):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = encode(tmp_path / "t.jpg", noise)
    whole, thumbnail = path.read_bytes(), encode(tmp_path / "s.jpg", picture[:8, :8]).read_bytes()
    block = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    path.write_bytes(whole[:2] + block + whole[2:])
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cut off"):
        read_image(path)


def test_a_png_with_a_changed_byte_is_refused(tmp_path, picture):
    path = encode(tmp_path / "changed.png", picture)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_image(path)


def test_what_cannot_be_read_says_why(tmp_path, picture):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0) + b"IEND" + b"\xae\x42\x60\x82")
    for name, text in [
        ("text.png", "not a picture"), ("empty.png", "empty"), ("broken.png", "cannot decode"), ("none.png", "no such"),
        (".", "is a directory"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=text) as caught:
            read_image(tmp_path / name)
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    for thin in (picture[:1], picture[:, :1], picture[:1, :1]):
        with pytest.raises(InputError, match="leaves nothing"):
            read_image(encode(tmp_path / "thin.png", thin))
    assert not is_image(tmp_path / "text.png") and not is_video(tmp_path / "text.png")
