"""The viewer of a film and its evidence map: a component of Gradio's HTML, with a canvas of its own."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, TypedDict

import gradio as gr
import numpy as np
from PIL import Image

from components.part import part
from hf_pneumo.imaging.phantom import Box
from hf_pneumo.serving.outcome import Finding

SHOWN = 1200  # pixels of the film's longer side on the page; the download has every pixel
MAP = 384  # of the map's: finer than any map that is smooth, and enough to see the grain of those that are not
QUALITY = 92  # of the film's JPEG, whose greys are within two of the film's


class View(TypedDict):
    """What the viewer shows. ``width``, ``height``: of the film's file, in whose pixels the boxes are.

    ``map`` is the map over the film, 255 where it is hottest; ``probability`` what the hottest place stands for.
    """

    film: str
    map: str
    width: int
    height: int
    probability: float
    boxes: list[dict[str, float | bool]]
    name: str


def viewer(elem_id: str) -> gr.HTML:
    """A viewer of one film with its map; the value is a `View`, or None for nothing."""
    return part("viewer", elem_id)


def view_of(finding: Finding, planted: Sequence[Box] = ()) -> View:
    """The film of ``finding`` with its map and boxes, and the boxes of what was ``planted`` in a phantom."""
    height, width = finding.film.pixels.shape
    boxes: list[dict[str, float | bool]] = [
        {"x": box.x, "y": box.y, "w": box.w, "h": box.h, "score": box.score, "planted": False} for box in finding.boxes
    ]
    boxes += [{"x": x, "y": y, "w": w, "h": h, "score": 1.0, "planted": True} for x, y, w, h in planted]
    explanation = finding.explanation
    heat = np.rint(explanation.heatmap * 255).astype(np.uint8)
    return View(
        film=_encoded(finding.film.gray8, SHOWN, "JPEG", quality=QUALITY),
        map="" if explanation.constant else _encoded(heat, MAP, "PNG", compress_level=1),
        width=width,
        height=height,
        probability=probability_of(finding),
        boxes=boxes,
        name=f"Chest film, {width} by {height} pixels, with the evidence for {explanation.target}",
    )


def probability_of(finding: Finding) -> float:
    """The calibrated probability of what the map explains, in [0, 1]; of a contrast "A - B" that of A."""
    target = finding.explanation.target.partition(" - ")[0]
    return finding.scores.get(target, finding.probabilities.get(target, finding.probability))


def _encoded(grey: np.ndarray, side: int, kind: str, **options: Any) -> str:
    """uint8 (H, W), scaled down to at most ``side`` pixels, as a data URI: nothing of it is left on a disk."""
    image = Image.fromarray(grey)
    image.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()
