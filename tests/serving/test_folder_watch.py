"""A folder whose files are taken once they have stopped growing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hf_pneumo.serving.folder_watch import FolderWatch

FILM = bytes(128) + b"DICM" + bytes(64)


@pytest.fixture
def watch(tmp_path):
    (tmp_path / "in").mkdir()
    queued, told = [], []
    spool = SimpleNamespace(put=lambda content: queued.append(content) or True)
    metrics = SimpleNamespace(received=told.append, repeated=told.append, refused=told.append, passed_over=told.append)
    made = FolderWatch(tmp_path / "in", spool, metrics, max_bytes=1000)
    return SimpleNamespace(watch=made, queued=queued, told=told, folder=tmp_path / "in")


def test_a_file_is_taken_at_the_second_look_and_once(watch):
    (watch.folder / "film").write_bytes(FILM)
    assert [watch.watch.look() for _ in range(3)] == [0, 1, 0] and watch.queued == [FILM]


def test_a_file_that_still_grows_waits(watch):
    for size in (150, 160, 170):
        (watch.folder / "film").write_bytes(FILM[:size])
        assert watch.watch.look() == 0
    assert watch.watch.look() == 1


def test_what_is_no_film_or_too_large_is_passed_over(watch):
    (watch.folder / "a.txt").write_text("text")
    (watch.folder / "large").write_bytes(FILM + bytes(1000))
    watch.watch.look()
    assert watch.watch.look() == 0 and sorted(watch.told) == ["no DICOM image", "object is too large"]


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        FolderWatch(tmp_path / "nothing", None, None)
