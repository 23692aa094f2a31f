"""The page: its components, and the wires between them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import gradio as gr
import html_finding
import html_gallery
import html_model
import predict
from api import Answer, answer
from model_registry import PREDICTED, REFINEMENTS, Shelf
from samples import Samples

from hf_pneumo.imaging.reader import XrayReadError
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.reporting.checkpoint_report import Report, read_report
from hf_pneumo.serving.outcome import NotJudged
from hf_pneumo.serving.predictor import BOX_THRESHOLD, Predictor

logger = logging.getLogger(__name__)

TITLE = "Pneumonia on chest X\N{NON-BREAKING HYPHEN}rays"
PURGE = (600, 3600)  # every ten minutes, what is older than an hour
SESSIONS = 3600  # seconds for which a session's last finding is held
MODEL_QUEUE = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}
LIGHT = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
FINDING_TAB = "finding"
PATIENCE = 8.0  # seconds for which an opened page waits for more examples
# Clicks on a button within a piece of HTML reach Python with its data-choice; other clicks do not.
CHOICES = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-choice]');
  if (button) trigger('click', {choice: button.dataset.choice});
});
"""


def build_demo(model: Shelf | Predictor | str | os.PathLike[str], *, samples: Samples | None = None) -> gr.Blocks:
    """The page for ``model``: a shelf of checkpoints, a predictor, a folder, or ``user/repo[@revision]``.

    ``samples``: the example films; None draws phantoms and asks the Hub in the background.
    """
    shelf = model if isinstance(model, Shelf) else Shelf([model])
    return _Page(shelf, samples or Samples()).demo


