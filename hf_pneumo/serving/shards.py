"""Shards of an archive's rows: parquet files that appear whole, and an index on disk of the films that they hold.

The shards are the truth; the index (SQLite) only spares reading them, and is made anew from them where it is behind.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hf_pneumo.explain.box import Box
from hf_pneumo.files import replacing
from hf_pneumo.imaging.xray import XrayReadError
from hf_pneumo.records import record_of

SHARD_ROWS = 512  # what a killed run computes again at most
INDEX = "index.sqlite"
ERROR = XrayReadError.status
_BOX = pa.struct([*((name, pa.int32()) for name in ("x", "y", "w", "h")), ("score", pa.float32())])


@dataclass(frozen=True)
class Key:
    """Whose answers a shard holds: model and revision, the digest of its preprocessing, and its labels."""

    model: str
    revision: str
    preprocessing: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """What is known of one file of an archive.

    ``path``: as it was given, where bytes that are no UTF-8 stand as surrogates. ``sha256``: of its content, "" where
    it cannot be read. ``status``: "judged", "not judged" or "error"; ``reason``: why there is no verdict.
    ``probabilities``: calibrated, in the order of the labels, () unless judged. ``boxes``: in the film's pixels.
    ``seconds``: from file to row.
    """

    path: str
    sha256: str
    status: str
    reason: str = ""
    verdict: str = ""
    probabilities: tuple[float, ...] = ()
    boxes: tuple[Box, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


class ShardError(ValueError):
    """A folder of shards that cannot be used; the message is one sentence with what to do."""


class Shards:
    """The rows in a folder: those of earlier runs, and those that are added, written a shard at a time.

    ``resume``: whether shards may be there already. Raises ShardError where there are and they may not, or where they
    are another model's. Use it as a context: what is left at its end is written as a last, smaller shard.
    """

    def __init__(self, folder: Path, key: Key, *, resume: bool = False, rows: int = SHARD_ROWS):
        self.folder, self.key, self.rows = folder, key, rows
        self._pending: list[Row] = []
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.part"):  # of a run that was killed while it wrote
            leftover.unlink()
        self._files = sorted(folder.glob("shard-*.parquet"))
        if self._files and not resume:
            raise ShardError(f"{folder} holds {len(self._files)} shards already; go on with --resume, or give another")
        self._index = sqlite3.connect(folder / INDEX)
        self._index.executescript(
            "create table if not exists films (path blob primary key, sha256 text, shard text, row integer);"
            "create index if not exists content on films (sha256);"
            "create table if not exists shards (name text primary key);"
        )
        self._catch_up()

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None or not issubclass(kind, OSError):  # a full disk takes no more
                self._write()
        finally:
            self._index.close()

    def __len__(self) -> int:
        """How many rows are written."""
        return int(self._index.execute("select count(*) from films").fetchone()[0])

    def missing(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Those of ``paths`` without a row, in their order."""
        for path in paths:
            if self._index.execute("select 1 from films where path = ?", (os.fsencode(path),)).fetchone() is None:
                yield path

    def of_content(self, sha256: str) -> Row | None:
        """A row of a film of that content, under whatever path; None where there is none yet."""
        for row in self._pending:
            if row.sha256 == sha256:
                return row
        place = self._index.execute("select shard, row from films where sha256 = ? limit 1", (sha256,)).fetchone()
        return read_shard(self.folder / place[0], rows=[place[1]])[0] if place else None

    def add(self, row: Row) -> None:
        """Take a row; every so many are written as a shard. Raises OSError where that cannot be done."""
        self._pending.append(row)
        if len(self._pending) >= self.rows:
            self._write()

    def _write(self) -> None:
        if not self._pending:
            return
        path = self.folder / f"shard-{len(self._files):06d}.parquet"
        with replacing(path) as temporary:
            pq.write_table(_table(self._pending, self.key), temporary)
        self._files.append(path)
        self._enter(path.name, self._pending)
        self._pending = []

    def _enter(self, shard: str, rows: Sequence[Row]) -> None:
        """Note a shard in the index."""
        films = [(os.fsencode(row.path), row.sha256, shard, place) for place, row in enumerate(rows)]
        try:
            with self._index:
                self._index.executemany("insert or ignore into films values (?, ?, ?, ?)", films)
                self._index.execute("insert or ignore into shards values (?)", (shard,))
        except sqlite3.OperationalError as error:  # a full disk; the shard is written, and noted when a run goes on
            raise OSError(f"{self.folder / INDEX} cannot be written: {error}") from error

    def _catch_up(self) -> None:
        """Check that every shard is this model's, and note those that the index does not have."""
        noted = {name for (name,) in self._index.execute("select name from shards")}
        if noted - {file.name for file in self._files}:  # shards were taken away: their films are to be scored again
            with self._index:
                self._index.execute("delete from films")
                self._index.execute("delete from shards")
            noted = set()
        for file in self._files:
            if (key := read_key(file)) != self.key:
                raise ShardError(
                    f"{file} holds answers of {key.model} (revision {key.revision or 'none'}), not of {self.key.model} "
                    f"(revision {self.key.revision or 'none'}) with the same preprocessing; give another folder"
                )
            if file.name not in noted:
                self._enter(file.name, read_shard(file))


def read_key(path: Path) -> Key:
    """Whose answers a shard holds. Raises ShardError for a file that is none."""
    try:
        stored = json.loads(pq.read_schema(path).metadata[b"hf_pneumo"])
        return record_of(Key, stored)
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise ShardError(f"{path} is no shard ({error}); take it away, and its films are scored again") from error


def read_shard(path: Path, *, rows: Sequence[int] | None = None) -> list[Row]:
    """The rows of a shard, or those at the given places."""
    table = pq.read_table(path)
    labels = read_key(path).labels
    return [_row(values, labels) for values in (table if rows is None else table.take(list(rows))).to_pylist()]


def _row(values: dict[str, Any], labels: Sequence[str]) -> Row:
    own = {f.name: values[f.name] for f in fields(Row) if f.name in values}
    own["path"] = os.fsdecode(values["path_bytes"])
    own["notes"] = tuple(values["notes"])
    own["boxes"] = tuple(Box(**box) for box in values["boxes"])
    scores = [values[f"probability {label}"] for label in labels]
    return Row(**own, probabilities=() if None in scores else tuple(scores))


def _table(rows: Sequence[Row], key: Key) -> pa.Table:
    """The rows as a table: a column a label, the path readable and in its exact bytes."""
    count = len(rows)
    columns = {
        "path": pa.array([row.path.encode("utf-8", "backslashreplace").decode() for row in rows], pa.string()),
        "path_bytes": pa.array([os.fsencode(row.path) for row in rows], pa.binary()),
        **{name: pa.array([getattr(row, name) for row in rows], pa.string())
           for name in ("sha256", "status", "reason", "verdict")},
        **{f"probability {label}": pa.array([row.probabilities[i] if row.probabilities else None for row in rows],
                                            pa.float32()) for i, label in enumerate(key.labels)},
        "boxes": pa.array([[asdict(box) for box in row.boxes] for row in rows], pa.list_(_BOX)),
        "notes": pa.array([list(row.notes) for row in rows], pa.list_(pa.string())),
        "model": pa.array([key.model] * count, pa.string()),
        "revision": pa.array([key.revision] * count, pa.string()),
        "preprocessing": pa.array([key.preprocessing] * count, pa.string()),
        "seconds": pa.array([row.seconds for row in rows], pa.float32()),
    }  # fmt: skip
    return pa.table(columns).replace_schema_metadata({"hf_pneumo": json.dumps(asdict(key))})
