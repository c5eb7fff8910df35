"""Registration with a finder that reads the frame's number off its brightness."""

from __future__ import annotations

import logging

import av
import cv2
import numpy as np
import pytest

from core.atomic_components.avatar_registrar import AvatarRegistrar
from core.avatars.cache import AvatarCache
from core.errors import InputError
from core.interfaces import FaceDescription, FoundFace
from core.motion import Motion
from core.settings.options import CropOptions, SourceOptions

CROP = CropOptions()
STEP = 3  # gray levels between frames


class Analyser:
    """A face that moves to the right by 1 pixel per frame; `lost` frames show none, `blind` ones no eyes."""

    min_score, border, steady_crop = 0.5, cv2.BORDER_REPLICATE, False

    def __init__(self, lost=(), blind=(), faces=1):
        self.lost, self.blind, self.faces = set(lost), set(blind), faces
        self.calls, self.crops = [], 0

    def _number(self, picture):
        return round((float(np.median(picture)) - 20) / STEP)

    def _face(self, frame):
        points = np.random.default_rng(0).uniform(-20, 20, (478, 3)).astype(np.float32)
        points[:, :2] += np.float32([60 + self._number(frame), 50])
        return FoundFace(points, 0.9)

    def find(self, frame):
        self.calls.append("find")
        there = self._number(frame) not in self.lost
        return [self._face(frame)] * (self.faces if there else 0), 0.9 if there else 0.25

    def track(self, frame, previous):
        self.calls.append("track")
        return None if self._number(frame) in self.lost else self._face(frame)

    def crop_points(self, landmarks):
        return landmarks[:, :2]

    def describe(self, crop, landmarks):
        number = self._number(crop)
        if number in self.blind:
            raise InputError("no eyes recognised")
        return FaceDescription(landmarks, Motion(np.full((1, 265), number, np.float32), np.full((1, 63), number + 0.5)))

    def settle(self, motion):
        return motion

    def video_look(self, meshes, crop_of):
        return None

    def feature(self, crop, mesh, look=None):
        self.crops += 1
        return self._number(crop), float(mesh[0, 0])


