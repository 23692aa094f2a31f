"""Trust: how good the checkpoint is on films like this one, what a threshold means, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import html_model
import predict
from common import LIGHT, Common
from components.menu import Menu, menu

if TYPE_CHECKING:
    from measured import Measured

LOWEST, HIGHEST = 0.01, 0.99  # of both sliders


class Trust:
    """The figures of the checkpoint that is chosen, at a threshold and for a share of ill people that one sets."""

    name, title = "trust", "Trust"

    def __init__(self, common: Common) -> None:
        self.shelf = common.shelf
        self._measured: dict[str, Measured] = {}
        gr.HTML(
            '<p class="hp-lead">Move the sliders: what would this model get right, and what wrong, among the films of '
            "your ward?</p>"
        )
        self.finding = menu("Finding", Menu(of="", choices=[], chosen=""), "trust-finding")
        with gr.Row():
            threshold, prevalence = (
                gr.Slider(
                    LOWEST, HIGHEST, 0.5, step=0.01, label=label, buttons=[], min_width=280, elem_id=f"trust-{name}"
                )
                for label, name in (
                    ("Called positive from this probability on", "threshold"),
                    ("Share of films that have it", "prevalence"),
                )
            )
        operating = gr.HTML(elem_id="operating")
        figures = [gr.HTML(elem_id=name) for name in ("groups", "shown-map", "figures")]
        sliders = [threshold, prevalence]
        asked = [common.model, self.finding, *sliders]
        shown = [self.finding, *sliders, operating, *figures]
        common.tabs.select(self.show, [*asked, common.held], shown, **LIGHT)
        self.finding.input(self.of_finding, [common.model, self.finding], [*sliders, operating], **LIGHT)
        gr.on(
            [event for slider in sliders for event in (slider.input, slider.release)],
            self.at, asked, operating, trigger_mode="always_last", **LIGHT,
        )  # fmt: skip

    def show(
        self,
        model: str,
        finding: Menu,
        threshold: float,
        prevalence: float,
        held: predict.Held | None,
        event: gr.SelectData,
    ) -> list[Any]:
        """All of it, where it is this tab that was opened; the sliders stay where they are for the same checkpoint."""
        if event.value != self.title:
            return [gr.skip()] * 7
        if finding["of"] == model:
            begun = [gr.skip()] * 3 + [self.at(model, finding, threshold, prevalence)]
        else:
            names = list(self._of(model).films)
            chosen = Menu(of=model, choices=[(name, name) for name in names], chosen=names[0] if names else "")
            begun = [gr.update(value=chosen, visible=len(names) > 1), *self.of_finding(model, chosen)]
        return begun + self.figures(model, held)

    def of_finding(self, model: str, finding: Menu) -> tuple[float, float, str]:
        """The threshold of the finding that is chosen, the share of the measured films that have it, the figures."""
        films = self._of(model).films.get(finding["chosen"])
        if films is None:
            return 0.5, 0.5, self.at(model, finding, 0.5, 0.5)
        config = self.shelf.config(model)
        threshold = config.operating_point.thresholds[config.labels.score_names.index(finding["chosen"])]
        values = [round(min(max(value, LOWEST), HIGHEST), 2) for value in (threshold, films.prevalence)]
        return values[0], values[1], self.at(model, finding, values[0], values[1])

    def at(self, model: str, finding: Menu, threshold: float, prevalence: float) -> str:
        """The figures where the sliders stand."""
        import html_trust

        measured, name = self._of(model), finding["chosen"]
        if measured.test is None or name not in measured.films:
            return html_trust.nothing("This checkpoint holds no predictions of test films.")
        return html_trust.operating(measured.films[name], measured.test, name, threshold, prevalence)

    def figures(self, model: str, held: predict.Held | None) -> list[str]:
        """By kind of film, of the map, and the checkpoint's account of itself."""
        import html_trust

        desk, report = self.shelf.open(model), self._of(model).report
        film = held.outcome.film if held else None
        return [
            html_trust.groups(report, film),
            html_trust.shown_map(report, *desk.first),
            html_model.about(desk.checkpoint, report),
        ]

    def _of(self, model: str) -> Measured:
        from measured import Measured  # with torch, as are the pages of figures: the page is there before it

        if model not in self._measured:
            self._measured[model] = Measured.of(self.shelf.open(model).checkpoint)
        return self._measured[model]
