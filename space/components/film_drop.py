"""Where a film is dropped: it stays, so that the next film needs no click on a cross."""

from __future__ import annotations

import os
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

HERE = Path(__file__).parent  # beside this name, which may be a link (the Hub's cache)
LARGEST = 256 * 1024**2  # bytes; what the reader accepts at most


def film_drop(elem_id: str) -> gr.HTML:
    """A drop area for one film; the value is what the browser says is the path of its upload, or None.

    ``upload`` says that another film came in. The browser sends no file name, which may name a patient.
    """
    markup, script = ((HERE / f"film_drop.{kind}").read_text(encoding="utf-8") for kind in ("html", "js"))
    return gr.HTML(
        html_template=markup, js_on_load=script, apply_default_css=False, elem_id=elem_id, largest=LARGEST,
    )  # fmt: skip


def uploaded(path: str | None) -> str | None:
    """``path``, if it is one of an upload: a browser may send any text."""
    folder = os.path.realpath(get_upload_folder())
    return path if path and os.path.realpath(path).startswith(folder + os.sep) else None
