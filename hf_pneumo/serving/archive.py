"""An archive of films, scored without losing one: child processes decode, shards are written whole, a rerun goes on.

A decoder that crashes, hangs or eats memory takes one child process with it and costs its one film, which is named.
What is known is not computed again: a film is known by the SHA-256 of its content under one model and preprocessing.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from hf_pneumo.serving.shards import ERROR, Key, Row, Shards

IN_FLIGHT = 4  # films handed out per child process, so that none waits and memory stays flat
SECONDS = 60.0  # for one film; a large one takes a second or two
BYTES = 3 << 30  # address space that a child may take beyond what the model needs


@dataclass(frozen=True)
class Scorer:
    """How a child process scores films: ``make(*arguments)``, called once in it, gives a function from bytes to a row.

    ``make`` must be importable by name and its arguments picklable. ``key`` says whose answers the rows are.
    """

    make: Callable[..., Callable[[bytes], Row]]
    arguments: tuple[Any, ...]
    key: Key


@dataclass(frozen=True)
class Summary:
    """Of a run: rows by status, by verdict, and by the reason of those without one; rows that were there before."""

    statuses: Counter[str]
    verdicts: Counter[str]
    reasons: Counter[str]
    known: int
    seconds: float

    @property
    def films(self) -> int:
        """How many rows the run added."""
        return sum(self.statuses.values())


def score_archive(
    paths: Iterable[Path],
    scorer: Scorer,
    output: Path,
    *,
    workers: int | None = None,
    resume: bool = False,
    seconds: float = SECONDS,
    progress: Callable[[Row], None] | None = None,
) -> Summary:
    """Score every film of ``paths`` into shards in the folder ``output``; returns what became of them.

    ``resume``: go on with the shards that are there; their rows stay, and no film is scored twice. ``seconds``: after
    which a film is given up. Raises ShardError for a folder that cannot be used, and OSError where a shard cannot be
    written; what was written before stays, and can be resumed.
    """
    started = time.monotonic()
    statuses: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with Shards(output, scorer.key, resume=resume) as shards:
        known = len(shards)
        for row in _rows(shards, paths, scorer, workers or os.cpu_count() or 1, seconds):
            shards.add(row)
            statuses[row.status] += 1
            verdicts.update([row.verdict] if row.verdict else ())
            reasons.update([row.reason] if row.reason else ())
            if progress:
                progress(row)
    return Summary(statuses, verdicts, reasons, known, time.monotonic() - started)


def _rows(shards: Shards, paths: Iterable[Path], scorer: Scorer, workers: int, seconds: float) -> Iterator[Row]:
    """A row for every path without one, in the order in which they are ready."""
    remaining = shards.missing(paths)
    context = multiprocessing.get_context("spawn")  # a fork would carry the locks of other threads along
    with ProcessPool(workers, context=context, initializer=_begin, initargs=(scorer,)) as pool:
        running: dict[Future[Row], tuple[Path, str]] = {}
        try:
            while True:
                while len(running) < IN_FLIGHT * workers and (path := next(remaining, None)) is not None:
                    digest, problem = _digest(path)
                    twin = shards.of_content(digest) if digest else None
                    if problem or twin:
                        yield replace(twin, path=str(path)) if twin else Row(str(path), "", ERROR, problem)
                    else:
                        running[pool.schedule(_score, args=[str(path)], timeout=seconds)] = path, digest
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    path, digest = running.pop(future)
                    yield _row(future, path, digest, seconds)
        except BaseException:
            pool.stop()
            raise


def _digest(path: Path) -> tuple[str, str]:
    """The SHA-256 of a file's content and "", or "" and why it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), ""
    except (OSError, ValueError) as error:
        return "", f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _row(future: Future[Row], path: Path, digest: str, seconds: float) -> Row:
    """What a child process gave for a film, or why it gave nothing."""
    try:
        return replace(future.result(), path=str(path), sha256=digest)
    except TimeoutError:
        reason = f"its decoder took more than {seconds:g} seconds"
    except ProcessExpired as death:
        reason = f"its decoder died ({_death(death.exitcode)})"
    except MemoryError:
        reason = "its decoder needs more memory than it may take"
    except Exception as error:  # whatever a film's content does costs this film alone
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    return Row(str(path), digest, ERROR, reason)


def _death(status: int | None) -> str:
    return f"signal {-status}" if status is not None and status < 0 else f"status {status}"


_score_bytes: Callable[[bytes], Row] | None = None  # of this child process


def _begin(scorer: Scorer) -> None:
    """Load the model, once in a child process, and bound what one film may take of the machine's memory."""
    global _score_bytes
    _score_bytes = scorer.make(*scorer.arguments)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, hard))


def _score(path: str) -> Row:
    if _score_bytes is None:
        raise RuntimeError("the child process was not begun")
    started = time.monotonic()
    return replace(_score_bytes(Path(path).read_bytes()), seconds=time.monotonic() - started)
