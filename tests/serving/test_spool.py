"""The queue on disk: a film is in one place at any moment, whenever the process ends."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from pacs_parts import film

from hf_pneumo.serving.spool import MOST_ATTEMPTS, Spool, SpoolFull, film_key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def reopened(spool: Spool, **options: object) -> Spool:
    """The spool as the next process finds it; the former one has done nothing more."""
    spool.close()
    return Spool(spool.folder, model=spool.model, **options)


def names(spool: Spool, place: str) -> list[str]:
    return sorted(path.name for path in (spool.folder / place).iterdir())


def test_films_come_out_in_the_order_in_which_they_went_in(folder: Path) -> None:
    spool = Spool(folder)
    films = [film(number) for number in range(5)]
    assert all(map(spool.put, films))
    taken = [spool.take(0) for _ in films]
    assert [each.path.read_bytes() for each in taken] == films and spool.take(0) is None


def test_a_film_on_disk_is_whole_when_put_returns(folder: Path) -> None:
    spool = Spool(folder)
    spool.put(film())
    (path,) = (folder / "incoming").iterdir()
    assert path.read_bytes() == film() and not names(spool, "temporary")


def test_the_order_holds_over_a_restart_and_what_was_in_work_comes_first(folder: Path) -> None:
    spool = Spool(folder)
    for number in range(4):
        spool.put(film(number))
    spool.take(0)
    spool = reopened(spool)
    taken = [spool.take(0) for _ in range(4)]
    assert [each.path.read_bytes() for each in taken] == [film(number) for number in range(4)]
    assert [each.attempt for each in taken] == [1, 0, 0, 0]


def test_a_film_that_processes_die_on_is_set_aside(folder: Path) -> None:
    spool = Spool(folder)
    spool.put(film("poison"))
    for _ in range(MOST_ATTEMPTS):
        assert spool.take(0)
        spool = reopened(spool)
    assert spool.take(0) is None
    key = film_key(film("poison"), "")
    assert names(spool, "failed") == [f"{key}.dcm", f"{key}.json"]
    assert str(MOST_ATTEMPTS) in json.loads((folder / "failed" / f"{key}.json").read_text())["reason"]


def test_a_film_given_back_counts_no_attempt(folder: Path) -> None:
    spool = Spool(folder)
    spool.put(film(1)), spool.put(film(2))
    spool.give_back(spool.take(0))
    again = spool.take(0)
    assert again.path.read_bytes() == film(1) and again.attempt == 0


@pytest.mark.parametrize("place", ["waiting", "in work", "on its way", "done", "after a restart"])
def test_the_same_film_is_queued_once(folder: Path, place: str) -> None:
    spool = Spool(folder)
    assert spool.put(film())
    if place != "waiting":
        taken = spool.take(0)
    if place in ("on its way", "after a restart"):
        with spool.results(taken) as results:
            spool.hand_on(taken, results, {})
    if place == "done":
        spool.finish(taken, {"status": "passed over"})
    if place == "after a restart":
        spool = reopened(spool)
    assert not spool.put(film())
    assert spool.put(film(PatientSex="M")), "the same UID with other content is another film"


def test_the_key_leaves_out_who_stored_the_file_and_holds_the_model() -> None:
    content = film()
    start = 144 + int.from_bytes(content[140:144], "little")
    assert film_key(content, "m") == film_key(content[start:], "m") != film_key(content, "n")
    assert len({film_key(film(number), "m") for number in range(20)}) == 20


def test_a_process_that_died_after_the_result_does_not_judge_again(folder: Path) -> None:
    spool = Spool(folder)
    spool.put(film())
    taken = spool.take(0)
    content = taken.path.read_bytes()
    with spool.results(taken) as results:
        (results / "report.dcm").write_bytes(b"report")
        spool.hand_on(taken, results, {"status": "judged"})
    taken.path.write_bytes(content)  # as if the film had not been removed yet
    spool = reopened(spool)
    assert spool.take(0) is None and spool.outgoing() == [taken.key] and not names(spool, "working")
    spool.complete(taken.key)
    assert spool.record(taken.key) == {"status": "judged"} and spool.outgoing() == []


def test_half_written_files_go_at_the_start(folder: Path) -> None:
    spool = Spool(folder)
    (folder / "temporary" / "half.dcm").write_bytes(b"DICM")
    (folder / "temporary" / "results").mkdir()
    assert names(reopened(spool), "temporary") == []


def test_a_full_spool_takes_no_film_until_one_has_gone(folder: Path) -> None:
    spool = Spool(folder, max_bytes=len(film(1)) + 10)
    spool.put(film(1))
    with pytest.raises(SpoolFull):
        spool.put(film(2))
    spool = reopened(spool, max_bytes=len(film(1)) + 10)
    assert spool.bytes == len(film(1))
    with pytest.raises(SpoolFull):
        spool.put(film(2))
    spool.finish(spool.take(0), {})
    assert spool.bytes == 0 and spool.put(film(2))


def test_a_full_disk_leaves_nothing_behind_and_the_film_may_come_again(folder: Path, monkeypatch) -> None:
    spool = Spool(folder)

    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_room)
        with pytest.raises(SpoolFull, match="No space left"):
            spool.put(film())
    assert spool.bytes == 0 and not names(spool, "temporary") and not names(spool, "incoming")
    assert spool.put(film())


def test_two_processes_do_not_share_a_spool(folder: Path) -> None:
    spool = Spool(folder)
    with pytest.raises(RuntimeError, match="another process"):
        Spool(folder)
    spool.close()
    Spool(folder).close()


def test_names_in_the_spool_say_nothing_of_the_film(folder: Path) -> None:
    spool = Spool(folder)
    spool.put(film())
    taken = spool.take(0)
    spool.fail(taken, "cannot be read")
    for path in folder.rglob("*"):
        assert "Doe" not in path.name and "ID-7" not in path.name and "1.2" not in path.name
