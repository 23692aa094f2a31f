"""Silence for the decoders: their warnings may quote a patient's data, and a damaged file would print many of them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

_reading: ContextVar[bool] = ContextVar("hf_pneumo_reading", default=False)

# Loggers on which pydicom repeats its warnings and decoder failures, values included.
_LOGGERS = ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils")


class _WhileReading:
    """Stands where `warnings` expects a compiled pattern: matches every message of a context that reads a film.

    `warnings.catch_warnings` swaps the filters of the whole process and so is not safe in threads; this one filter
    stays in place and looks at the calling context only.
    """

    def match(self, _: str) -> bool:
        return _reading.get()


def _quiet_record(_: logging.LogRecord) -> bool:
    return not _reading.get()


_FILTER = ("ignore", _WhileReading(), Warning, None, 0)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop warnings and pydicom's log lines of this thread or task, and of no other, for a while."""
    if _FILTER not in warnings.filters:  # absent after `warnings.resetwarnings` or inside `catch_warnings`
        cast(list[object], warnings.filters).insert(0, _FILTER)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_quiet_record)  # a logger holds a filter once
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)
