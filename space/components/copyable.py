"""Texts with a button that copies each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import gradio as gr

HERE = Path(__file__).parent  # beside this name, which may be a link (the Hub's cache)


class Text(TypedDict):
    """``text`` to copy, under its ``title``; Gradio takes it for a template, so neither holds a backslash or ``${``."""

    title: str
    text: str


class Texts(TypedDict):
    """The value of the component."""

    items: Sequence[Text]


def copyable(elem_id: str) -> gr.HTML:
    """No text yet; its value is `Texts`."""
    markup, script = ((HERE / f"copyable.{kind}").read_text(encoding="utf-8") for kind in ("html", "js"))
    return gr.HTML(
        Texts(items=[]), html_template=markup, js_on_load=script, apply_default_css=False, elem_id=elem_id,
    )  # fmt: skip