def film(path, frames=12, rate=25):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "1", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for k in range(frames):
            rgb = np.full((96, 160, 3), STEP * k + 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def video(tmp_path):
    return film(tmp_path / "in.mp4")


def register(analyser, path, n=-1, kept=None, **source):
    source = SourceOptions(**{"smo_k_s": 1, **source})
    return AvatarRegistrar(analyser, None, "" if kept is None else "pack", kept)(path, CROP, source, n)


def test_a_video_is_tracked_and_described_frame_by_frame(video):
    analyser = Analyser()
    avatar = register(analyser, video)
    assert len(avatar) == len(avatar.frames) == len(avatar.features) == 12 and not avatar.is_image
    assert analyser.calls == ["find"] + ["track"] * 11 and analyser.crops == 0
    np.testing.assert_allclose(avatar.motion.data[:, 7], np.arange(12))
    np.testing.assert_allclose(avatar.sc, 0.5)
    np.testing.assert_allclose(np.diff(avatar.M_c2o[:, 0, 2]), 1, atol=1e-3)
    assert [avatar.features[i][0] for i in (3, 11, 0, 0)] == [3, 11, 0, 0] and analyser.crops == 3
    assert avatar.mesh.shape == (12, 478, 3) and avatar.eye_open.shape == (12, 2) and avatar.eye_ball.shape == (12, 6)


def test_smoothing_leaves_sc_and_eyes_alone(video):
    avatar, plain = register(Analyser(), video, smo_k_s=5), register(Analyser(), video)
    np.testing.assert_allclose(avatar.motion.data[:3, 0], [1, 1.5, 2])
    np.testing.assert_allclose(avatar.motion.kp[0], 1.5)
    np.testing.assert_allclose(avatar.sc, 0.5)
    np.testing.assert_array_equal(avatar.M_c2o, plain.M_c2o)


@pytest.mark.parametrize("trouble", [{"lost": [4, 5, 6]}, {"blind": [4, 5, 6]}])
def test_a_face_that_is_lost_for_a_while_is_interpolated(video, caplog, trouble):
    avatar = register(Analyser(**trouble), video)
    np.testing.assert_allclose(avatar.motion.data[:, 0], np.arange(12), atol=1e-5)
    np.testing.assert_allclose(np.diff(avatar.M_c2o[:, 0, 2]), 1, atol=1e-2)
    warnings = [entry for entry in caplog.records if entry.levelno == logging.WARNING]
    assert len(warnings) == 1 and "no face in 3 of 12 frames (the first is frame 4)" in warnings[0].getMessage()


def test_a_face_that_comes_late_is_searched_for_until_it_comes(video):
    analyser = Analyser(lost=[0, 1])
    avatar = register(analyser, video)
    assert analyser.calls[:4] == ["find", "find", "find", "track"]
    np.testing.assert_allclose(avatar.motion.data[:3, 0], 2)
    np.testing.assert_allclose(avatar.sc, 2.5)


def test_more_than_a_third_without_a_face_is_an_error(video):
    register(Analyser(lost=range(4, 8)), video)
    with pytest.raises(InputError, match=r"in.mp4: no face in 5 of 12 frames .*more than a third"):
        register(Analyser(lost=range(4, 9)), video)


def test_no_face_at_all(video):
    with pytest.raises(InputError, match=r"in.mp4: no face found in any of 12 frames \(best score 0.25, needed 0.50\)"):
        register(Analyser(lost=range(12)), video)
    with pytest.raises(InputError, match="in.mp4: no eyes recognised"):
        register(Analyser(blind=range(12)), video)


def test_two_faces_are_warned_of_once(video, caplog):
    register(Analyser(faces=2), video)
    assert caplog.text.count("shows 2 faces; the largest one is used") == 1


def test_only_the_frames_that_are_wanted_are_looked_at(video):
    for analyser, given in ((Analyser(), {"n": 5}), (Analyser(), {"n": 9, "template_n_frames": 5})):
        assert len(register(analyser, video, **given)) == 5 and len(analyser.calls) == 5


@pytest.mark.parametrize("rate, looked_at", [(50, 12), (5, 24)])
def test_frames_follow_the_clock_unless_told_otherwise(tmp_path, rate, looked_at):
    path = film(tmp_path / "in.mp4", 24, rate)
    analyser = Analyser()
    avatar = register(analyser, path)
    assert len(avatar) == 24 * 25 // rate and len(analyser.calls) == looked_at
    assert [avatar.features[i][0] for i in range(4)] == [round(v) for v in np.floor((np.arange(4) + 0.5) * rate / 25)]
    assert len(register(Analyser(), path, resample=False)) == 24


def test_the_second_time_comes_from_the_cache(video, tmp_path):
    cache, first, again = AvatarCache(tmp_path / "c"), Analyser(lost=[4]), Analyser()
    one, two = register(first, video, kept=cache), register(again, video, kept=cache)
    assert again.calls == []
    for name in ("M_c2o", "eye_open", "eye_ball", "sc", "mesh"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(one.motion.data, two.motion.data)
    np.testing.assert_array_equal(one.frames[7], two.frames[7])
    assert one.features[7] == two.features[7]
    assert register(again, video, kept=cache, smo_k_s=5).motion.data[0, 0] == 1 and again.calls == []


def test_the_cache_can_be_turned_off(video, tmp_path):
    cache, analyser = AvatarCache(tmp_path / "c"), Analyser()
    register(analyser, video, kept=cache, cache=False)
    assert not (tmp_path / "c").exists()


def test_an_entry_serves_shorter_and_is_replaced_for_longer_runs(video, tmp_path):
    cache = AvatarCache(tmp_path / "c")
    register(Analyser(), video, 8, cache)
    for wanted, calls in ((6, 0), (8, 0), (10, 10), (9, 0), (-1, 12), (12, 0), (99, 0)):
        analyser = Analyser()
        avatar = register(analyser, video, wanted, cache)
        assert len(analyser.calls) == calls and len(avatar) == (12 if wanted < 0 else min(wanted, 12))


def test_a_picture_has_one_frame_and_its_feature_is_kept(tmp_path):
    cv2.imwrite(str(tmp_path / "in.png"), np.full((96, 160, 3), 20, np.uint8))
    analyser = Analyser(faces=3)
    avatar = register(analyser, tmp_path / "in.png", 50)
    assert len(avatar) == 1 and avatar.is_image and avatar.features[0] is avatar.features[0] and analyser.crops == 1
    with pytest.raises(InputError, match=r"in.png: no face found \(best score 0.25.*use a picture"):
        register(Analyser(lost=[0]), tmp_path / "in.png")


def test_a_file_that_is_neither(tmp_path):
    (tmp_path / "in.txt").write_text("words")
    with pytest.raises(InputError, match="in.txt: not a picture or video"):
        register(Analyser(), tmp_path / "in.txt")


def test_a_steady_crop_does_not_tremble(video):
    analyser = Analyser()
    analyser.steady_crop = True
    M = register(analyser, video, 2).M_c2o
    np.testing.assert_array_equal(M[0], M[1])
