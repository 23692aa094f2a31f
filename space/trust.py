"""Trust: what a checkpoint says of itself and what was measured of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import gradio as gr
import html_model
from common import LIGHT, Common

from hf_pneumo.models.folder import CheckpointFolder
from hf_pneumo.models.hub_download import CheckpointError

if TYPE_CHECKING:
    from hf_pneumo.reporting.checkpoint_report import Report

logger = logging.getLogger(__name__)


class Trust:
    """The figures of the checkpoint that is chosen."""

    name, title = "trust", "Trust"

    def __init__(self, common: Common) -> None:
        self.shelf = common.shelf
        figures = gr.HTML(elem_id="figures")
        common.tabs.select(self.show, common.model, figures, **LIGHT)

    def show(self, model: str, event: gr.SelectData) -> str:
        """The figures, where it is this tab that was opened."""
        return self.about(model) if event.value == self.title else gr.skip()

    def about(self, model: str) -> str:
        checkpoint = self.shelf.open(model).checkpoint
        return html_model.about(checkpoint, _report(checkpoint))


def _report(checkpoint: CheckpointFolder) -> Report:
    """What was measured of the checkpoint; nothing where a file of it is damaged, which the page outlives."""
    from hf_pneumo.reporting.checkpoint_report import Report, read_report  # with torch

    try:
        return read_report(checkpoint.path)
    except (CheckpointError, OSError) as error:
        logger.warning("the results of %s are not shown: %s", checkpoint.name, error)
        return Report()
