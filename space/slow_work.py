"""Slow work: what it may take, how it is stopped, and how long it will take on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from model_registry import Desk

BUDGET = 300.0  # seconds for one job; nobody else's slow job runs meanwhile
PROBE = 0.3  # seconds of a method that are measured to say how long all of it takes
# One job at a time, in a queue of its own: quick work never waits for it.
SLOW_QUEUE = {"concurrency_id": "slow", "concurrency_limit": 1, "api_visibility": "private"}

Progress = Callable[[float], None]


class Stopped(Exception):
    """A job was stopped, by its page or by the budget; the message says which."""


class Job:
    """One job; whoever does it calls `check` as often as it can."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._until = time.monotonic() + BUDGET

    def check(self) -> None:
        """Raise Stopped if the job is to end."""
        if self._stop.is_set():
            raise Stopped("Stopped.")
        if time.monotonic() > self._until:
            raise Stopped(f"Stopped after {BUDGET:.0f} seconds, the most that one job may take.")

    def stop(self) -> None:
        self._stop.set()


class Jobs:
    """The jobs of all pages, by session; safe under threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def begin(self, session: str) -> Job:
        """A new job of that session; its last one is stopped."""
        with self._lock:
            if session in self._jobs:
                self._jobs[session].stop()
            self._jobs[session] = Job()
            return self._jobs[session]

    def stop(self, session: str) -> None:
        """Stop that session's job, if there is one: it ends within one pass of the network."""
        with self._lock:
            if job := self._jobs.pop(session, None):
                job.stop()


def seconds(desk: Desk, method: str) -> float | None:
    """How long ``method`` takes for a film on this machine now, from its first steps; None where it does not apply."""
    import torch  # the page is there before it is imported

    from hf_pneumo.explain import explain

    height, width = desk.checkpoint.config.preprocess.size
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    start, marks = time.perf_counter(), []

    def measure(share: float) -> None:
        marks.append((time.perf_counter() - start, share))
        if marks[-1][0] > PROBE and marks[0][1] < share < 1:
            raise Stopped

    try:
        explain(desk.predictor.network, noise, method=method, target=0, progress=measure)
    except Stopped:
        (first, done), (last, share) = marks[0], marks[-1]  # what comes before the first step happens once
        return first + (1 - done) * (last - first) / (share - done)
    except ValueError:
        return None
    return time.perf_counter() - start
