"""A queue of films on disk that outlives its process: a film is in one folder at any moment, and moves by a rename.

    incoming/   taken over, waiting             <turn>.<key>.<attempt>.dcm
    working/    being judged                    the same name
    outgoing/   results on their way to peers   <key>/
    done/       what became of each film        <key[:2]>/<key>.json
    failed/     what needs a person             films and results, each with its reason beside it
    temporary/  half-written files; emptied at every start

The key of a film is a hash of its data set and of the model that judges it, so a film that comes twice is judged once.
What a process leaves in working/ when it dies is queued again by the next one; a film that several processes have died
on goes to failed/. No name in the spool, and nothing but the films and results themselves, identifies a person.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_pneumo.files import read_json

MOST_ATTEMPTS = 5  # processes that may die on one film
FOLDERS = ("incoming", "working", "outgoing", "done", "failed", "temporary")
RECORD = "record.json"  # in a folder of results: what became of the film
_NAME = re.compile(r"(\d{20})\.([0-9a-f]{64})\.(\d+)\.dcm")
_META_LENGTH = struct.Struct("<4s2sHL")  # of the first element of a DICOM file, after its 132 bytes (PS3.10 7.1)


class SpoolFull(OSError):
    """There is no room for another film; the message says what is full."""


@dataclass(frozen=True)
class QueuedFilm:
    """A film of the queue: its file, its key, and how many processes have died on it."""

    path: Path
    key: str
    attempt: int

    @property
    def mark(self) -> str:
        """What a log calls it."""
        return self.key[:12]


class Spool:
    """The queue in ``folder``; one process at a time may hold it, its threads share it.

    ``model``: what judges the films, part of their keys. ``max_bytes``: of all films that wait, are judged or failed.
    Opening it puts back what the last process had in hand. Raises RuntimeError where another process holds it.
    """

    def __init__(self, folder: str | os.PathLike[str], *, model: str = "", max_bytes: int = 50 * 1024**3):
        self.folder, self.model, self.max_bytes = Path(folder), model, max_bytes
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._hold = _lock(self.folder / "lock")
        self._changed = threading.Condition()
        self._waiting: deque[QueuedFilm] = deque()
        self._keys: set[str] = set()  # of all films that wait or are judged
        self._arriving: set[str] = set()  # of those that are being written
        self._last_turn = 0
        self._bytes = 0
        self._recover()

    def put(self, content: bytes) -> bool:
        """Queue a DICOM file; it is on disk when this returns. False for a film that the spool knows already.

        Raises SpoolFull where it would exceed ``max_bytes`` or the disk has no room, OSError for other faults.
        """
        key = film_key(content, self.model)
        with self._changed:
            self._changed.wait_for(lambda: key not in self._arriving)  # sent twice at once: the second waits
            if key in self._keys or self._has_result(key):
                return False
            if self._bytes + len(content) > self.max_bytes:
                raise SpoolFull(f"the spool holds its {self.max_bytes:,} bytes")
            self._arriving.add(key)
            self._last_turn = turn = max(time.time_ns(), self._last_turn + 1)
            self._bytes += len(content)
        film = QueuedFilm(self.folder / "incoming" / f"{turn:020d}.{key}.0.dcm", key, 0)
        try:
            write_synced(film.path, content, self.folder / "temporary" / film.path.name)
        except OSError as error:
            self._arrived(film, -len(content))
            raise SpoolFull(f"the film cannot be written ({error.strerror or type(error).__name__})") from None
        self._arrived(film, 0)
        return True

    def take(self, timeout: float | None = None) -> QueuedFilm | None:
        """The film that has waited longest, now in working/; None where none comes within ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout):
                return None
            film = self._waiting.popleft()
        return self._move(film, "working", film.attempt)

    def give_back(self, film: QueuedFilm) -> None:
        """Put a film that was taken back at the head of the queue."""
        waiting = self._move(film, "incoming", film.attempt)
        with self._changed:
            self._waiting.appendleft(waiting)
            self._changed.notify()

    def finish(self, film: QueuedFilm, record: Mapping[str, Any]) -> None:
        """Note what became of a film that has no results to send, and remove it."""
        write_record(self._done(film.key), record)
        self._drop(film)

    def fail(self, film: QueuedFilm, reason: str) -> None:
        """Keep a film aside, with the reason, for a person to look at; its bytes still count."""
        write_record(self.folder / "failed" / f"{film.key}.json", {"reason": reason})
        os.replace(film.path, self.folder / "failed" / f"{film.key}.dcm")
        with self._changed:
            self._keys.discard(film.key)

    @contextmanager
    def results(self, film: QueuedFilm) -> Iterator[Path]:
        """A temporary folder for a film's results, removed unless :meth:`hand_on` took it over."""
        folder = self.folder / "temporary" / film.key
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def hand_on(self, film: QueuedFilm, results: Path, record: Mapping[str, Any]) -> str:
        """Move the folder ``results`` into outgoing/ whole, and remove the film; returns the name there, its key."""
        write_record(results / RECORD, record)
        for path in results.iterdir():
            _sync(path)
        _sync(results)
        target = self.folder / "outgoing" / film.key
        if not target.exists():  # else a fault came between this and the next step
            os.replace(results, target)
        _sync(target.parent)
        self._drop(film)
        return film.key

    def outgoing(self) -> list[str]:
        """The keys of all results that are on their way."""
        return sorted(os.listdir(self.folder / "outgoing"))

    def complete(self, key: str) -> None:
        """Note that the results of ``key`` have reached every peer, and remove them."""
        folder = self.folder / "outgoing" / key
        write_record(self._done(key), read_json(folder / RECORD))
        self._remove(folder)

    def set_aside(self, key: str, name: str, reason: str) -> None:
        """Keep a copy of a result that a peer refuses for good in failed/, with the reason."""
        target = self.folder / "failed" / f"{key}-{name}"
        content = (self.folder / "outgoing" / key / name).read_bytes()
        write_synced(target, content, self.folder / "temporary" / target.name)
        write_record(target.with_suffix(".json"), {"reason": reason})

    def record(self, key: str) -> dict[str, Any] | None:
        """What became of the film ``key``; None while nothing has."""
        path = self._done(key)
        return read_json(path) if path.exists() else None

    def lengths(self) -> dict[str, int]:
        """How many films, or results of films, lie in each folder of the queue."""
        count = {name: len(os.listdir(self.folder / name)) for name in ("working", "outgoing")}
        failed = sum(not name.endswith(".json") for name in os.listdir(self.folder / "failed"))
        return {"incoming": len(self._waiting), **count, "failed": failed}

    @property
    def bytes(self) -> int:
        """Bytes of all films that wait, are judged or failed."""
        return self._bytes

    def close(self) -> None:
        """Let another process hold the spool."""
        os.close(self._hold)

    def _recover(self) -> None:
        shutil.rmtree(self.folder / "temporary")
        (self.folder / "temporary").mkdir()
        for film in self._films("working"):
            if film.attempt + 1 < MOST_ATTEMPTS:
                self._move(film, "incoming", film.attempt + 1)
            else:
                self.fail(film, f"{MOST_ATTEMPTS} processes died while judging it")
        self._waiting.extend(self._films("incoming"))
        self._keys = {film.key for film in self._waiting}
        kept = [*(film.path for film in self._waiting), *(self.folder / "failed").glob("*.dcm")]
        self._bytes = sum(path.stat().st_size for path in kept)
        self._last_turn = int(self._waiting[-1].path.name[:20]) if self._waiting else 0

    def _films(self, folder: str) -> list[QueuedFilm]:
        """The films in ``folder``, but those whose results are there: a process died before it removed them."""
        films = [film for path in sorted((self.folder / folder).iterdir()) if (film := _queued(path))]
        for film in films:
            if self._has_result(film.key):
                film.path.unlink()
        return [film for film in films if film.path.exists()]

    def _arrived(self, film: QueuedFilm, change: int) -> None:
        """End the arrival of ``film``, which counts where it took no bytes back."""
        with self._changed:
            self._arriving.discard(film.key)
            self._bytes += change
            if not change:
                self._keys.add(film.key)
                self._waiting.append(film)
            self._changed.notify_all()

    def _move(self, film: QueuedFilm, folder: str, attempt: int) -> QueuedFilm:
        path = self.folder / folder / f"{film.path.name[:20]}.{film.key}.{attempt}.dcm"
        os.replace(film.path, path)
        return QueuedFilm(path, film.key, attempt)

    def _drop(self, film: QueuedFilm) -> None:
        size = film.path.stat().st_size
        film.path.unlink()
        self._forget(film.key, size)

    def _forget(self, key: str, size: int) -> None:
        with self._changed:
            self._keys.discard(key)
            self._bytes -= size

    def _remove(self, folder: Path) -> None:
        """Remove a folder of results, so that no part of it is ever taken for a whole one."""
        going = self.folder / "temporary" / f"{folder.name}-done"
        os.replace(folder, going)
        shutil.rmtree(going)

    def _has_result(self, key: str) -> bool:
        return self._done(key).exists() or (self.folder / "outgoing" / key).exists()

    def _done(self, key: str) -> Path:
        return self.folder / "done" / key[:2] / f"{key}.json"


