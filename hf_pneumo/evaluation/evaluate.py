"""Evaluation of a checkpoint on one subset of a source: predictions, results, figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from hf_pneumo.data.films import Films, decode
from hf_pneumo.data.sources import SPLITS, load_xrays
from hf_pneumo.data.splits import split
from hf_pneumo.data.table_source import is_table, parse_classes
from hf_pneumo.evaluation.figures import draw_labels, draw_results
from hf_pneumo.evaluation.inference import predict_logits
from hf_pneumo.evaluation.metrics import RESAMPLES
from hf_pneumo.evaluation.results import predictions, results, write_predictions, write_results
from hf_pneumo.models.checkpoint import Checkpoint


def open_subset(
    source: str,
    protocol: str,
    subset: str,
    checkpoint: Checkpoint,
    *,
    revision: str | None = None,
    cache: str | None = None,
    progress: bool = True,
    **reading: Any,
) -> Films:
    """The films of ``subset`` ("train", "val", "test") of ``source`` under the split ``protocol``, read for a model.

    ``reading``: label_column, classes and blanks of `load_xrays`, for tables; by default as the model was trained.
    """
    if subset not in SPLITS:
        raise ValueError(f"`subset` is {subset!r}; choose one of {', '.join(SPLITS)}")
    labels = checkpoint.config.labels
    dataset = load_xrays(source, labels=labels, revision=revision, **reading or _as_trained(source, checkpoint))
    films = decode(dataset, checkpoint.config.preprocess, cache=cache, progress=progress)
    return films.select(split(films.table, protocol, labels, films.digests)[subset])


def _as_trained(source: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """How the labels of a table are read, as the checkpoint's record says; nothing for other sources."""
    if not is_table(Path(source).expanduser()):
        return {}
    data = checkpoint.config.data
    return {
        "label_column": data.get("label_column"),
        "classes": parse_classes(data.get("classes")),
        "blanks": data.get("blanks"),
    }


def evaluate_films(
    checkpoint: Checkpoint,
    films: Films,
    about: dict[str, Any],
    *,
    results_path: Path,
    predictions_path: Path,
    figures: Path,
    accelerator: Accelerator | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Predict ``films`` and write predictions, results and figures; every process returns the same results.

    ``about`` names the films (dataset, revision, protocol, subset) and is stored with the figures.
    """
    config = checkpoint.config
    network = checkpoint.network.to(accelerator.device) if accelerator else checkpoint.network
    logits = predict_logits(network, films.gray, config.preprocess, accelerator=accelerator)
    frame = predictions(films.table, logits, config.labels, config.operating_point)
    about = about | {
        "model": checkpoint.name,
        "model_revision": checkpoint.revision,
        "architecture": config.architecture,
        "failures": [list(f) for f in films.failures],
    }
    report = results(frame, config.labels, config.operating_point, about, resamples=resamples)
    if accelerator is None or accelerator.is_main_process:
        write_predictions(predictions_path, frame)
        write_results(results_path, report)
        _draw(figures, checkpoint, frame["probability"].to_list(), np.array(frame["label"].to_list()), report)
    return report


def _draw(folder: Path, checkpoint: Checkpoint, scores: list[Any], labels: np.ndarray, report: dict[str, Any]) -> None:
    """The figures of the only score, or those of all labels together."""
    targets = checkpoint.config.labels.score_targets(labels)
    probability, found = np.array(scores).reshape(targets.shape), report["labels"]
    title = f"{report.get('protocol')} {report.get('subset')}, n = {report['n']}"
    if len(found) > 1:
        draw_labels(folder, probability, targets, found, title)
        return
    ((name, own),) = found.items()
    if "note" not in own:
        title = f"{name}, {title}"
        draw_results(folder, probability[:, 0], targets[:, 0], own["threshold"], own["confusion"], title)
