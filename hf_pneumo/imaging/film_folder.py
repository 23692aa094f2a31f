"""A folder of films: every film below it, at any depth and behind links, and by name what else lies there."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.imaging.film_files import file_kind

SHOWN = 20  # names of one kind that a sentence lists at most


@dataclass(frozen=True)
class FilmFolder:
    """What lies in a folder, each kind in the order of the paths.

    others: files that are no films, by what they are. hidden: how many files and folders begin with a dot and were
    left alone. closed: folders that cannot be read. repeated: folders that lead to one that is read already, or that
    holds the whole folder, with that one.
    """

    films: tuple[Path, ...]
    others: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    hidden: int = 0
    closed: tuple[Path, ...] = ()
    repeated: tuple[tuple[Path, Path], ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Plain sentences on everything that was not taken as a film, for the end of a command; () when nothing was."""
        return tuple(_remarks(self))


@dataclass(frozen=True)
class Walk:
    """The files below a folder and what kept others from being seen; see :class:`FilmFolder`."""

    files: tuple[Path, ...]
    hidden: int
    closed: tuple[Path, ...]
    repeated: tuple[tuple[Path, Path], ...]


def open_film_folder(path: str | os.PathLike[str]) -> FilmFolder:
    """The films below the folder at ``path``, told by content; a file is its own only film. Raises ValueError else."""
    path = Path(path).expanduser()
    if os.path.isfile(path):
        return FilmFolder((path,))
    if not os.path.isdir(path):
        raise ValueError(f"{one_line(path)} is neither a file nor a folder; check the path")
    return films_of(walk(path))


def films_of(found: Walk) -> FilmFolder:
    """The files of ``found`` by what they are; reads the first bytes of each."""
    films: list[Path] = []
    others: dict[str, list[Path]] = {}
    for file in found.files:
        kind = file_kind(file)
        (films if kind.is_film else others.setdefault(kind.name, [])).append(file)
    return FilmFolder(
        tuple(films),
        {name: tuple(files) for name, files in sorted(others.items())},
        found.hidden,
        found.closed,
        found.repeated,
    )


def walk(folder: Path) -> Walk:
    """Every file below ``folder`` but hidden ones; opens none.

    Linked folders are followed after all others, so that a file below both has its own path, and no folder is read
    twice, whatever leads to it: the guard against loops, by device and inode.
    """
    files: list[Path] = []
    closed: list[Path] = []
    repeated: list[tuple[Path, Path]] = []
    hidden = 0
    above = (*folder.absolute().parents, *folder.resolve().parents)
    read = {identity: parent for parent in above if (identity := _identity(parent))}
    folders, links = deque([folder]), deque[Path]()
    while folders or links:
        place = folders.popleft() if folders else links.popleft()
        identity, entries = _identity(place), _entries(place)
        if identity in read:
            repeated.append((place, read[identity]))
        elif identity is None or entries is None:
            closed.append(place)
        else:
            read[identity] = place
            for entry in entries:
                if entry.name.startswith("."):
                    hidden += 1
                elif not _is_folder(entry):
                    files.append(place / entry.name)
                else:
                    (links if entry.is_symlink() else folders).append(place / entry.name)
    return Walk(tuple(sorted(files)), hidden, tuple(sorted(closed)), tuple(sorted(repeated)))


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list[os.DirEntry[str]] | None:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _remarks(folder: FilmFolder) -> Iterator[str]:
    if folder.others:
        count = sum(map(len, folder.others.values()))
        kinds = "; ".join(f"{kind}: {some(files)}" for kind, files in folder.others.items())
        yield f"left alone {count} {'file that is no film' if count == 1 else 'files that are no films'} ({kinds})"
    if folder.hidden:
        yield f"left alone {folder.hidden} hidden {'file or folder' if folder.hidden == 1 else 'files and folders'}"
    if folder.closed:
        yield f"could not open the folders {some(folder.closed)}: check their permissions"
    if folder.repeated:
        ways = some(f"{one_line(way)} (to {one_line(place)})" for way, place in folder.repeated)
        yield f"did not follow links to what is read already or lies above: {ways}"


def some(names: Iterable[str | os.PathLike[str]]) -> str:
    """The first names of many, for a sentence, and how many more there are."""
    listed = [one_line(name) for name in names]
    more = len(listed) - SHOWN
    return ", ".join(listed[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def readable(path: str | os.PathLike[str]) -> str:
    """``path`` as text that can be written and shown: bytes of a name that are not UTF-8 become \\xNN, no more."""
    text = re.sub(r"[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", os.fsdecode(path))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(path: str | os.PathLike[str]) -> str:
    """``path`` readable and without line ends and other control characters, for a sentence."""
    return re.sub(r"[\0-\x1f\x7f-\x9f\u2028\u2029]", lambda sign: repr(sign[0])[1:-1], readable(path))
