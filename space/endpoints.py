"""What programs and MCP clients call: the page's public endpoints."""

from __future__ import annotations

import gradio as gr
import predict
from api import Answer, answer
from common import MODEL_QUEUE
from model_registry import REFINEMENTS, Shelf

from hf_pneumo.serving.outcome import NotJudged
from hf_pneumo.serving.predictor import BOX_THRESHOLD

PUBLIC = MODEL_QUEUE | {"api_visibility": "public"}


def add_endpoints(shelf: Shelf) -> None:
    """Add the endpoints to the `gr.Blocks` that is being built."""
    with gr.Row(visible=False):
        _Predict(shelf)


class _Predict:
    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        desk = shelf.open()
        first, best = desk.first
        asked = [
            gr.File(label="film", type="filepath"),
            gr.Dropdown([name for _, name in desk.method_choices], value=first, label="method"),
            gr.Textbox("", label="target"),
            gr.Dropdown([name for _, name in REFINEMENTS], value=best, label="refinement"),
            gr.Checkbox(False, label="judge_anyway"),
        ]
        self.overlay, self.archive = gr.File(label="overlay"), gr.File(label="archive")
        answered = [gr.JSON(label="finding"), self.overlay, self.archive]
        gr.Button().click(self.predict, asked, answered, api_name="predict", **PUBLIC)

    def predict(
        self, film: str, method: str = "", target: str = "", refinement: str = "", judge_anyway: bool = False
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
