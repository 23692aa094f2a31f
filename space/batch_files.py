"""The films of a batch: files as they came and what zip archives hold, within limits on count and size."""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from components.film_drop import LARGEST

from hf_pneumo.imaging.film_files import FILM_ENDINGS, file_kind
from hf_pneumo.imaging.film_folder import FilmFolder, one_line

MOST = 500  # films of one batch
MOST_MEMBERS = 5000  # files of one archive, films or not
MOST_BYTES = 2 << 30  # that all archives of a batch may hold once they are unpacked
_CHUNK = 1 << 20
_HIDDEN = re.compile(r"\.[^.]|__MACOSX$")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# What the module zipfile and its decoders raise for damaged, encrypted and unknown members.
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, lzma.LZMAError, ValueError)


class BatchError(ValueError):
    """A batch that is not begun; the message is one sentence with the fix."""


@dataclass(frozen=True)
class BatchFile:
    """One film: what it is called, no name twice in a batch; where it lies; ``problem``: why it could not be unpacked.

    The name of a film in an archive is the archive's and the path in it. The path is never made of a name.
    """

    name: str
    path: Path
    problem: str = ""


@dataclass(frozen=True)
class BatchFiles:
    """The films, and sentences on what else was there."""

    films: tuple[BatchFile, ...]
    remarks: tuple[str, ...]


def gather(uploads: Sequence[str], folder: Path) -> BatchFiles:
    """The films among ``uploads``; what archives hold is unpacked into ``folder``. Raises BatchError beyond a limit."""
    films: list[BatchFile] = []
    others: dict[str, list[Path]] = {}
    names: Counter[str] = Counter()
    hidden = 0
    for file in _unpacked(uploads, folder):
        if any(_HIDDEN.match(part) for part in PurePosixPath(file.name).parts):
            hidden += 1
            continue
        kind = file_kind(file.path)
        if file.problem or kind.is_film:
            names[file.name] += 1
            again = f" ({names[file.name]})" if names[file.name] > 1 else ""
            films.append(BatchFile(file.name + again, file.path, file.problem))
        else:
            others.setdefault(kind.name, []).append(Path(file.name))
    if not films:
        raise BatchError("There is no film among these files; give PNG, JPEG, TIFF, WebP, BMP or DICOM files.")
    if len(films) > MOST:
        raise BatchError(f"These are {len(films)} films; a batch takes at most {MOST}. Give them in parts.")
    left_alone = {kind: tuple(files) for kind, files in sorted(others.items())}
    return BatchFiles(tuple(films), FilmFolder((), left_alone, hidden).remarks)


def _unpacked(uploads: Sequence[str], folder: Path) -> Iterator[BatchFile]:
    room = _Room()
    for number, path in enumerate(map(Path, uploads)):
        name = one_line(path.name)
        with path.open("rb") as stream:
            packed = stream.read(4) in _ZIP
        if packed:
            yield from _members(path, name, folder / f"archive-{number}", room)
        else:
            yield BatchFile(name, path)


def _members(archive: Path, name: str, folder: Path, room: _Room) -> Iterator[BatchFile]:
    """What the archive holds, unpacked under numbers; a member that cannot be read says so."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [member for member in packed.infolist() if not member.is_dir()]
            if len(members) > MOST_MEMBERS:
                raise BatchError(
                    f"{name} holds {len(members)} files; at most {MOST_MEMBERS} are looked at. Pack fewer."
                )
            for number, member in enumerate(members):
                inner = PurePosixPath(one_line(member.filename))
                ending = inner.suffix.lower() if inner.suffix.lower() in FILM_ENDINGS else ""
                path, problem = folder / f"{number}{ending}", ""
                try:
                    with packed.open(member) as source, path.open("wb") as target:
                        room.copy(source, target, name)
                except BatchError:
                    raise
                except _UNREADABLE:
                    problem = "It could not be unpacked: it is damaged, encrypted or packed in an unknown way."
                yield BatchFile(f"{name}/{inner}", path, problem)
    except zipfile.BadZipFile:
        raise BatchError(f"{name} is a damaged zip file; pack it again.") from None


class _Room:
    """What may still be unpacked: counted as it is written, whatever an archive says of itself."""

    def __init__(self) -> None:
        self.left = MOST_BYTES

    def copy(self, source: IO[bytes], target: IO[bytes], archive: str) -> None:
        """Copy one member. Raises BatchError where it, or all together, are too large."""
        size = 0
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            self.left -= len(chunk)
            if self.left < 0:
                raise BatchError(
                    f"{archive} unpacks to more than the {MOST_BYTES >> 30} GB that a batch may hold; pack fewer films."
                )
            if size > LARGEST:
                raise BatchError(f"{archive} holds a file of more than {LARGEST >> 20} MB, the largest that is read.")
            target.write(chunk)
