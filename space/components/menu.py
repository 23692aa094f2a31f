"""A menu whose choices follow another choice: the browser's own list, which no half-updated page can contradict.

Gradio's Dropdown refuses a value that is none of its present choices, and a browser may send one that was a moment ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import gradio as gr

from components.part import part


class Menu(TypedDict):
    """``choices``: (shown, value); ``chosen``: one of the values; ``of``: what they belong to, for whoever asks."""

    of: str
    choices: Sequence[tuple[str, str]]
    chosen: str


def menu(label: str, value: Menu, elem_id: str) -> gr.HTML:
    """A labelled menu; ``input`` says that somebody chose."""
    return part("menu", elem_id, value, label=label)
