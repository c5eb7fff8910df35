"""A file is replaced as a whole, and nothing is left behind."""

from __future__ import annotations

import os

import pytest

from core.utils.whole_file import second_name, whole_file


def test_the_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "figures.json"
    with whole_file(path) as part:
        assert part.parent == path.parent and part.suffix == ".json"
        part.write_text("[1]")
        assert not path.exists()
    assert path.read_text() == "[1]" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "figures.json"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as part:
        part.write_text("ne")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_or_device_is_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a file that can be replaced"), whole_file(path):
        pass
    assert path.is_fifo() and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_replaces_the_old_file(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise OSError("no links on this file system")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "train_7.pt").write_text("seven")
    (tmp_path / "last.pt").write_text("six")
    second_name(tmp_path / "train_7.pt", tmp_path / "last.pt")
    assert (tmp_path / "last.pt").read_text() == "seven"
    assert (tmp_path / "last.pt").samefile(tmp_path / "train_7.pt") is links
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "train_7.pt"]
