"""A table of films: sorted and filtered in the browser, so that it can be read while it still grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import gradio as gr

from components.part import part


class FilmRow(TypedDict):
    """``kind``: "judged", "not judged" or "error" with - for the space; ``verdict``: what the filter goes by.

    ``probability``: in [0, 1], None without one, and ``shown``, the same in words; ``thumbnail``: data URI or "".
    """

    file: str
    kind: str
    verdict: str
    probability: float | None
    shown: str
    remarks: str
    thumbnail: str


class FilmTable(TypedDict):
    """``run``: another for each batch, so that its rows replace the last one's."""

    run: str
    rows: Sequence[FilmRow]


def film_table(elem_id: str) -> gr.HTML:
    """An empty table; its value is a `FilmTable`."""
    return part("film_table", elem_id, FilmTable(run="", rows=[]))
