"""Lists of files and the `_flip` rule against what the reference made."""

from __future__ import annotations

import json

import pytest

from core.errors import InputError
from prepare_data.data_info import LISTS, data_info_for, example_data_info, flip_path, read_data_info


def test_flip_paths_are_those_of_the_reference(golden):
    for path, wanted in golden("training_prepare.json")["flip_path"]:
        if isinstance(wanted, dict):
            with pytest.raises(InputError, match="has no folder"):
                flip_path(path)
        else:
            assert flip_path(path) == wanted


def test_example_lists_are_those_of_the_reference(golden):
    case = golden("training_misc.json")["example_data_info"]
    assert example_data_info("ex", case["files"]) == case["data_info"]
    assert list(example_data_info("ex", case["files"])) == list(LISTS)


def write(tmp_path, content):
    path = tmp_path / "data_info.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_clips_are_aligned(tmp_path):
    clips = read_data_info(write(tmp_path, data_info_for(["/v/a.mp4", "/v/b.mp4"], "/o")))
    assert [clip["LP_pkl_list"] for clip in clips] == ["/o/LP_pkl/a.pkl", "/o/LP_pkl/b.pkl"]
    assert clips[0].origin == "/v/a.mp4" and clips[0].key != clips[1].key


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot read"),
        ([1], "not a data_info.json"),
        ({}, "names no clips"),
        ({"video_list": []}, "names no clips"),
        ({"video_list": ["a", 3]}, "must be a list of paths"),
        ({"video_list": ["a"], "wav_list": ["a", "b"]}, "differ in length.*video_list 1, wav_list 2"),
        (data_info_for(["/v/a.mp4", "/w/a.mp4"], "/o"), "video_list names /o/video/a.mp4 for more than one clip"),
    ],
)
def test_bad_files_are_explained(tmp_path, content, said):
    with pytest.raises(InputError, match=said):
        read_data_info(write(tmp_path, content))


def test_missing_lists_are_named(tmp_path):
    with pytest.raises(InputError, match="has no wav_list"):
        read_data_info(write(tmp_path, {"video_list": ["a"]}), ["video_list", "wav_list"])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such data_info.json"):
        read_data_info(tmp_path / "data_info.json")
