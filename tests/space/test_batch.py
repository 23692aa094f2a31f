"""Batches: what archives may hold, one row for every film, and what can be taken away."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest
from gradio import DownloadButton
from PIL import Image

from hf_pneumo.cli import predict as command
from hf_pneumo.serving.predictor import Predictor


@pytest.fixture
def white(tmp_path: Path) -> Path:
    path = tmp_path / "page.png"
    Image.new("L", (300, 400), 255).save(path)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., str]:
    def pack(name: str = "films.zip", **members: bytes) -> str:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as packed:
            for inner, content in members.items():
                packed.writestr(inner, content)
        return str(tmp_path / name)

    return pack


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "room").mkdir(parents=True)
    return tmp_path / "deep" / "room"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "png")
    return buffer.getvalue()


def table_of(path: str | Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))))


def test_names_in_an_archive_lead_nowhere(archive, room, tmp_path) -> None:
    from batch_files import gather

    hostile = {"../../up.png": png(), "/etc/root.png": png(), "a/b\n.png": png(), "C:\\x.png": png()}
    found = gather([archive(**hostile)], room)
    assert [film.name for film in found.films] == [
        "films.zip/../../up.png", "films.zip//etc/root.png", "films.zip/a/b\\n.png", "films.zip/C:\\x.png",
    ]  # fmt: skip
    assert all(film.path.resolve().is_relative_to(room) and film.path.read_bytes() == png() for film in found.films)
    assert not (tmp_path / "up.png").exists()


def test_what_is_no_film_is_named_and_no_name_stands_twice(archive, room, films) -> None:
    from batch_files import gather

    mixed = archive(**{"notes.txt": b"hello", "__MACOSX/._film.png": b"x", ".hidden.png": png(), "film.png": png()})
    found = gather([str(films.png), mixed, str(films.png)], room)
    first = films.png.name
    assert [film.name for film in found.films] == [first, "films.zip/film.png", f"{first} (2)"]
    assert any("films.zip/notes.txt" in remark for remark in found.remarks)
    assert any("2 hidden" in remark for remark in found.remarks)


def test_limits_and_damage_are_said_in_a_sentence(archive, room, tmp_path, monkeypatch) -> None:
    import batch_files

    def refused(words: str, *uploads: str) -> None:
        with pytest.raises(batch_files.BatchError, match=words):
            batch_files.gather(uploads, room)
        shutil.rmtree(room)
        room.mkdir()

    refused("no film among", archive(**{"notes.txt": b"hello"}))
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 and no more")
    refused("broken.zip is a damaged zip", str(broken))
    monkeypatch.setattr(batch_files, "MOST", 2)
    refused("These are 3 films; a batch takes at most 2", archive(**{f"{n}.png": png() for n in range(3)}))
    monkeypatch.setattr(batch_files, "MOST_MEMBERS", 4)
    refused("holds 5 files; at most 4", archive(**{f"{n}.txt": b"" for n in range(5)}))
    bomb = archive(**{"bomb.png": bytes(3 << 20)})
    assert Path(bomb).stat().st_size < 10_000
    monkeypatch.setattr(batch_files, "LARGEST", 1 << 20)
    refused("a file of more than 1 MB", bomb)
    monkeypatch.setattr(batch_files, "MOST_BYTES", 1 << 20)
    refused("unpacks to more than", bomb)


def test_a_damaged_member_costs_its_own_row_alone(archive, room) -> None:
    from batch_files import gather

    path = Path(archive(**{"good.png": png(), "bad.png": bytes(range(256)) * 40}))
    content = bytearray(path.read_bytes())
    content[content.rindex(b"bad.png", 0, len(content) - 300) + 20] ^= 0xFF
    path.write_bytes(content)
    good, bad = gather([str(path)], room).films
    assert not good.problem and "could not be unpacked" in bad.problem


def test_the_table_is_that_of_the_command_and_pictures_can_be_taken_away(sick, films, white, tmp_path) -> None:
    from batch_job import DICOM, OVERLAYS, BatchJob
    from model_registry import Desk

    component, uploads = DownloadButton(), [films.png, films.bad, white, films.dicom]
    with BatchJob(Desk(Predictor(sick)), list(map(str, uploads))) as job:
        rows = list(job.run())
        table = table_of(job.table(component))
        overlays, nothing = job.pack(OVERLAYS, component), job.pack(DICOM, component)
        folder = Path(job._folder.name)
        assert folder.is_dir() and job.seconds_left == 0
    assert not folder.exists() and nothing is None
    together = tmp_path / "together"
    together.mkdir()
    for path in uploads:
        shutil.copy(path, together)
    command.run(command.Arguments(str(sick), str(together), str(tmp_path / "scores.csv")))
    told = {Path(row["file"]).name: row for row in table_of(tmp_path / "scores.csv")}
    assert [row["file"] for row in table] == [path.name for path in uploads]
    for row in table:
        expected = told[row["file"]] | {"file": row["file"]}
        assert row.keys() == expected.keys()
        for name, value in row.items():
            same = pytest.approx(float(expected[name]), abs=2e-6) if name == "probability" and value else expected[name]
            assert (float(value) if name == "probability" and value else value) == same
    assert [row["status"] for row in table] == ["judged", "error", "not judged", "judged"]
    assert [bool(row.thumbnail) for row in rows] == [True, False, True, True]
    with zipfile.ZipFile(overlays) as packed:
        assert len(packed.namelist()) == 2
        assert Image.open(packed.open(packed.namelist()[0])).size == films.shape[::-1]


def test_dicom_films_get_their_results_as_dicom(sick, films) -> None:
    pytest.importorskip("highdicom")
    from batch_job import DICOM, BatchJob
    from model_registry import Desk

    with BatchJob(Desk(Predictor(sick)), [str(films.png), str(films.dicom)], as_dicom=True) as job:
        rows = list(job.run())
        packed = job.pack(DICOM, DownloadButton())
    assert "filing" in rows[1].cells
    with zipfile.ZipFile(packed) as found:
        kinds = {pydicom.dcmread(io.BytesIO(found.read(name))).Modality for name in found.namelist()}
    assert len(found.namelist()) == 2 and "SR" in kinds


def test_a_stopped_batch_holds_what_was_done(sick, films) -> None:
    from batch_job import BatchJob
    from model_registry import Desk

    with BatchJob(Desk(Predictor(sick)), [str(films.png)] * 3) as job:
        running = job.run()
        next(running)
        assert job.seconds_left > 0
        job.stop()
        assert not list(running) and len(job.rows) == 1


def test_two_pages_know_nothing_of_each_other(sick, films) -> None:
    import batch
    import gradio as gr
    from common import Common
    from model_registry import Shelf
    from samples import Samples

    with gr.Blocks() as demo:
        common = Common(Shelf([sick]), Samples(from_hub=False), demo)
        page = batch.Batch(common)

    def visitor(name: str) -> SimpleNamespace:
        return SimpleNamespace(session_hash=name)

    one = page.run([str(films.png)] * 2, "always-sick", False, visitor("one"))
    two = page.run([str(films.bad)], "always-sick", False, visitor("two"))
    for running in (one, two):
        next(running), next(running)
    page.halt(visitor("one"))
    *_, last = two
    assert "All 1 films are done" in last[page.said]
    *_, last = one
    assert "Stopped after 0 of 2 films" in last[page.said]
    assert not page._jobs._jobs and not last[page.overlays].interactive
