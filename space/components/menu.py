"""A menu whose choices follow another choice: the browser's own list, which no half-updated page can contradict.

Gradio's Dropdown refuses a value that is none of its present choices, and a browser may send one that was a moment ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import gradio as gr

HERE = Path(__file__).parent  # beside this name, which may be a link (the Hub's cache)


class Menu(TypedDict):
    """``choices``: (shown, value); ``chosen``: one of the values; ``of``: what they belong to, for whoever asks."""

    of: str
    choices: Sequence[tuple[str, str]]
    chosen: str


def menu(label: str, value: Menu, elem_id: str) -> gr.HTML:
    """A labelled menu; ``input`` says that somebody chose."""
    markup, script = ((HERE / f"menu.{kind}").read_text(encoding="utf-8") for kind in ("html", "js"))
    return gr.HTML(
        value, html_template=markup, js_on_load=script, apply_default_css=False, elem_id=elem_id, label=label,
    )  # fmt: skip
