"""What the tests publish: networks with random weights, and results measured by the library on made-up logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.classification.baselines import BaselinesReport
from hf_pneumo.evaluation.classification.label_metrics import measure_predictions
from hf_pneumo.evaluation.classification.metrics import measure as measure_scores
from hf_pneumo.evaluation.explanations.localization import LocalizationReport, centred_gaussian, measure_maps
from hf_pneumo.evaluation.predictions import Predictions, predictions_path, results_path
from hf_pneumo.files import write_json
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import OperatingPoint
from hf_pneumo.reporting.figures import draw_results

POINT = OperatingPoint(temperature=1.7, thresholds=(0.42,), abstain=((0.35, 0.5),), fitted_on="official/val")
SOURCE = "hf-vision/chest-xray-pneumonia"


def make_network(name: str, **arguments: object) -> torch.nn.Module:
    """Random weights under which films differ: the classifier's are drawn wide."""
    torch.manual_seed(0)
    network = build(name, 2, **arguments).eval()
    torch.nn.init.normal_(network.get_classifier().weight)
    return network


def measure(folder: Path, protocol: str, subset: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 2, 80)
    shift = (label * 2 - 1) * 1.5 + generator.standard_normal(80) * 1.5
    kinds = ("bacteria", "virus")
    table = Dataset.from_dict(
        {
            "file_name": [f"film-{i}.png" for i in range(80)],
            "patient": [f"P{i // 2}" for i in range(80)],
            "subgroup": [kinds[i % 2] if disease else "normal" for i, disease in enumerate(label)],
            "view": [None] * 80,
            "label": label,
        }
    )
    predictions = Predictions.of(table, np.stack([-shift, shift], 1), PNEUMONIA, POINT)
    about = {"dataset": SOURCE, "protocol": protocol, "subset": subset, "architecture": "test_vit2"}
    report = measure_predictions(predictions, about, resamples=50)
    name = f"{protocol}-{subset}"
    predictions.write(predictions_path(folder, name))
    report.write(results_path(folder, name))
    draw_results(folder / "figures" / name, predictions.scores[:, 0], label, 0.42, report.confusion, name)


def measure_beside(folder: Path) -> None:
    """Trivial controls of the official test, a localization on two made-up films, and one free-form measurement."""
    target = np.arange(80) % 2
    constant = measure_scores(np.full(80, 0.6), target.astype(float), 0.5, [str(i) for i in range(80)], resamples=20)
    BaselinesReport({"majority class": constant}).write(folder / "results/official-test-baselines.json")
    truths = np.zeros((2, 8, 8), bool)
    truths[:, 2:4, 2:4] = True
    centre = np.broadcast_to(centred_gaussian((8, 8)), truths.shape)
    report = LocalizationReport(
        frame=(8, 8),
        methods={"gradcam": measure_maps(truths.astype(float), truths, ["a", "b"], resamples=20)},
        baselines={"centre": measure_maps(centre, truths, ["a", "b"], resamples=20)},
    )
    report.write(folder / "results/localization-nih.json")
    write_json(folder / "results/faithfulness.json", {"deletion": {"value": 0.25, "low": 0.2, "high": 0.3}})
