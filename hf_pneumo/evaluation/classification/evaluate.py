"""Evaluation of a checkpoint on one subset of a source: predictions, results, figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from accelerate import Accelerator
from datasets import Value

from hf_pneumo.data.film_cache import Films, decode
from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.sources import SPLITS, load_xrays
from hf_pneumo.data.splits import split
from hf_pneumo.data.table_source import is_table, parse_classes
from hf_pneumo.evaluation.classification.duplicates import identical_to, shortened
from hf_pneumo.evaluation.classification.metrics import RESAMPLES
from hf_pneumo.evaluation.classification.report import full_report, val_predictions
from hf_pneumo.evaluation.results import predictions, scores_and_targets, write_predictions, write_results
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.inference import predict_logits
from hf_pneumo.reporting.figures import draw_labels, draw_results, draw_risk_coverage


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
    The table's column identical_to names the other subset that holds a pixel-identical film.
    """
    if subset not in SPLITS:
        raise ValueError(f"`subset` is {subset!r}; choose one of {', '.join(SPLITS)}")
    films = open_all(source, checkpoint, revision=revision, cache=cache, progress=progress, **reading)
    parts = split(films.table, protocol, checkpoint.config.labels, films.digests)
    twins = identical_to(films.digests, parts, subset)
    films = films.select(parts[subset])
    return replace(films, table=films.table.add_column("identical_to", twins, feature=Value("string")))


def open_all(
    source: str,
    checkpoint: Checkpoint,
    *,
    revision: str | None = None,
    cache: str | None = None,
    progress: bool = True,
    **reading: Any,
) -> Films:
    """Every film of ``source``, read for a model; see :func:`open_subset`."""
    dataset = load_xrays(
        source, labels=checkpoint.config.labels, revision=revision, **reading or _as_trained(source, checkpoint)
    )
    return decode(dataset, checkpoint.config.preprocess, cache=cache, progress=progress)


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

    ``about`` names the films (dataset, revision, protocol, subset) and is stored with the figures. Nothing is fitted
    here: the operating point is the checkpoint's.
    """
    config = checkpoint.config
    network = checkpoint.network.to(accelerator.device) if accelerator else checkpoint.network
    logits = predict_logits(network, films.gray, config.preprocess, accelerator=accelerator)
    frame = predictions(films.table, logits, config.labels, config.operating_point)
    frame = frame.assign(**film_columns(checkpoint, films))
    about = about | {
        "model": checkpoint.name,
        "model_revision": checkpoint.revision,
        "architecture": config.architecture,
        "failures": [list(f) for f in films.failures],
    }
    val = None if about.get("subset") == "val" else val_predictions(checkpoint.path, config)
    report = full_report(frame, config, about, val=val, resamples=resamples)
    if accelerator is None or accelerator.is_main_process:
        write_predictions(predictions_path, frame)
        write_results(results_path, report)
        draw_report(figures, config.labels, frame, report)
    return report


def film_columns(checkpoint: Checkpoint, films: Films) -> dict[str, Any]:
    """What predictions hold beside those of `results.predictions`, one value a film: what the films alone can tell.

    digest; identical_to where the table has it; suspicion, the score of the checkpoint's check for pictures that are
    no such films, where it has one.
    """
    columns: dict[str, Any] = {"digest": shortened(films.digests)}
    if "identical_to" in films.table.column_names:
        columns["identical_to"] = films.table["identical_to"]
    if checkpoint.density is not None:
        columns["suspicion"] = checkpoint.density.check(films.gray).score
    return columns


def draw_report(folder: Path, labels: LabelSet, frame: pd.DataFrame, report: dict[str, Any]) -> None:
    """The figures of predictions and of their report: those of the only score, or those of all labels together."""
    (probability, targets), found = scores_and_targets(frame, labels), report["labels"]
    title = f"{report.get('protocol')} {report.get('subset')}, n = {report['n']}"
    if report["selective"]:
        draw_risk_coverage(folder / "risk-coverage.png", report["selective"], title)
    if len(found) > 1:
        draw_labels(folder, probability, targets, found, title)
        return
    ((name, own),) = found.items()
    if "note" not in own:
        title = f"{name}, {title}"
        draw_results(folder, probability[:, 0], targets[:, 0], own["threshold"], own["confusion"], title)
