"""Read: one film, its verdict, and where the evidence lies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import gradio as gr
import html_finding
import html_gallery
import html_model
import predict
import whose_film
from common import CHOICES, LIGHT, MODEL_QUEUE, Common
from components.film_drop import film_drop, uploaded
from components.menu import Menu, menu
from components.viewer import view_of, viewer
from gradio.components import Component
from model_registry import OWN_MAP, REFINEMENTS, Desk

from hf_pneumo.evaluation.explanations.variants import PLAIN
from hf_pneumo.explain.registry import methods
from hf_pneumo.imaging.reader import Xray, XrayReadError
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.serving.outcome import Finding, NotJudged
from hf_pneumo.serving.predictor import BOX_THRESHOLD

AS_MEASURED = "The model's own"
PATIENCE = 8.0  # seconds for which an opened page waits for more examples
Values = dict[
    Component | gr.Column, Any
]  # what stands, or is to stand, in components; outputs left out stay as they are


class Read:
    """A film, for whom it is read, the answer, and what can be asked beyond it.

    One event answers everything that may change: a browser asks it again only after it has answered, with what is
    chosen by then. So the last choice is what is shown, and all of it is of one film and one checkpoint.
    """

    name, title = "read", "Read"

    def __init__(self, common: Common) -> None:
        self.shelf, self.samples = common.shelf, common.samples
        self.film, self.model, self.held = common.film, common.model, common.held
        with gr.Row(elem_classes="hp-columns"):
            with gr.Column(min_width=280, elem_classes="hp-film"):
                self._build_film()
            with gr.Column(min_width=280, elem_classes="hp-answer"):
                self._build_answer()
            with gr.Column(min_width=280, elem_classes="hp-examples"):
                self.examples = gr.HTML(js_on_load=CHOICES, elem_id="examples")
        # What a reload brings back: the film's path on the server, and what was chosen for it.
        self.kept = gr.BrowserState({}, storage_key="hf-pneumo-film")
        self._wire(common.demo)

    # What one sees ---------------------------------------------------------------------------------------------------

    def _build_film(self) -> None:
        self.drop = film_drop("film")
        groups = whose_film.choices(self.shelf)
        self.whose = gr.Radio(groups, label="Whose film", elem_id="whose", visible=len(groups) > 1)
        self.asks_whose = len(groups) > 1
        self.trained_on = gr.HTML(html_model.trained_on_note(self.shelf.open().checkpoint), elem_id="trained-on")

    def _build_answer(self) -> None:
        self.verdict = gr.HTML(html_finding.blank(), js_on_load=CHOICES, elem_id="verdict")
        self.ask_anyway = gr.Button("Judge it anyway", visible=False, elem_id="anyway")
        with gr.Column(visible=False, elem_id="result") as self.result:
            self.viewer = viewer("viewer")
            self.caption = gr.HTML(elem_id="caption")
            self.limits = gr.HTML(elem_id="limits")
            self.evidence = gr.HTML(elem_id="evidence")
            self.download = gr.DownloadButton(
                "Download overlay, map and manifest (zip)", interactive=False, elem_id="download"
            )
        with gr.Accordion("Advanced", open=False, elem_id="advanced") as self.advanced:
            self._build_controls()

    def _build_controls(self) -> None:
        self.model.render()
        first = Menu(of="", choices=[(AS_MEASURED, "")], chosen="")  # until a film says whose methods and labels
        with gr.Row():
            self.method = menu("Method of the map", first, "method")
            self.refinement = gr.Dropdown(
                REFINEMENTS, value=OWN_MAP, label="How the map is refined", filterable=False, elem_id="refinement"
            )
            self.target = menu("Finding to explain", first, "target")
        self.threshold = gr.Slider(
            0.1, 0.95, BOX_THRESHOLD, step=0.05, label="Boxes from this share of the map's maximum", buttons=[],
            elem_id="threshold",
        )  # fmt: skip
        self.always = gr.Checkbox(False, label="Boxes also where the verdict is normal")

    # What happens ----------------------------------------------------------------------------------------------------

    def _wire(self, demo: gr.Blocks) -> None:
        asked = {
            self.film, self.drop, self.whose, self.model, self.method, self.refinement, self.target, self.threshold,
            self.always, self.held, self.kept,
        }  # fmt: skip
        shown = [
            self.film, self.drop, self.whose, self.model, self.held, self.kept, self.trained_on,
            self.method, self.refinement, self.target, self.verdict, self.ask_anyway, self.result, self.viewer,
            self.caption, self.limits, self.evidence,
        ]  # fmt: skip
        changes = [
            demo.load, self.drop.upload, self.examples.click, self.whose.input, self.model.input, self.method.input,
            self.refinement.input, self.target.input, self.verdict.click, self.threshold.release, self.always.input,
            self.ask_anyway.click,
        ]  # fmt: skip
        judging = {**MODEL_QUEUE, "show_progress_on": [self.verdict], "trigger_mode": "always_last"}
        gr.on(changes, self.answer, asked, shown, **judging).then(self.pack, self.held, self.download, **LIGHT)
        demo.load(self.show_examples, None, self.examples, **LIGHT)
        self.advanced.expand(self.offer_methods, [self.model, self.method], self.method, **LIGHT)

    def show_examples(self) -> Iterator[str]:
        """The examples at hand, then once more with those that the Hub has sent meanwhile."""
        shown = -1
        for wait in (0.0, PATIENCE):
            found = self.samples.ready(wait)
            if len(found) != shown:
                yield html_gallery.examples(found)
            shown = len(found)

    def offer_methods(self, model: str, present: Menu) -> Menu:
        """All quick methods of the checkpoint: to know them takes torch, which the first answer does without."""
        desk = self.shelf.open(model)
        chosen = present["chosen"] if present["of"] == model else desk.first[0]
        return Menu(of=model, choices=desk.quick_choices, chosen=chosen)

    def answer(
        self,
        asked: Values,
        event: gr.EventData,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> Values:
        """Everything that the page says of the film, or one sentence on why it cannot."""
        before = dict(asked)
        source = event.target and event.target.elem_id  # a session may have a copy of the component
        method = self._take(asked, source, event, request)
        try:
            answer = self._answer(asked, method, source == self.ask_anyway.elem_id, progress)
        except (XrayReadError, CheckpointError, ValueError) as error:
            answer = self._nothing(asked, html_finding.problem(str(error)))
        # What was sent is not sent back: it would undo a choice that was made meanwhile.
        choices = (self.whose, self.model, self.method, self.refinement, self.target)
        return {part: value for part, value in answer.items() if part not in choices or value != before[part]}

    def _take(self, asked: Values, source: str | None, event: gr.EventData, request: gr.Request) -> str:
        """Bring what was just done, or what the page was opened with, into what is ``asked``.

        ``source``: the id of the element that it was done to; None where the page was opened. The answer is the method
        that the page was opened with, if any.
        """
        if source == self.drop.elem_id:
            asked[self.film] = uploaded(asked[self.drop])
        elif source == self.examples.elem_id:
            self._take_example(asked, event.choice)
        elif source == self.verdict.elem_id and asked[self.held] is None:
            asked[self.whose] = event.choice
        elif source == self.verdict.elem_id:
            asked[self.target] = {**asked[self.target], "chosen": event.choice}
        elif source == self.model.elem_id:
            asked[self.whose] = whose_film.group_of(self.shelf.config(asked[self.model]).population)
        elif source is None:
            return self._restore(asked, dict(request.query_params))
        if source != self.model.elem_id and asked[self.whose]:
            self._choose_for(asked, asked[self.whose])
        return ""

    def _take_example(self, asked: Values, number: str) -> None:
        asked[self.film] = str(self.samples.ready()[int(number)].path)
        if self.asks_whose:
            asked[self.whose] = asked[self.whose] or whose_film.CHILD

    def _choose_for(self, asked: Values, group: str) -> None:
        """The checkpoint for ``group``, unless the one that is chosen is for it already."""
        if whose_film.group_of(self.shelf.config(asked[self.model]).population) != group:
            asked[self.model] = whose_film.checkpoint_for(self.shelf, group) or asked[self.model]

    def _restore(self, asked: Values, link: dict[str, str]) -> str:
        """What a link says, else what this browser was shown last; the answer is the method."""
        kept = {} if link.keys() & {"model", "method", "example"} else asked[self.kept] or {}
        if film := self._known(kept.get("film")):
            asked[self.film] = film
        elif link.get("example", "").isdigit() and int(link["example"]) < len(self.samples.ready()):
            self._take_example(asked, link["example"])
        asked[self.whose] = kept.get("whose", asked[self.whose])
        chosen = link.get("model") or kept.get("model")
        if chosen in self.shelf.names:
            asked[self.model] = chosen
            asked[self.whose] = whose_film.group_of(self.shelf.config(chosen).population)
        return link.get("method") or kept.get("method") or ""

    def _known(self, path: str | None) -> str | None:
        """``path``, if it is an upload or an example and still there: what a browser keeps may be any text."""
        example = any(path == str(sample.path) for sample in self.samples.ready())
        return path if path and (example or uploaded(path)) and os.path.isfile(path) else None

    def _answer(self, asked: Values, method: str, ask_anyway: bool, progress: gr.Progress) -> Values:
        path, held = asked[self.film], asked[self.held]
        if not path:
            return self._nothing(asked, html_finding.blank())
        held = held if held is not None and held.is_of(path) else None
        film = held.outcome.film if held else predict.read_film(path)
        if not held and self._is_unasked(asked, film):
            return self._nothing(asked, html_finding.whose(whose_film.choices(self.shelf)))
        desk = self.shelf.open(asked[self.model])
        menus = self._menus(desk, asked, method)
        held = predict.judge(
            path, desk, asked[self.method]["chosen"], asked[self.target]["chosen"], asked[self.threshold],
            asked[self.always],
            refinement=asked[self.refinement],
            anyway=ask_anyway or bool(held and held.anyway),  # asked for once, it holds for the film
            held=held, film=film, progress=progress,
        )  # fmt: skip
        return menus | self._chosen(asked) | self._outcome(held, asked)

    def _is_unasked(self, asked: Values, film: Xray) -> bool:
        """Whether nobody has said whose the film is; what its header says stands above what was chosen before."""
        if not self.asks_whose:
            return False
        if group := whose_film.group_of_age(film.age):
            asked[self.whose] = group
            self._choose_for(asked, group)
        return not asked[self.whose]

    def _menus(self, desk: Desk, asked: Values, method: str) -> Values:
        """What stands in the menus. Where they are another checkpoint's, ``asked`` is what this one shows first."""
        first, best = desk.first
        if method and method != first and method in desk.quick:
            asked[self.method], asked[self.refinement] = _methods(desk, method), PLAIN
        elif asked[self.method]["of"] != desk.checkpoint.name:
            asked[self.method], asked[self.refinement] = _methods(desk, first), best
        if asked[self.target]["of"] != desk.checkpoint.name:
            asked[self.target] = _targets(desk)
        return {
            self.trained_on: html_model.trained_on_note(desk.checkpoint),
            **{menu: asked[menu] for menu in (self.method, self.refinement, self.target)},
        }

    def _chosen(self, asked: Values) -> Values:
        kept = {
            "film": asked[self.film], "whose": asked[self.whose], "model": asked[self.model],
            "method": asked[self.method]["chosen"],
        }  # fmt: skip
        return {
            self.film: asked[self.film],
            self.whose: asked[self.whose],
            self.model: asked[self.model],
            self.kept: kept,
        }

    def _outcome(self, held: predict.Held, asked: Values) -> Values:
        outcome, desk = held.outcome, held.desk
        if isinstance(outcome, NotJudged):
            return self._nothing(asked, html_finding.not_judged(outcome), held)
        caution = desk.evidence.caution(asked[self.method]["chosen"], asked[self.refinement])
        return {
            self.held: held,
            self.verdict: html_finding.verdict(outcome, desk.checkpoint, desk.validation),
            self.ask_anyway: gr.Button(visible=False),
            self.result: gr.Column(visible=True),
            self.viewer: view_of(outcome, self.samples.planted(held.path)),
            self.caption: html_finding.caption(outcome),
            self.limits: html_finding.cannot_say(desk.checkpoint, desk.validation, caution),
            self.evidence: html_finding.evidence(outcome, desk.checkpoint),
        }

    def _nothing(self, asked: Values, verdict: str, held: predict.Held | None = None) -> Values:
        return self._chosen(asked) | {
            self.held: held,
            self.verdict: verdict,
            self.ask_anyway: gr.Button(visible=held is not None),
            self.result: gr.Column(visible=False),
            self.viewer: None,
        }

    def pack(self, held: predict.Held | None) -> gr.DownloadButton:
        if held is None or not isinstance(held.outcome, Finding):
            return gr.DownloadButton(value=None, interactive=False)
        return gr.DownloadButton(value=predict.pack(held.outcome, held.desk, self.download), interactive=True)


def _methods(desk: Desk, chosen: str) -> Menu:
    choices = desk.quick_choices if "torch" in sys.modules else [(methods()[chosen].title, chosen)]
    return Menu(of=desk.checkpoint.name, choices=choices, chosen=chosen)


def _targets(desk: Desk) -> Menu:
    choices = desk.target_choices
    return Menu(of=desk.checkpoint.name, choices=choices, chosen=choices[0][1])
