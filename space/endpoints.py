"""What programs and MCP clients call: the page's public endpoints. A line of a docstring's Args is one argument."""

from __future__ import annotations

from typing import Any

import gradio as gr
import predict
from api import (
    Answer,
    BatchAnswer,
    CompareAnswer,
    ModelAnswer,
    answer,
    batch_answer,
    compare_answer,
    model_answer,
)
from batch import BATCH_QUEUE
from batch_files import BatchError
from batch_job import DICOM, OVERLAYS, WRITES_DICOM, BatchJob
from common import LIGHT, MODEL_QUEUE
from comparison import Comparison, compare
from model_registry import REFINEMENTS, Desk, Shelf
from slow_work import SLOW_QUEUE, Job, Stopped

from hf_pneumo.evaluation.explanations.variants import PLAIN
from hf_pneumo.explain.registry import methods
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.serving.outcome import NotJudged
from hf_pneumo.serving.predictor import BOX_THRESHOLD

PUBLIC: dict[str, Any] = {"api_visibility": "public"}


def add_endpoints(shelf: Shelf) -> None:
    """Add the endpoints to the `gr.Blocks` that is being built."""
    with gr.Row(visible=False):
        for endpoint in (_Predict, _Compare, _Batch, _Models):
            endpoint(shelf)


def _model(shelf: Shelf) -> gr.Dropdown:
    return gr.Dropdown(shelf.names, value=shelf.default, label="model")


def _desk(shelf: Shelf, model: str) -> Desk:
    try:
        return shelf.open(model)
    except CheckpointError as error:
        raise gr.Error(str(error), print_exception=False) from None


