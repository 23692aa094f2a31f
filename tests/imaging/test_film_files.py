"""Films are told from other files by content: every readable format under every name, and what lies beside films."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_files

from hf_pneumo.imaging.film_files import FILM_ENDINGS, FileKind, content_kind, file_kind
from hf_pneumo.imaging.reader import XrayReadError, read_xray

GRAY = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
FORMATS = {"PNG": "png", "JPEG": "jpeg", "TIFF": "tiff", "WebP": "webp", "BMP": "bmp", "GIF": "gif", "JPEG 2000": "jp2"}


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(GRAY).save(stream, "JPEG2000" if kind == "JPEG 2000" else kind)
    return stream.getvalue()


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("film.png", b"0")
    return stream.getvalue()


@pytest.mark.parametrize("name", ["film", "1.2.840.113619.2.55.78", "film.jpe", "FILM.IMA", "film.txt", "f\n.x"])
@pytest.mark.parametrize("kind", FORMATS)
def test_pictures_are_films_under_every_name(tmp_path, kind, name):
    (tmp_path / name).write_bytes(picture(kind))
    assert file_kind(tmp_path / name) == FileKind(True, kind)


def test_a_raw_jpeg_2000_code_stream_is_a_film():
    stream = io.BytesIO()
    Image.fromarray(GRAY).save(stream, "JPEG2000", no_jp2=True)
    assert content_kind(stream.getvalue()[:4096]) == FileKind(True, "JPEG 2000")
    np.testing.assert_array_equal(read_xray(stream.getvalue()).gray8, GRAY)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
@pytest.mark.parametrize("start", [{}, {"preamble": False}, {"preamble": False, "meta": False}])
def test_dicom_needs_neither_ending_nor_preamble_nor_meta(dicom, syntax, start):
    content = dicom(GRAY.astype(np.uint16), bits=12, syntax=syntax, **start)
    assert content_kind(content[:4096]) == FileKind(True, "DICOM")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "an empty file"),
        (b"Film 7 was taken lying down.\n", "a text file"),
        ("Größe;Ümlaut\r\n1;2".encode("cp1252"), "a text file"),
        ("file,label\n".encode("utf-16"), "a text file"),
        (b'{"label": 1}', "a text file"),
        (b"<!DOCTYPE html><p>404", "a web page or XML text"),
        (b"%PDF-1.7\n\x00\x01", "a PDF document"),
        (archive(), "an archive"),
        (b"\0\0\0\x01Bud1\0\0", "a file of the file manager"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a file of the file manager"),
        (b"\x93NUMPY\x01\0v\0", "a file of another kind"),
        (bytes(5000), "a file of another kind"),
    ],
)
def test_what_lies_beside_films(tmp_path, content, name):
    for other in ("notes", "notes.txt", "1.2.3.78", "Thumbs.db"):
        (tmp_path / other).write_bytes(content)
        assert file_kind(tmp_path / other) == FileKind(False, name)


@pytest.mark.parametrize("ending", sorted(FILM_ENDINGS))
@pytest.mark.parametrize("content", [b"", b"no film", bytes(300), b"%PDF-1.7"])
def test_what_is_named_a_film_reaches_the_reader_and_its_message(tmp_path, content, ending):
    path = tmp_path / f"film{ending.upper()}"
    path.write_bytes(content)
    assert file_kind(path).is_film
    with pytest.raises(XrayReadError):
        read_xray(path)


def test_resource_forks_are_no_films_though_their_name_says_so(tmp_path):
    (tmp_path / "._film.png").write_bytes(b"\0\x05\x16\x07\0\x02\0\0Mac OS X")
    assert not file_kind(tmp_path / "._film.png").is_film


def test_folders_pipes_and_broken_links_are_told_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    kinds = [file_kind(tmp_path / name) for name in (".", "pipe.png", "gone", "gone.png")]
    assert [kind.is_film for kind in kinds] == [False, False, False, True]


def test_pydicoms_files_with_pixels_are_films_and_its_directories_reports_and_plans_are_not():
    kinds = {Path(path).name: file_kind(path) for path in get_testdata_files() if Path(path).is_file()}
    for name in ("DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-empty.dcm"):
        assert kinds[name] == FileKind(False, "a DICOM directory"), name
    for name in ("reportsi.dcm", "test-SR.dcm", "rtplan.dcm", "rtstruct.dcm", "waveform_ecg.dcm", "rtdose.dcm"):
        assert kinds[name] == FileKind(False, "a DICOM object that is no image"), name
    for name in ("README.txt", "crayons.icc", "test1.json", "rtplan.dump", "zipMR.gz"):
        assert not kinds[name].is_film, name
    for name in ("6154", "CT_small.dcm", "MR_small_implicit.dcm", "ExplVR_BigEnd.dcm", "image_dfl.dcm"):
        assert kinds[name] == FileKind(True, "DICOM"), name
