"""Compare: what several checkpoints and methods say of the film in hand, and how far they agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import html_comparison
import predict
import whose_film
from common import CHOICES, LIGHT, SESSIONS, Common, no_film
from comparison import Cell, Comparison, compare, title_of
from components.viewer import View, view_of, viewer
from slow_work import BUDGET, SLOW_QUEUE, Stopped, seconds

from hf_pneumo.explain.registry import methods
from hf_pneumo.serving.predictor import DEFAULT

FIRST = [DEFAULT, "gradcam", "hirescam", "layercam", "eigencam"]  # ticked when the page opens
QUICK_QUEUE: dict[str, Any] = {"concurrency_id": "compare", "concurrency_limit": 1, "api_visibility": "private"}
Views = dict[str, View]  # by model and method, as `html_comparison.key` writes them


class Compare:
    """Checkpoints and methods to choose, the grid of their maps, and one of them large.

    Quick methods and slow ones have their own buttons and queues: nobody's quick comparison waits for a slow one.
    """

    name, title = "compare", "Compare"

    def __init__(self, common: Common) -> None:
        self.shelf, self.samples, self.jobs = common.shelf, common.samples, common.jobs
        self.estimates: dict[tuple[str, str], float | None] = {}
        gr.HTML(
            '<p class="hp-lead">Several models and methods on the film in hand, side by side. Maps that agree may all '
            "be wrong; where they disagree, trust none of them alone.</p>"
        )
        self.film = gr.HTML(html_comparison.film(None), elem_id="compared-film")
        self.models = gr.CheckboxGroup(common.shelf.names, value=[common.shelf.default], label="Models")
        with gr.Row():
            quick = [(title_of(DEFAULT), DEFAULT), *((title, name) for name, title in _titles(slow=False).items())]
            self.quick = gr.CheckboxGroup(quick, value=FIRST, label="Quick methods", elem_id="quick")
        with gr.Row():
            self.start = gr.Button("Compare", variant="primary", elem_id="compare")
        with gr.Accordion("Slow methods, one at a time", open=False, elem_id="slow") as self.slow_part:
            self._build_slow()
        self.status = gr.HTML(elem_id="compare-status")
        self.grid = gr.HTML(js_on_load=CHOICES, elem_id="comparison")
        self.large = viewer("compared")
        self.done, self.views = gr.State(time_to_live=SESSIONS), gr.State({}, time_to_live=SESSIONS)
        self._wire(common)

    def _build_slow(self) -> None:
        self.slow = gr.CheckboxGroup(_slow_choices({}), value=[], label="Slow methods", elem_id="slow-methods")
        with gr.Row():
            self.estimate = gr.Button("How long will they take here?", elem_id="estimate")
            self.start_slow = gr.Button("Add the slow ones", elem_id="compare-slow")
            self.cancel = gr.Button("Cancel", variant="stop", elem_id="cancel")

    def _wire(self, common: Common) -> None:
        shown = [self.status, self.grid, self.done, self.views]
        asked = [common.held, self.models, self.quick]
        self.start.click(self.compare_quick, asked, shown, show_progress_on=[self.status], **QUICK_QUEUE)
        asked = [common.held, self.models, self.slow, self.done, self.views]
        running = self.start_slow.click(self.compare_slow, asked, shown, show_progress_on=[self.status], **SLOW_QUEUE)
        measuring = self.estimate.click(
            self.measure, self.models, self.slow, show_progress_on=[self.slow], **SLOW_QUEUE
        )
        self.cancel.click(self.stop, None, self.status, cancels=[running, measuring], **LIGHT)
        common.demo.unload(self.leave)
        common.held.change(self.another_film, common.held, [self.film, *shown, self.large], **LIGHT)
        common.model.change(self.another_model, [common.model, self.models], self.models, **LIGHT)
        self.grid.click(self.show_large, self.views, self.large, **LIGHT)

    # What happens ----------------------------------------------------------------------------------------------------

    def compare_quick(
        self,
        held: predict.Held | None,
        models: list[str],
        names: list[str],
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> Iterator[tuple[Any, ...]]:
        """The grid of the quick methods, anew."""
        yield from self._compare(held, models, names, Comparison(), {}, request, progress)

    def compare_slow(
        self,
        held: predict.Held | None,
        models: list[str],
        names: list[str],
        done: Comparison | None,
        views: Views,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[tuple[Any, ...]]:
        """The grid with the slow methods beside those that are there."""
        expected = sum(self.estimates.get((model, name)) or 0.0 for model in models for name in names)
        if expected > BUDGET:
            told = f"These would take {_about(expected)}; one job may take {_about(BUDGET)}. Choose fewer."
            yield html_comparison.said(told), gr.skip(), gr.skip(), gr.skip()
            return
        yield from self._compare(held, models, names, done or Comparison(), views, request, progress)

    def _compare(
        self,
        held: predict.Held | None,
        models: list[str],
        names: list[str],
        done: Comparison,
        views: Views,
        request: gr.Request,
        progress: gr.Progress,
    ) -> Iterator[tuple[Any, ...]]:
        if held is None:
            yield no_film(), "", None, {}
            return
        if not models or not names:
            yield html_comparison.said("Choose at least one model and one method."), gr.skip(), gr.skip(), gr.skip()
            return
        job, told = self.jobs.begin(request.session_hash), "Done."

        def step(model: str, title: str, share: float) -> None:
            job.check()
            progress(share, desc=f"{title}, {model}")

        cells, views = dict(done.cells), dict(views)
        try:
            desks = {model: self.shelf.open(model) for model in models}
            for cell in compare(held.outcome.film, desks, names, step):
                cells[cell.model, cell.method] = cell
                self._add_view(cell, held, views)
                yield html_comparison.said("Working …"), self._grid(cells, views), Comparison(dict(cells)), views
        except Stopped as stopped:
            told = f"{stopped} {len(cells) - len(done.cells)} of {len(models) * len(names)} maps were done."
        yield html_comparison.said(told), self._grid(cells, views), Comparison(cells), views

    def _add_view(self, cell: Cell, held: predict.Held, views: Views) -> None:
        if cell.finding is not None:
            views[html_comparison.key(cell)] = view_of(cell.finding, self.samples.planted(held.path))

    def _grid(self, cells: dict[tuple[str, str], Cell], views: Views) -> str:
        return html_comparison.grid(Comparison(cells), views)

    def measure(
        self,
        models: list[str],
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[gr.CheckboxGroup]:
        """The slow methods, each with how long it takes here, for all chosen models together, as they become known."""
        sums = {}
        slow = _titles(slow=True)
        for number, (name, title) in enumerate(slow.items()):
            progress(number / len(slow), desc=title)
            for model in models:
                if (model, name) not in self.estimates:
                    self.estimates[model, name] = seconds(self.shelf.open(model), name)
            sums[name] = sum(self.estimates[model, name] or 0.0 for model in models)
            yield gr.CheckboxGroup(_slow_choices(sums))

    def stop(self, request: gr.Request) -> str:
        self.jobs.stop(request.session_hash)
        return html_comparison.said("Stopped. What was done stays.")

    def leave(self, request: gr.Request) -> None:
        """The page was closed: nobody waits for its work."""
        self.jobs.stop(request.session_hash)

    def another_film(self, held: predict.Held | None, request: gr.Request) -> tuple[Any, ...]:
        """What was compared is of another film: it goes, and its work ends."""
        self.jobs.stop(request.session_hash)
        return html_comparison.film(held), "", "", None, {}, None

    def another_model(self, model: str, models: list[str]) -> list[str]:
        """The model that reads the film, and those chosen already that are for the same patients."""
        return [model, *(own for own in models if own != model and self._group(own) == self._group(model))]

    def _group(self, model: str) -> str | None:
        return whose_film.group_of(self.shelf.config(model).population)

    def show_large(self, views: Views, event: gr.EventData) -> View | None:
        return views.get(event.choice)


def _slow_choices(sums: dict[str, float]) -> list[tuple[str, str]]:
    """(shown, name) of every method that is not quick, with the seconds that are known."""
    slow = _titles(slow=True).items()
    return [(title + (f", {_about(sums[name])}" if name in sums else ""), name) for name, title in slow]


def _titles(*, slow: bool) -> dict[str, str]:
    """The titles of the quick methods or of the slow ones, by name."""
    return {name: method.title for name, method in methods().items() if (method.cost != "quick") == slow}


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"
