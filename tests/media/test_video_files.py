"""Folders of videos."""

from __future__ import annotations

import pytest

from core.errors import InputError
from core.media.video_files import videos_in


def test_videos_of_a_folder(tmp_path):
    for name in ("b.mp4", "A.MOV", "notes.txt", "c.webm"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d.mp4").touch()
    assert [path.name for path in videos_in(tmp_path)] == ["A.MOV", "b.mp4", "c.webm"]
    with pytest.raises(InputError, match="none: no such folder"):
        videos_in(tmp_path / "none")
    (tmp_path / "below" / "d.mp4").unlink()
    with pytest.raises(InputError, match=r"below: no videos in this folder \(.mp4"):
        videos_in(tmp_path / "below")
