"""Before and after a lung crop: a bar chart from the checkpoints' stored results, and their heatmaps of the same film.

    hf-pneumo compare-crops --checkpoints runs/none runs/lung runs/adaptive --results official-test \\
        --output runs/crops

Writes before-after.png and heatmaps.png. Without --image the film is a phantom, which shows no person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.evaluation.classification.report import ClassificationReport
from hf_pneumo.evaluation.predictions import results_path
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.reader import read_xray
from hf_pneumo.models.checkpoint import load
from hf_pneumo.reporting.comparison_figures import CropView, draw_before_after, draw_views
from hf_pneumo.serving.outcome import NotJudged
from hf_pneumo.serving.predictor import Predictor


@dataclass(frozen=True)
class Arguments:
    checkpoints: list[str] = field(metadata={"help": "checkpoint folders or user/repo[@revision], in order"})
    output: str = field(default="runs/crops", metadata={"help": "folder for the two figures"})
    results: str = field(default="official-test", metadata={"help": "which of their results files, without .json"})
    image: str | None = field(default=None, metadata={"help": "film for the heatmaps (default: a phantom)"})
    method: str = field(default="gradcam", metadata={"help": "explanation method"})


def run(arguments: Arguments) -> None:
    checkpoints = [load(source) for source in arguments.checkpoints]
    names = [checkpoint.name for checkpoint in checkpoints]
    if len(set(names)) < len(names):
        raise ValueError(f"`checkpoints` have the names {', '.join(names)}; give folders of different names")
    reports = {c.name: ClassificationReport.read(results_path(c.path, arguments.results)) for c in checkpoints}
    film = read_xray(arguments.image) if arguments.image else make_phantom(2, opacities=1).film
    views = {}
    for checkpoint in checkpoints:
        answer = Predictor(checkpoint).predict(film, method=arguments.method, judge_anyway=True)
        if isinstance(answer, NotJudged) or answer.explanation is None:
            raise ValueError(f"`image` {arguments.image} is not judged by {checkpoint.name}; give a chest film")
        crop = checkpoint.config.preprocess.crop_of(film.gray8)
        views[checkpoint.name] = CropView(answer.explanation.heatmap, answer.probability, crop.box)
    output = Path(arguments.output)
    print(draw_before_after(output / "before-after.png", reports, arguments.results))
    print(draw_views(output / "heatmaps.png", film.pixels, views))