class _Page:
    def __init__(self, shelf: Shelf, samples: Samples) -> None:
        self.shelf, self.samples = shelf, samples
        with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=PURGE, fill_width=True) as self.demo:
            self._build()
            self._wire()
            self._endpoint()
        self.demo.queue(max_size=64)

    # What one sees ---------------------------------------------------------------------------------------------

    def _build(self) -> None:
        checkpoint = self.shelf.open().checkpoint
        gr.HTML(
            f'<header class="hp-title"><h1>{TITLE}</h1><p>A calibrated probability, a verdict that may abstain, and '
            "the place the evidence lies.</p></header>"
        )
        self.banner = gr.HTML(html_model.banner(checkpoint))
        with gr.Row(elem_classes="hp-columns"):
            with gr.Column(min_width=280, elem_classes="hp-film"):
                self.film = gr.File(label="Film", type="filepath", height=140, elem_id="film")
                self.examples = gr.HTML(js_on_load=CHOICES, elem_id="examples")
            with gr.Column(min_width=280, elem_classes="hp-answer"), gr.Tabs() as self.tabs:
                with gr.Tab("Finding", id=FINDING_TAB):
                    self._build_finding()
                with gr.Tab("Compare methods"):
                    self._build_comparison()
                with gr.Tab("Model"):
                    self.about = gr.HTML(html_model.about(checkpoint, _report(checkpoint)))
            with gr.Column(min_width=280, elem_classes="hp-controls"):
                self._build_controls()
        self.held = gr.State(time_to_live=SESSIONS)

    def _build_controls(self) -> None:
        desk = self.shelf.open()
        self.model = gr.Dropdown(
            self.shelf.names, value=self.shelf.default, label="Checkpoint", filterable=False, elem_id="model",
            visible=len(self.shelf.names) > 1,
        )  # fmt: skip
        method, refinement = desk.first
        self.method = gr.Dropdown(
            desk.method_choices, value=method, label="Explanation", filterable=False, elem_id="method"
        )
        self.refinement = gr.Dropdown(
            REFINEMENTS, value=refinement, label="Refinement of the map", filterable=False, elem_id="refinement"
        )
        targets = desk.target_choices
        self.target = gr.Dropdown(
            targets, value=targets[0][1], label="Label to explain", filterable=False, elem_id="target"
        )
        self.threshold = gr.Slider(
            0.1, 0.95, BOX_THRESHOLD, step=0.05, label="Box threshold", info="share of the map's maximum", buttons=[]
        )
        self.always = gr.Checkbox(False, label="Boxes also where the verdict is normal")

    def _build_finding(self) -> None:
        self.verdict = gr.HTML(html_finding.blank(), js_on_load=CHOICES, elem_id="verdict")
        self.anyway = gr.Button("Judge it anyway", visible=False, elem_id="anyway")
        with gr.Column(visible=False, elem_id="result") as self.result:
            self.slider = gr.ImageSlider(
                type="pil", format="png", interactive=False, show_label=False, buttons=["fullscreen"],
                max_height=640, elem_id="overlay",
            )  # fmt: skip
            self.caption = gr.HTML()
            self.evidence = gr.HTML(elem_id="evidence")
            self.download = gr.DownloadButton(
                "Download overlay, map and manifest (zip)", interactive=False, elem_id="download"
            )

    def _build_comparison(self) -> None:
        gr.HTML(
            '<p class="hp-lead">All quick methods on the same film and label, side by side, and how far they agree '
            "about place.</p>"
        )
        self.compare = gr.Button("Compare", variant="primary", elem_id="compare")
        self.comparison = gr.HTML(js_on_load=CHOICES, elem_id="comparison")

    # What happens ----------------------------------------------------------------------------------------------

    def _wire(self) -> None:
        asked = [
            self.film, self.model, self.method, self.refinement, self.target, self.threshold, self.always, self.held
        ]  # fmt: skip
        shown = [self.held, self.verdict, self.anyway, self.result, self.slider, self.caption, self.evidence]
        judging = {**MODEL_QUEUE, "show_progress_on": [self.verdict], "trigger_mode": "always_last"}

        def judged_after(event: Any) -> None:
            event.then(self.judge, asked, shown, **judging).then(self.pack, self.held, self.download, **LIGHT)

        self.demo.load(self.show_examples, None, self.examples, **LIGHT)
        self.examples.click(self.take_example, None, self.film, **LIGHT)
        choosable = [self.banner, self.about, self.method, self.refinement, self.target]
        judged_after(self.model.input(self.choose_model, self.model, choosable, **MODEL_QUEUE))
        judged_after(self.verdict.click(self.take_choice, None, self.target, **LIGHT))
        judged_after(self.comparison.click(self.take_method, None, [self.method, self.tabs], **LIGHT))
        controls = [
            self.film.change, self.method.input, self.refinement.input, self.target.input, self.threshold.release,
            self.always.input,
        ]  # fmt: skip
        gr.on(controls, self.judge, asked, shown, **judging).then(self.pack, self.held, self.download, **LIGHT)
        self.anyway.click(self.judge_anyway, asked, shown, **judging).then(self.pack, self.held, self.download, **LIGHT)
        stale = [self.film.change, self.model.input, self.refinement.input, self.target.input, self.verdict.click]
        gr.on(stale, lambda: "", None, self.comparison, **LIGHT)
        chosen = [self.held, self.model, self.target, self.refinement]
        self.compare.click(self.compare_methods, chosen, self.comparison, **MODEL_QUEUE)

    def show_examples(self) -> Iterator[str]:
        """The examples at hand, then once more with those that the Hub has sent meanwhile."""
        shown = -1
        for wait in (0.0, PATIENCE):
            found = self.samples.ready(wait)
            if len(found) != shown:
                yield html_gallery.examples(found)
            shown = len(found)

    def take_example(self, event: gr.EventData) -> str:
        return str(self.samples.ready()[int(event.choice)].path)

    def take_choice(self, event: gr.EventData) -> str:
        return event.choice

    def take_method(self, event: gr.EventData) -> tuple[str, gr.Tabs]:
        return event.choice, gr.Tabs(selected=FINDING_TAB)

    def choose_model(self, name: str) -> tuple[Any, ...]:
        try:
            desk = self.shelf.open(name)
        except CheckpointError as error:
            gr.Warning(str(error), title="Checkpoint")
            return (gr.skip(),) * 5
        targets, (method, refinement) = desk.target_choices, desk.first
        return (
            html_model.banner(desk.checkpoint),
            html_model.about(desk.checkpoint, _report(desk.checkpoint)),
            gr.Dropdown(desk.method_choices, value=method),
            refinement,
            gr.Dropdown(targets, value=targets[0][1]),
        )

    def judge(
        self,
        path: str | None,
        model: str,
        method: str,
        refinement: str,
        target: str,
        threshold: float,
        always: bool,
        held: predict.Read | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> tuple[Any, ...]:
        """Everything that the page says of the film, or one sentence on why it cannot."""
        anyway = held is not None and held.anyway and held.is_of(path)  # asked for once, it holds for the film
        return self._judged(path, model, method, refinement, target, threshold, always, held, progress, anyway)

    def judge_anyway(
        self,
        path: str | None,
        model: str,
        method: str,
        refinement: str,
        target: str,
        threshold: float,
        always: bool,
        held: predict.Read | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:
        """The same of a picture that does not look like a film."""
        return self._judged(path, model, method, refinement, target, threshold, always, held, progress, True)

    def _judged(
        self,
        path: str | None,
        model: str,
        method: str,
        refinement: str,
        target: str,
        threshold: float,
        always: bool,
        held: predict.Read | None,
        progress: gr.Progress,
        anyway: bool,
    ) -> tuple[Any, ...]:
        if not path:
            return self._nothing(html_finding.blank())
        try:
            desk = self.shelf.open(model)
            title = desk.methods[method].title
            read = predict.judge(
                path, desk, method, target, threshold, always, refinement=refinement, anyway=anyway, held=held,
                progress=lambda share: progress(share, desc=title),
            )  # fmt: skip
        except (XrayReadError, CheckpointError, ValueError) as error:
            gr.Warning(str(error), title="This could not be read")
            return self._nothing(html_finding.problem(str(error)))
        outcome, checkpoint = read.outcome, desk.checkpoint
        if isinstance(outcome, NotJudged):
            return self._nothing(html_finding.not_judged(outcome), read)
        return (
            read,
            html_finding.verdict(outcome, checkpoint),
            gr.Button(visible=False),
            gr.Column(visible=True),
            predict.views(outcome),
            html_finding.caption(outcome, desk.evidence.caution(method, refinement)),
            html_finding.evidence(outcome, checkpoint),
        )

    def _nothing(self, verdict: str, read: predict.Read | None = None) -> tuple[Any, ...]:
        return read, verdict, gr.Button(visible=read is not None), gr.Column(visible=False), None, "", ""

    def pack(self, held: predict.Read | None) -> gr.DownloadButton:
        if held is None or isinstance(held.outcome, NotJudged):
            return gr.DownloadButton(value=None, interactive=False)
        return gr.DownloadButton(value=predict.pack(held.outcome, held.desk, self.download), interactive=True)

    def compare_methods(
        self,
        held: predict.Read | None,
        model: str,
        target: str,
        refinement: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> str:
        if held is None:
            return html_finding.problem("There is no film yet: drop one in or take an example.")
        if isinstance(held.outcome, NotJudged):
            return html_finding.not_judged(held.outcome)
        desk = self.shelf.open(model)
        film = held.outcome.film
        found, table = predict.compare(film, desk, target, refinement, progress, anyway=held.anyway)
        return html_gallery.comparison(found) + html_gallery.agreement_table(table)

    # What programs call ----------------------------------------------------------------------------------------

    def _endpoint(self) -> None:
        with gr.Row(visible=False):
            film = gr.File(label="film", type="filepath")
            desk = self.shelf.open()
            first, best = desk.first
            method = gr.Dropdown([name for _, name in desk.method_choices], value=first, label="method")
            target = gr.Textbox(PREDICTED, label="target")
            refinement = gr.Dropdown([name for _, name in REFINEMENTS], value=best, label="refinement")
            anyway = gr.Checkbox(False, label="judge_anyway")
            finding, self.overlay = gr.JSON(label="finding"), gr.File(label="overlay")
            self.archive, button = gr.File(label="archive"), gr.Button()
        button.click(
            self.predict, [film, method, target, refinement, anyway], [finding, self.overlay, self.archive],
            api_name="predict", **MODEL_QUEUE | {"api_visibility": "public"},
        )  # fmt: skip

    def predict(
        self, film: str, method: str = "", target: str = PREDICTED, refinement: str = "", judge_anyway: bool = False
    ) -> tuple[Answer, str | None, str | None]:
        """Judge one frontal chest X-ray and show where the evidence lies. For research, not for diagnosis.

        Args:
            film: path of a PNG, JPEG, TIFF, WebP, BMP or DICOM file, 8 to 16 bits.
            method: explanation method, such as "gradcam"; left out, the one that the page shows first.
            target: label to explain; empty for the finding that stands first.
            refinement: "plain", "lungs" (held to the lungs), "smooth" (mean of ten views) or "smooth+lungs"; left out,
                what the page shows first.
            judge_anyway: also judge a picture that does not look like an upright frontal chest film.

        Returns:
            finding: status, "judged" or "not judged", and reason, why not; verdict; finding, the name of what stands
                first, and its probability in [0, 1]; scores and verdicts by label; sets, the answers possible at
                coverage; suspect, why a picture is unlike the training films, or null; boxes [x, y, width, height,
                heat] in pixels of the film; notes of the input checks; the manifest.
            overlay: PNG file, the heatmap and boxes over the film, in the film's own pixels; none if it is not judged.
            archive: zip file of overlay.png, heatmap.npy (float32, height x width, in [0, 1]) and manifest.json; none
                if it is not judged.
        """
        if not film:
            raise gr.Error("`film` is empty; give an image or DICOM file.", print_exception=False)
        desk = self.shelf.open()
        try:
            first, best = desk.first
            outcome = predict.judge(
                film, desk, method or first, target, BOX_THRESHOLD, False,
                refinement=refinement or best, anyway=judge_anyway,
            ).outcome  # fmt: skip
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        said = answer(outcome, desk.checkpoint)
        if isinstance(outcome, NotJudged):
            return said, None, None
        overlay = predict.store_overlay(outcome, self.overlay)
        return said, overlay, predict.pack(outcome, desk, self.archive)


def _report(checkpoint: Checkpoint) -> Report:
    """What was measured of the checkpoint; nothing where a file of it is damaged, which the page outlives."""
    try:
        return read_report(checkpoint.path)
    except (CheckpointError, OSError) as error:
        logger.warning("the results of %s are not shown: %s", checkpoint.name, error)
        return Report()
