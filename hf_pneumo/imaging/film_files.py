"""Which files of a folder are films: told by their first bytes, so that no ending and no name is needed.

Archives name DICOM files by their UID or number, cameras and viewers use a dozen endings, and beside the films lie
notes, tables, directories and what file managers leave behind.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from hf_pneumo.imaging.file_formats import mistake_of, sniff
from hf_pneumo.imaging.xray import XrayReadError

# A file that ends so is meant as a film, whatever it holds: it is handed to the reader, which says what is wrong.
_ENDINGS = "png jpg jpeg jpe jfif tif tiff webp bmp gif jp2 j2k j2c jpc jpx dcm dicom dic ima img"
FILM_ENDINGS = frozenset(f".{ending}" for ending in _ENDINGS.split())

_HEAD = 4096  # bytes that are looked at; the meta information of a DICOM file is far shorter
_SOP_CLASS = re.compile(
    rb"(?:\x02\0\x02\0|\x08\0\x16\0)(?:UI)?..(?:\0\0)?([0-9][0-9.]{8,63})"
    rb"|\0\x08\0\x16UI..([0-9][0-9.]{8,63})",
    re.DOTALL,
)
_IMAGE_ROOT = r"1\.2\.840\.10008\.5\.1\.4\.1\.1\."
_DIRECTORY = "1.2.840.10008.1.3.10"
# PS3.4 table B.5-1: presentation states, waveforms, reports, documents, raw data, segmentations, and all of
# radiotherapy but its images.
_NO_IMAGE = re.compile(_IMAGE_ROOT + r"(11\.|9\.|88\.|104\.|66(\.|$)|67$|68\.|78\.|79\.|80\.|481\.(?!1$|1\.))")

_LEFT_BEHIND = re.compile(
    rb"\0\0\0\x01Bud1"  # .DS_Store
    rb"|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # Thumbs.db
    rb"|\0\x05\x16[\0\x07]"  # AppleDouble, "._film.png"
)
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


class FileKind(NamedTuple):
    """is_film: whether to read the file as a film, if only to learn why that fails. name: what it is, for a summary."""

    is_film: bool
    name: str


def file_kind(path: str | os.PathLike[str]) -> FileKind:
    """What the file at `path` is by its first bytes; by its ending only where they say nothing. Raises nothing.

    A film that cannot be opened, is empty or damaged counts as one, so that the reader's message is not lost.
    """
    meant = Path(path).suffix.lower() in FILM_ENDINGS
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            return FileKind(False, "a folder or special file")
        with open(path, "rb") as stream:
            head = stream.read(_HEAD)
    except FileNotFoundError:
        return FileKind(meant, "a broken link")
    except (OSError, ValueError):
        return FileKind(True, "a file that cannot be opened")
    return content_kind(head, meant)


def content_kind(head: bytes, meant: bool = False) -> FileKind:
    """What a file that begins with `head` is; `meant`: whether its name says that it is a film."""
    if _LEFT_BEHIND.match(head):
        return FileKind(False, "a file of the file manager")
    try:
        kind = sniff(head)
    except XrayReadError:
        return FileKind(meant, _other_kind(head))
    return _dicom_kind(head) if kind == "DICOM" else FileKind(True, kind)


def _dicom_kind(head: bytes) -> FileKind:
    match = _SOP_CLASS.search(head)
    sop_class = (match[1] or match[2]).decode() if match else ""
    if sop_class == _DIRECTORY:
        return FileKind(False, "a DICOM directory")
    if _NO_IMAGE.match(sop_class):
        return FileKind(False, "a DICOM object that is no image")
    return FileKind(True, "DICOM")


def _other_kind(head: bytes) -> str:
    if not head:
        return "an empty file"
    if mistake := mistake_of(head):
        return mistake[0]
    is_text = head.startswith((b"\xff\xfe", b"\xfe\xff")) or not _CONTROL.search(head)
    return "a text file" if is_text else "a file of another kind"