class _Predict:
    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        asked = [
            gr.File(label="film", type="filepath"),
            gr.Dropdown(["", *methods()], value="", label="method"),
            gr.Textbox("", label="target"),
            gr.Dropdown(["", *(name for _, name in REFINEMENTS)], value="", label="refinement"),
            gr.Checkbox(False, label="judge_anyway"),
            _model(shelf),
        ]
        self.overlay, self.archive = gr.File(label="overlay"), gr.File(label="archive")
        answered = [gr.JSON(label="finding"), self.overlay, self.archive]
        gr.Button().click(self.predict, asked, answered, api_name="predict", **MODEL_QUEUE | PUBLIC)

    def predict(
        self,
        film: str,
        method: str = "",
        target: str = "",
        refinement: str = "",
        judge_anyway: bool = False,
        model: str = "",
    ) -> tuple[Answer, str | None, str | None]:
        """Judge one frontal chest X-ray and show where the evidence lies. For research, not for diagnosis.

        Args:
            film: path of a PNG, JPEG, TIFF, WebP, BMP or DICOM file, 8 to 16 bits.
            method: explanation method, such as "gradcam"; left out, the one that the page shows first.
            target: label to explain; empty for the finding that stands first.
            refinement: "plain", "lungs", "smooth" (mean of ten views) or "smooth+lungs"; left out, the page's own.
            judge_anyway: also judge a picture that does not look like an upright frontal chest film.
            model: name of the checkpoint, one of those that the endpoint models lists; left out, the first of them.

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
        desk = _desk(self.shelf, model)
        first, best = desk.first
        method = method or first
        if method != first and method not in desk.methods:  # which to know takes torch
            suited = ", ".join(desk.methods)
            raise gr.Error(f"`method` is {method!r}; {desk.checkpoint.name} takes {suited}", print_exception=False)
        try:
            outcome = predict.judge(
                film, desk, method, target, BOX_THRESHOLD, False,
                # Another method than the first was not measured in its way.
                refinement=refinement or (best if method == first else PLAIN), anyway=judge_anyway,
            ).outcome  # fmt: skip
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        said = answer(outcome, desk.checkpoint)
        if isinstance(outcome, NotJudged):
            return said, None, None
        overlay = predict.store_overlay(outcome, self.overlay)
        return said, overlay, predict.pack(outcome, desk, self.archive)


class _Compare:
    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        asked = [
            gr.File(label="film", type="filepath"),
            gr.CheckboxGroup(shelf.names, value=[shelf.default], label="models"),
            gr.CheckboxGroup(list(methods()), value=[], label="methods"),
        ]
        gr.Button().click(self.compare, asked, gr.JSON(label="comparison"), api_name="compare", **SLOW_QUEUE | PUBLIC)

    def compare(self, film: str, models: list[str], methods: list[str]) -> CompareAnswer:
        """Explain one chest X-ray by several models and methods, and say how far they agree. For research alone.

        Args:
            film: path of a PNG, JPEG, TIFF, WebP, BMP or DICOM file, 8 to 16 bits.
            models: names of checkpoints, of those that the endpoint models lists; left out, the first of them.
            methods: explanation methods, such as "gradcam"; left out, all that cost about one prediction.

        Returns:
            comparison: cells, for each model and method verdict, probability, what is explained, the place [x, y] of
                the map's maximum and boxes [x, y, width, height, heat] in pixels of the film, or why there is none;
                agreement, by model the rank correlations in [-1, 1] of each two methods' maps; between_models, by
                method the mean of those of each two models; judged_anyway, what speaks against the picture, or null.
        """
        if not film:
            raise gr.Error("`film` is empty; give an image or DICOM file.", print_exception=False)
        desks = {name: _desk(self.shelf, name) for name in models or [self.shelf.default]}
        job, comparison = Job(), Comparison()
        try:
            read = predict.read_film(film)
            asked = methods or list(next(iter(desks.values())).quick)
            for cell in compare(read, desks, asked, lambda *_: job.check()):
                comparison.cells[cell.model, cell.method] = cell
        except (ValueError, Stopped) as error:
            raise gr.Error(str(error), print_exception=False) from None
        return compare_answer(comparison)


class _Batch:
    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        asked = [gr.File(file_count="multiple", label="films"), _model(shelf), gr.Checkbox(False, label="as_dicom")]
        self.table, self.overlays, self.dicom = (gr.File(label=name) for name in ("table", "overlays", "dicom"))
        answered = [gr.JSON(label="films"), self.table, self.overlays, self.dicom]
        gr.Button().click(self.batch, asked, answered, api_name="batch", **BATCH_QUEUE | PUBLIC)

    def batch(
        self, films: list[str], model: str = "", as_dicom: bool = False
    ) -> tuple[BatchAnswer, str, str | None, str | None]:
        """Judge many chest X-rays, one after another. For research, not for diagnosis.

        Args:
            films: paths of images, DICOM files and zip archives of them.
            model: name of the checkpoint, one of those that the endpoint models lists; left out, the first of them.
            as_dicom: also write heatmap and report of each DICOM film as DICOM.

        Returns:
            films: model; rows, for each film file, status ("judged", "not judged" or "error"), verdict, probability in
                [0, 1] or null, reason and notes; remarks on files that are no films.
            table: CSV file, as the command hf-pneumo predict writes it.
            overlays: zip file of PNG files, the heatmap and boxes over each film that was judged.
            dicom: zip file of Secondary Captures and structured reports; none unless asked for.
        """
        if as_dicom and not WRITES_DICOM:
            raise gr.Error("`as_dicom` needs the package highdicom, which is not installed.", print_exception=False)
        try:
            with BatchJob(_desk(self.shelf, model), films or [], as_dicom=as_dicom) as job:
                for _ in job.run():
                    pass
                made = (job.table(self.table), job.pack(OVERLAYS, self.overlays), job.pack(DICOM, self.dicom))
        except BatchError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return batch_answer(job), *made


class _Models:
    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        gr.Button().click(self.models, None, gr.JSON(label="models"), api_name="models", **LIGHT | PUBLIC)

    def models(self) -> list[ModelAnswer]:
        """The checkpoints that judge films here, the one that is taken unless told otherwise first.

        Returns:
            models: for each its name, task, labels, network, whom it is for, and the films it learned from.
        """
        return [model_answer(name, self.shelf.config(name)) for name in self.shelf.names]
