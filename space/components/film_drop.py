"""Where a film is dropped: it stays, so that the next film needs no click on a cross."""

from __future__ import annotations

import os

import gradio as gr
from gradio.utils import get_upload_folder

from components.part import part

LARGEST = 256 * 1024**2  # bytes; what the reader accepts at most


def film_drop(elem_id: str) -> gr.HTML:
    """A drop area for one film; the value is what the browser says is the path of its upload, or None.

    ``upload`` says that another film came in. The browser sends no file name, which may name a patient.
    """
    return part("film_drop", elem_id, largest=LARGEST)


def uploaded(path: str | None) -> str | None:
    """``path``, if it is one of an upload: a browser may send any text."""
    folder = os.path.realpath(get_upload_folder())
    return path if path and os.path.realpath(path).startswith(folder + os.sep) else None