def film_key(content: bytes, model: str) -> str:
    """SHA-256, in hexadecimal digits, of a DICOM file's data set and of the model that judges it.

    The file's meta information is left out: it names the program that stored the file.
    """
    return hashlib.sha256(model.encode() + b"\0" + content[_data_set_start(content) :]).hexdigest()


def _data_set_start(content: bytes) -> int:
    if content[128:132] != b"DICM" or len(content) < 144:
        return 0
    tag, vr, _, length = _META_LENGTH.unpack_from(content, 132)
    return 144 + length if (tag, vr) == (b"\x02\0\0\0", b"UL") else 0


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON file that is whole, and on disk, when this returns."""
    path.parent.mkdir(exist_ok=True)
    write_synced(path, json.dumps(record).encode(), path.with_name(path.name + ".part"))


def write_synced(path: Path, content: bytes, temporary: Path) -> None:
    """Write a file by way of ``temporary``; it is on disk when this returns, and nothing is left where it raises."""
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _queued(path: Path) -> QueuedFilm | None:
    name = _NAME.fullmatch(path.name)
    return QueuedFilm(path, name[2], int(name[3])) if name else None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(path: Path) -> int:
    """An open file that this process alone has locked; the lock goes with the process, however it ends."""
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise RuntimeError(f"{path.parent} is the spool of another process; end that one, or give --spool") from None
    return handle
