"""How a part of the page is made of its markup and script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent  # beside this name, which may be a link (the Hub's cache)


def part(name: str, elem_id: str, value: Any = None, **properties: Any) -> gr.HTML:
    """The part whose markup is name.html and whose script is name.js; ``properties`` reach both by their names."""
    markup, script = ((HERE / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("html", "js"))
    return gr.HTML(
        value, html_template=markup, js_on_load=script, apply_default_css=False, elem_id=elem_id, **properties,
    )  # fmt: skip
