"""The page: a title, and a tab for each task."""

from __future__ import annotations

import os

import gradio as gr
from batch import Batch
from common import Common, Task
from compare import Compare
from developers import Developers
from endpoints import add_endpoints
from model_registry import Shelf
from read import Read
from samples import Samples
from trust import Trust

from hf_pneumo.serving.predictor import Predictor

TITLE = "Pneumonia on chest X\N{NON-BREAKING HYPHEN}rays"
NOTICE = (
    '<div class="hp-banner" role="note"><strong>For research and teaching.</strong> Not a medical device, not for '
    "diagnosis.</div>"
)
PURGE = (600, 3600)  # every ten minutes, what is older than an hour
LONGEST_QUEUE = 64
# In the order of their tabs; the first is shown first.
TASKS: tuple[type[Task], ...] = (Read, Compare, Batch, Trust, Developers)


def build_demo(model: Shelf | Predictor | str | os.PathLike[str], *, samples: Samples | None = None) -> gr.Blocks:
    """The page for ``model``: a shelf of checkpoints, a predictor, a folder, or ``user/repo[@revision]``.

    ``samples``: the example films; None draws phantoms and asks the Hub in the background.
    """
    shelf = model if isinstance(model, Shelf) else Shelf([model])
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=PURGE, fill_width=True) as demo:
        gr.HTML(
            f'<header class="hp-title"><h1>{TITLE}</h1><p>A calibrated probability, a verdict that may abstain, and '
            "the place the evidence lies.</p></header>"
        )
        gr.HTML(NOTICE)
        common = Common(shelf, samples or Samples(), demo)
        with gr.Tabs() as common.tabs:
            for task in TASKS:
                with gr.Tab(task.title, id=task.name):
                    task(common)
        add_endpoints(shelf)
    demo.queue(max_size=LONGEST_QUEUE)
    return demo
