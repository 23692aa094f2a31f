"""Names for tables and for new files: readable whatever bytes they hold, another for each input, never too long."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from hf_pneumo.imaging.film_folder import one_line

LONGEST = 180  # bytes of a name that still takes hashes, an ending and a temporary one: file systems allow 255
_HASH = 10  # hexadecimal digits that tell two names apart


def exact_uri(path: str | os.PathLike[str]) -> str:
    """The file's URI, which keeps every byte, where `film_folder.one_line` does not show the path as it is; else ""."""
    return "" if one_line(path) == os.fspath(path) else Path(os.path.abspath(path)).as_uri()


def output_names(files: Iterable[Path], root: Path, *, reserved: str = "") -> dict[Path, str]:
    """A name for what is made of each of ``files``, without an ending: of its path below ``root``, each another.

    The stem where it is the only one, else the whole path with _ between its parts; a hash of the path follows where
    that is too long, no plain text, not unique either, or ends in ``reserved``, which is how further files of a film
    are named. Names that differ in case alone are taken for the same.
    """
    files = list(files)
    stems = Counter(path.stem.casefold() for path in files)
    below = {path: Path(os.path.relpath(path, root)) if path != root else Path(path.name) for path in files}
    names = {path: path.stem if stems[path.stem.casefold()] == 1 else "_".join(below[path].parts) for path in files}
    counts = Counter(name.casefold() for name in names.values())

    def is_free(name: str) -> bool:
        folded = name.casefold()
        return counts[folded] == 1 and is_plain(name) and not (reserved and folded.endswith(reserved))

    return {p: name if is_free(name) else shortened(name, os.fsencode(below[p])) for p, name in names.items()}


def content_name(name: str, file: str | os.PathLike[str]) -> str:
    """``name`` with a hash of what ``file`` holds behind it: another film's output is never replaced."""
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return f"{name}-{digest[:_HASH]}" if is_plain(name) else shortened(name, digest.encode())


def is_plain(name: str) -> bool:
    """Whether ``name`` can begin the name of a new file as it is."""
    return one_line(name) == name and len(name.encode()) <= LONGEST and not name.startswith(".")


def shortened(name: str, identity: bytes) -> str:
    """``name`` cut to what fits, in printable characters, with a hash of ``identity`` behind it."""
    digest = hashlib.sha256(identity).hexdigest()[:_HASH]
    plain = re.sub(r"[^\w.\- ]", "_", one_line(name)).lstrip(".")
    return f"{plain.encode()[: LONGEST - _HASH - 1].decode(errors='ignore')}-{digest}"
