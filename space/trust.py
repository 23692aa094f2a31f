"""Trust: what a checkpoint says of itself and what was measured of it."""

from __future__ import annotations

import logging

import gradio as gr
import html_model
from common import LIGHT, Common

from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.reporting.checkpoint_report import Report, read_report

logger = logging.getLogger(__name__)


class Trust:
    """The figures of the checkpoint that is chosen."""

    name, title = "trust", "Trust"

    def __init__(self, common: Common) -> None:
        self.shelf = common.shelf
        figures = gr.HTML(self.about(self.shelf.default), elem_id="figures")
        common.model.change(self.about, common.model, figures, **LIGHT)

    def about(self, model: str) -> str:
        checkpoint = self.shelf.open(model).checkpoint
        return html_model.about(checkpoint, _report(checkpoint))


def _report(checkpoint: Checkpoint) -> Report:
    """What was measured of the checkpoint; nothing where a file of it is damaged, which the page outlives."""
    try:
        return read_report(checkpoint.path)
    except (CheckpointError, OSError) as error:
        logger.warning("the results of %s are not shown: %s", checkpoint.name, error)
        return Report()
