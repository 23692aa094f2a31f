"""Timing side by side: what slows the machine down slows all that is compared."""

from __future__ import annotations

import time
from collections.abc import Callable

WARM_UP = 2  # rounds that do not count
Call = Callable[[], object]


def alternate(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, the order rotating by one from round to round."""
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-WARM_UP, rounds):
        for shift in range(len(names)):
            name = names[(number + shift) % len(names)]
            start = time.perf_counter()
            calls[name]()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds
