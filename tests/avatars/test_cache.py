"""What was found in a source is kept on disk, and a damaged or crowded cache does no harm."""

import os
import stat

import numpy as np
import pytest
from records import record

from core.avatars.cache import AvatarCache, cache_folder, record_key
from core.avatars.record import AvatarRecord
from core.settings.options import CropOptions

CROP = CropOptions()


def test_what_is_stored_comes_back(tmp_path):
    cache, mine = AvatarCache(tmp_path / "new"), record([1, 0, 1], [1, 2, 1], complete=False)
    assert cache.load("k") is None
    cache.store("k", mine)
    back = cache.load("k")
    for name in AvatarRecord.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(back, name), getattr(mine, name))
    assert os.listdir(tmp_path / "new") == ["k.avatar.npz"]


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"x" * 500, lambda data: b""])
def test_a_damaged_entry_is_removed_and_made_again(tmp_path, damage):
    cache = AvatarCache(tmp_path)
    cache.store("k", record([1]))
    path = tmp_path / "k.avatar.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load("k") is None and os.listdir(tmp_path) == []


def test_entries_with_objects_or_other_arrays_are_not_loaded(tmp_path):
    for arrays in ({"shown": np.array([{}], object)}, {"shown": np.zeros(3)}):
        np.savez(tmp_path / "k.avatar.npz", **arrays)
        assert AvatarCache(tmp_path).load("k") is None


def test_the_least_used_go_when_there_are_too_many(tmp_path):
    cache = AvatarCache(tmp_path)
    cache.store("a", record([1]))
    size = (tmp_path / "a.avatar.npz").stat().st_size
    cache = AvatarCache(tmp_path, max_bytes=2 * size)
    cache.store("b", record([1]))
    os.utime(tmp_path / "a.avatar.npz", (1, 1))
    os.utime(tmp_path / "b.avatar.npz", (2, 2))
    assert cache.load("a") is not None  # used just now
    cache.store("c", record([1]))
    assert sorted(name[0] for name in os.listdir(tmp_path)) == ["a", "c"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    for name, age in (("old.part", 1), ("new.part", None)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, None if age is None else (age, age))
    AvatarCache(tmp_path).store("k", record([1]))
    assert sorted(os.listdir(tmp_path)) == ["k.avatar.npz", "new.part"]


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path):
    (tmp_path / "file").write_text("x")
    AvatarCache(tmp_path / "file" / "below").store("k", record([1]))
    if os.getuid():
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        AvatarCache(tmp_path).store("k", record([1]))
        tmp_path.chmod(stat.S_IRWXU)
    assert os.listdir(tmp_path) == ["file"]


def test_the_name_depends_on_all_that_counts_and_not_on_the_path(tmp_path):
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(text)
    base = record_key([tmp_path / "a"], "pack", CROP, max_size=9)
    assert base == record_key([tmp_path / "b"], "pack", CROP, max_size=9)
    others = [
        record_key([tmp_path / "c"], "pack", CROP, max_size=9),
        record_key([tmp_path / "a"], "other", CROP, max_size=9),
        record_key([tmp_path / "a"], "pack", CropOptions(crop_scale=2.0), max_size=9),
        record_key([tmp_path / "a"], "pack", CROP, max_size=8),
    ]
    assert len({base, *others}) == 5


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("DITTO_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DITTO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert str(cache_folder()) == "/x/ditto-talkinghead"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "ditto-talkinghead")
