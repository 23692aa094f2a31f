"""Compare: what several explanation methods say of the film in hand, and how far they agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gradio as gr
import html_finding
import html_gallery
import numpy as np
import predict
from common import LIGHT, MODEL_QUEUE, Common, no_film
from PIL import Image

from hf_pneumo.evaluation.explanations.faithfulness import agreement
from hf_pneumo.explain import ZeroGradientError
from hf_pneumo.serving.outcome import NotJudged

THUMBNAIL = 420
COMPARED = 128  # longer side of the maps whose ranks are compared: finer than any class activation map


class Compare:
    """All quick methods on the film in hand."""

    name, title = "compare", "Compare"

    def __init__(self, common: Common) -> None:
        self.shelf = common.shelf
        gr.HTML(
            '<p class="hp-lead">All quick methods on the film in hand and its label, side by side, and how far they '
            "agree about place.</p>"
        )
        start = gr.Button("Compare", variant="primary", elem_id="compare")
        grid = gr.HTML(elem_id="comparison")
        start.click(self.compare, common.held, grid, **MODEL_QUEUE)
        common.held.change(lambda: "", None, grid, **LIGHT)

    def compare(
        self,
        held: predict.Held | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> str:
        if held is None:
            return no_film()
        if isinstance(held.outcome, NotJudged):
            return html_finding.not_judged(held.outcome)
        found, table = compare(held, progress)
        return html_gallery.comparison(found) + html_gallery.agreement_table(table)


@dataclass(frozen=True, eq=False)
class Picture:
    """A method's overlay on the film, small, RGB; ``name`` is the method's."""

    name: str
    caption: str
    image: Image.Image


def compare(held: predict.Held, progress: predict.Progress) -> tuple[list[Picture], dict[str, dict[str, float]]]:
    """The overlay of every quick method, and how far their maps agree.

    The agreement is the rank correlation of each two maps, by title; constant maps have no ranks and are left out.
    """
    desk, target = held.desk, held.target
    pictures, maps = [], {}
    for number, (name, method) in enumerate(desk.quick.items()):
        progress(number / len(desk.quick))
        try:
            finding = desk.predictor.predict(held.outcome.film, method=name, target=target, judge_anyway=True)
        except ZeroGradientError:
            continue
        explanation = finding.explanation
        caption = method.title + (": no evidence" if explanation.constant else "")
        pictures.append(Picture(name, caption, predict.views(replace(finding, boxes=()), THUMBNAIL)[1]))
        if not explanation.constant:
            small = Image.fromarray(explanation.heatmap)
            small.thumbnail((COMPARED, COMPARED), Image.Resampling.BILINEAR)
            maps[method.title] = np.asarray(small)[None]
    return pictures, agreement(maps)
