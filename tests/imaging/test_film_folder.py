"""Every film below a folder is listed once, in one order, under any name and behind links; all else is named."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.imaging.film_folder import FilmFolder, one_line, open_film_folder, readable, walk

_STREAM = io.BytesIO()
Image.fromarray(np.tile(np.arange(32, dtype=np.uint8), (32, 1))).save(_STREAM, "png")
PNG = _STREAM.getvalue()


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG)


def listed(folder: Path) -> list[str]:
    return [film.relative_to(folder).as_posix() for film in open_film_folder(folder).films]


def test_films_at_any_depth_without_ending_in_one_order(tmp_path):
    deep = "/".join(["d" * 50] * 40)
    put(tmp_path, "b.png", "a", "P2/1.2.840.78", "P1/1.2.840.78", "P1/IM 1.JPE", f"{deep}/film.dic")
    assert listed(tmp_path) == ["P1/1.2.840.78", "P1/IM 1.JPE", "P2/1.2.840.78", "a", "b.png", f"{deep}/film.dic"]


def test_a_file_is_its_own_only_film(tmp_path):
    put(tmp_path, "a")
    assert open_film_folder(tmp_path / "a") == FilmFolder((tmp_path / "a",))
    for missing in ("gone", "g" * 300, "g\0one"):
        with pytest.raises(ValueError, match="neither a file nor a folder"):
            open_film_folder(tmp_path / missing)


def test_what_is_no_film_is_counted_and_named(tmp_path):
    put(tmp_path, "film.png", ".hidden.png", ".git/objects/film", "__MACOSX/set/._film.png")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10\0")
    (tmp_path / "notes.txt").write_text("Film 7 was taken lying down.")
    (tmp_path / "labels\n.csv").write_text("image,label\n")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    folder = open_film_folder(tmp_path)
    assert [film.name for film in folder.films] == ["film.png"] and folder.hidden == 3
    names = {kind: [file.name for file in files] for kind, files in folder.others.items()}
    assert names == {
        "a DICOM directory": ["DICOMDIR"],
        "a file of the file manager": ["Thumbs.db"],
        "a text file": ["labels\n.csv", "notes.txt"],
    }
    alone, hidden = folder.remarks
    assert alone.startswith("left alone 4 files that are no films (a DICOM directory: ") and r"labels\n.csv" in alone
    assert hidden == "left alone 3 hidden files and folders" and "\n" not in alone


def test_an_empty_or_broken_film_is_one_so_that_its_error_is_told(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.dcm").write_text("no film")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert listed(tmp_path) == ["empty.png", "gone.png", "text.dcm"]


def test_linked_folders_and_films_are_followed(tmp_path):
    put(tmp_path, "disk/NORMAL/a.png", "disk/b.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/NORMAL").symlink_to(tmp_path / "disk/NORMAL")
    (tmp_path / "set/b").symlink_to(tmp_path / "disk/b.png")
    assert listed(tmp_path / "set") == ["NORMAL/a.png", "b"] and not open_film_folder(tmp_path / "set").remarks
    (tmp_path / "way").symlink_to(tmp_path / "set")
    assert listed(tmp_path / "way") == ["NORMAL/a.png", "b"]


def test_loops_end_and_no_folder_is_read_twice(tmp_path):
    put(tmp_path, "set/b/film.png", "set/c/film.png")
    for way, to in (("set/a", "set/b"), ("set/b/up", "set"), ("set/b/c", "set/c"), ("set/c/b", "set/b"), ("set/d", "")):
        (tmp_path / way).symlink_to(tmp_path / to)
    (tmp_path / "set/self").symlink_to(tmp_path / "set/self")
    folder = open_film_folder(tmp_path / "set")
    assert listed(tmp_path / "set") == ["b/film.png", "c/film.png", "self"]  # the reader says what is wrong with it
    ways = {way.relative_to(tmp_path).as_posix(): place for way, place in folder.repeated}
    assert ways == {
        "set/a": tmp_path / "set/b",
        "set/b/up": tmp_path / "set",
        "set/b/c": tmp_path / "set/c",
        "set/c/b": tmp_path / "set/b",
        "set/d": tmp_path,
    }
    assert len(folder.remarks) == 1


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names are UTF-8 there")
def test_hostile_names_are_films_like_any_other(tmp_path):
    names = [b"Thorax_\xe4.png", b"\xff\xfe", b"new\nline.png", b"l" * 255, b" ", b"-o", b"\xc3\xa9", b"e\xcc\x81"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(PNG)
    films = open_film_folder(tmp_path).films
    assert sorted(os.fsencode(film.name) for film in films) == sorted(names)
    assert all(film.read_bytes() == PNG for film in films)


def test_a_folder_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    put(tmp_path, "a.png", "closed/b.png")
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    folder = open_film_folder(tmp_path)
    assert folder.closed == (tmp_path / "closed",) and len(folder.films) == 1
    assert folder.remarks == (f"could not open the folders {tmp_path / 'closed'}: check their permissions",)


def test_the_walk_itself_opens_no_file(tmp_path, monkeypatch):
    put(tmp_path, "a.png", "b/c.csv")
    monkeypatch.setattr("builtins.open", None)
    assert [file.name for file in walk(tmp_path).files] == ["a.png", "c.csv"]


def test_names_are_shown_readable():
    assert readable(os.fsdecode(b"/in/Thorax_\xe4\n.png")) == "/in/Thorax_\\xe4\n.png"
    assert readable(Path("ä/b")) == "ä/b"
    assert one_line(os.fsdecode(b"\xe4\n\t\x1b[31m\xc2\x85")) == r"\xe4\n\t\x1b[31m\x85"
