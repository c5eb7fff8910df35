"""The picture strips of docs/controls.md."""

from pathlib import Path

import cv2

from core.settings.options import ControlOptions
from scripts.make_control_gallery import STRIPS, main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "controls.md").read_text(encoding="utf-8")


def test_strip(tmp_path, capsys):
    assert main(["--output_path", str(tmp_path), "--only", "crop_scale"]) == 0
    path = tmp_path / "control_crop_scale.jpg"
    assert capsys.readouterr().out.strip() == str(path)
    picture = cv2.imread(str(path))
    assert picture.shape[1] == 3 * picture.shape[0] - 3 * 20 and path.stat().st_size <= 60_000
    thirds = [picture[:, i * 220 : (i + 1) * 220].astype(float) for i in range(3)]
    assert abs(thirds[0] - thirds[2]).mean() > 5


def test_missing_portrait(tmp_path, capsys):
    assert main(["--source_path", str(tmp_path / "no.png")]) == 2
    assert "no.png" in capsys.readouterr().err


def test_every_strip_is_on_the_page_and_every_control_explained():
    for name in STRIPS:
        assert f"img/control_{name}.jpg" in PAGE
        file = ROOT / "docs" / "img" / f"control_{name}.jpg"
        assert file.is_file() and file.stat().st_size <= 60_000
    for name in ControlOptions.__dataclass_fields__:
        assert f"`{name}`" in PAGE
