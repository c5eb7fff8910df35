"""Videos to data set: what is written, and videos that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")
pytest.importorskip("PIL")

from core.errors import InputError, OutputError
from core.media import VideoWriter, read_image
from DiffTalk.dataset import TalkingFaces
from DiffTalk.pictures import MOUTH, read_landmarks, read_picture
from DiffTalk.preparation import PrepareOptions, prepare, split

EXAMPLE = Path(__file__).parents[2] / "example"
SMALL = PrepareOptions(size=64)


def write_video(folder: Path, frames: int = 10, seconds: float = 0.4, blank: int = -1) -> Path:
    """The example portrait, moving to the right, with sound; frame `blank` is grey."""
    face = read_image(EXAMPLE / "portrait.png", 256)
    sound = folder / "sound.wav"
    soundfile.write(sound, 0.1 * np.sin(np.arange(int(seconds * 16000)) / 9), 16000)
    path = folder / "clip.mp4"
    video = VideoWriter(path, face.shape[:2], audio=sound)
    for k in range(frames):
        video.write(np.full_like(face, 128) if k == blank else np.roll(face, k, axis=1))
    video.close()
    return path


def test_layout(tmp_path: Path) -> None:
    out = tmp_path / "new" / "data"
    prepare([write_video(tmp_path)], out, SMALL)
    assert (out / "HDTF/data.txt").read_text() == "1 11\n"
    assert (out / "HDTF/audio_features.txt").read_text() == "whisper-tiny-pca29\n"
    items = TalkingFaces(out, "data_train.txt", 64, 30)
    assert items.stems == [f"1_{k}" for k in range(1, 10)]
    assert (out / "data_test.txt").read_text() == "1_10\n"
    item = items[0]
    assert item["image"].shape == (64, 64, 3) and item["audio_smooth"].shape == (8, 16, 29)
    picture, points = read_picture(items.layout.picture("1_1")), read_landmarks(items.layout.landmarks("1_1"))
    assert 0 < points.min() and points.max() < 64
    mouth, cheek = points[MOUTH].mean(axis=0), points[3] * 0.6 + points[33] * 0.4
    redness = [float(picture[int(y), int(x), 0]) - picture[int(y), int(x), 1] for x, y in (mouth, cheek)]
    assert redness[0] > redness[1]  # lips are redder than cheeks
    assert [path.name for path in out.parent.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("video", "says"),
    [({"blank": 4}, "no face in frame 5"), ({"seconds": 2.0}, "10 pictures but sound for 5")],
)
def test_unusable_videos_leave_nothing(tmp_path: Path, video: dict, says: str) -> None:
    path = write_video(tmp_path, **video)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=says):
        prepare([path], tmp_path / "data", SMALL)
    assert sorted(tmp_path.iterdir()) == before


def test_frames_without_a_face_can_be_left_out(tmp_path: Path) -> None:
    prepare([write_video(tmp_path, blank=4)], tmp_path / "data", PrepareOptions(size=64, skip_missing=True))
    assert "1_5" not in (tmp_path / "data/data_train.txt").read_text().split()


def test_existing_data_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine").write_text("x")
    with pytest.raises(OutputError, match="exists already"):
        prepare([tmp_path / "a.mp4"], tmp_path / "data")


def test_split() -> None:
    clips = [["1_1", "1_2"], ["2_1"], ["3_1"]]
    assert split(clips, -1) == (["1_1", "1_2", "2_1"], ["3_1"])
    assert split(clips, 2) == (["1_1", "1_2"], ["2_1", "3_1"])
    assert split([[f"1_{k}" for k in range(20)]], -1)[1] == ["1_18", "1_19"]
