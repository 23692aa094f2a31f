"""Texts with a button that copies each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import gradio as gr

from components.part import part


class Text(TypedDict):
    """``text`` to copy, under its ``title``; Gradio takes it for a template, so neither holds a backslash or ``${``."""

    title: str
    text: str


class Texts(TypedDict):
    """The value of the component."""

    items: Sequence[Text]


def copyable(elem_id: str) -> gr.HTML:
    """No text yet; its value is `Texts`."""
    return part("copyable", elem_id, Texts(items=[]))
