"""Evaluation of a checkpoint on one subset of a source: predictions and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from datasets import Value

from hf_pneumo.data.film_cache import Films, decode, refuse_contradictions
from hf_pneumo.data.schema import SPLITS
from hf_pneumo.data.sources import load_xrays, source_name
from hf_pneumo.data.splits import split
from hf_pneumo.data.table_files import is_table
from hf_pneumo.data.table_source import parse_classes
from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.duplicates import identical_to, shortened
from hf_pneumo.evaluation.classification.report import ClassificationReport, full_report
from hf_pneumo.evaluation.predictions import Predictions, predictions_path, results_path, validation_predictions
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.inference import predict_logits


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
    films = decode(dataset, checkpoint.config.preprocess, cache=cache, progress=progress)
    refuse_contradictions(films)
    return films


def _as_trained(source: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """How the labels of a table, or of the class folders learnt from, are read, as the checkpoint's record says."""
    data = checkpoint.config.data
    if not is_table(Path(source).expanduser()):
        again = bool(data.classes) and data.source == source_name(source)
        return {"classes": parse_classes(data.classes)} if again else {}
    return {"label_column": data.label_column, "classes": parse_classes(data.classes), "blanks": data.blanks}


@dataclass(frozen=True)
class EvaluationFiles:
    """Where an evaluation writes: predictions, results, and the folder of its figures."""

    predictions: Path
    results: Path
    figures: Path

    @classmethod
    def of(cls, folder: Path, stem: str) -> EvaluationFiles:
        """Those of the evaluation called ``stem`` in a checkpoint ``folder``."""
        return cls(predictions_path(folder, stem), results_path(folder, stem), folder / "figures" / stem)

    @classmethod
    def alone_in(cls, folder: Path) -> EvaluationFiles:
        """Those of the only evaluation in ``folder``."""
        return cls(folder / "predictions.parquet", folder / "results.json", folder / "figures")


def evaluate_films(
    checkpoint: Checkpoint,
    films: Films,
    provenance: Mapping[str, Any],
    files: EvaluationFiles,
    *,
    accelerator: Accelerator | None = None,
    resamples: int = RESAMPLES,
) -> tuple[Predictions, ClassificationReport]:
    """Predict ``films`` and write predictions and results; every process returns the same two.

    ``provenance`` says of what (dataset, dataset_revision, protocol, subset) and is stored with the figures. Nothing is
    fitted here: the operating point is the checkpoint's.
    """
    config = checkpoint.config
    network = checkpoint.network.to(accelerator.device) if accelerator else checkpoint.network
    logits = predict_logits(network, films.gray, config.preprocess, accelerator=accelerator)
    columns = film_columns(checkpoint, films)
    predictions = Predictions.of(films.table, logits, config.labels, config.operating_point, **columns)
    val = None if provenance.get("subset") == "val" else validation_predictions(checkpoint.path, config)
    model = {
        "model": checkpoint.name,
        "model_revision": checkpoint.revision,
        "architecture": config.architecture,
        "failures": tuple((name, reason) for name, reason in films.failures),
    }
    report = full_report(predictions, {**provenance, **model}, val=val, resamples=resamples)
    if accelerator is None or accelerator.is_main_process:
        predictions.write(files.predictions)
        report.write(files.results)
    return predictions, report


def film_columns(checkpoint: Checkpoint, films: Films) -> dict[str, Any]:
    """What predictions hold beside those of `Predictions.of`, one value a film: what the films alone can tell.

    digest; identical_to where the table has it; suspicion, the score of the checkpoint's check for pictures that are
    no such films, where it has one.
    """
    columns: dict[str, Any] = {"digest": shortened(films.digests)}
    if "identical_to" in films.table.column_names:
        columns["identical_to"] = films.table["identical_to"]
    if checkpoint.density is not None:
        columns["suspicion"] = checkpoint.density.check(films.gray).score
    return columns
