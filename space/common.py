"""What the tasks of the page share: the checkpoints, the examples, the film in hand, and how events are queued."""

from __future__ import annotations

from typing import Any, Protocol

import gradio as gr
import html_finding
from model_registry import Shelf
from samples import Samples
from slow_work import Jobs

SESSIONS = 3600  # seconds for which a session's last finding is held
# Quick work on a model, one at a time; what takes longer than a few seconds must not stand in this queue.
MODEL_QUEUE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}
LIGHT: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
# Clicks on a button within a piece of HTML reach Python with its data-choice; other clicks do not.
CHOICES = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-choice]');
  if (button) trigger('click', {choice: button.dataset.choice});
});
"""


class Common:
    """Made once within the page's `gr.Blocks`; every task gets it.

    ``film``: the path of the film in hand, None without one; ``model``: the name of the checkpoint, which Read places.
    ``held``: the `predict.Held` of the last film that was read, None without one; its ``change`` event says that
    there is another answer. ``jobs``: the slow work of
    all pages. ``demo``: the page itself. ``tabs``: its tabs, each with its task's ``name`` for id.
    """

    def __init__(self, shelf: Shelf, samples: Samples, demo: gr.Blocks) -> None:
        self.shelf, self.samples, self.demo = shelf, samples, demo
        self.film = gr.State(time_to_live=SESSIONS)
        self.model = gr.Dropdown(
            shelf.names, value=shelf.default, label="Checkpoint", filterable=False, elem_id="model",
            visible=len(shelf.names) > 1, render=False,
        )  # fmt: skip
        self.jobs = Jobs()
        self.held = gr.State(time_to_live=SESSIONS)
        self.tabs: gr.Tabs  # set by the page, which opens them next


class Task(Protocol):
    """One task of the page. It is made within its own tab, where it builds its components and wires them."""

    name: str  # of the tab, in links
    title: str  # on the tab

    def __init__(self, common: Common) -> None: ...


def no_film() -> str:
    """What a task that needs a film says where there is none."""
    return html_finding.problem("There is no film yet: drop one in or take an example, in Read.")
