"""A checkpoint measured again from the predictions that it holds, without its network."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.calibration import evidence
from hf_pneumo.evaluation.classification.conformal import COVERAGE
from hf_pneumo.evaluation.classification.evaluate import film_columns, open_subset
from hf_pneumo.evaluation.classification.label_metrics import PROVENANCE
from hf_pneumo.evaluation.classification.report import EXTERNAL, ClassificationReport, full_report, sets_from
from hf_pneumo.evaluation.predictions import Predictions, results_path, validation_predictions
from hf_pneumo.models.checkpoint import Checkpoint, write_config
from hf_pneumo.models.config import WEIGHTS, CheckpointConfig, read_config, weights_sha256

logger = logging.getLogger(__name__)


def refit(checkpoint: Checkpoint, *, coverage: float | None = None) -> Checkpoint:
    """Write into a checkpoint's config.json what its validation predictions say, and which weights it goes with.

    That are the prediction sets, at ``coverage`` (None: as before), and how many films stand behind each threshold.
    Returns the checkpoint with them; without either, with a warning, where it holds no validation predictions. Raises
    ValueError for weights that its operating point was not fitted to.
    """
    point, weights = checkpoint.config.operating_point, weights_sha256(checkpoint.path / WEIGHTS)
    if read_config(checkpoint.path).weights_sha256 not in (None, weights):
        raise ValueError(
            f"the weights of {checkpoint.name} are not those that its predictions came from; put those back, or train "
            "into another folder"
        )
    val = validation_predictions(checkpoint.path, checkpoint.config)
    if val is None:
        logger.warning("%s holds no validation predictions: no prediction sets were fitted", checkpoint.name)
    else:
        before = point.sets.coverage if point.sets else COVERAGE
        sets = sets_from(val, checkpoint.config, coverage=before if coverage is None else coverage)
        counts = evidence(val.label, checkpoint.config.labels)
        point = replace(point, sets=sets, evidence=counts)
    config = replace(checkpoint.config, operating_point=point, weights_sha256=weights)
    write_config(checkpoint.path, checkpoint.network, config)
    return replace(checkpoint, config=config)


def remeasure(
    folder: Path, config: CheckpointConfig, *, resamples: int = RESAMPLES
) -> list[tuple[Path, Predictions, ClassificationReport]]:
    """The report of every evaluation in a checkpoint's ``folder``, from its predictions alone; nothing is written.

    Each with the path of the results file that it belongs in. The weights need not be there, as in a study's record.
    """
    val = validation_predictions(folder, config)
    reports = []
    for path, target in measured_files(folder):
        predictions, stored = Predictions.read(path, config), ClassificationReport.read(target)
        provenance = {name: value for name in PROVENANCE if (value := getattr(stored, name)) is not None}
        beside = None if stored.subset == "val" else val
        report = full_report(predictions, provenance, val=beside, resamples=resamples)
        reports.append((target, predictions, report))
    return reports


def add_film_columns(checkpoint: Checkpoint, source: str, *, cache: str | None = None) -> list[Path]:
    """Add what only the films of ``source`` tell (digests, duplicates, suspicion) to the stored predictions.

    Returns the parquet files written. Raises ValueError where the source does not hold the predicted films.
    """
    written = []
    for path, target in measured_files(checkpoint.path):
        predictions, stored = Predictions.read(path, checkpoint.config), ClassificationReport.read(target)
        if stored.protocol in (None, EXTERNAL) or stored.subset is None:
            continue
        films = open_subset(source, stored.protocol, stored.subset, checkpoint, cache=cache)
        names = predictions.frame["file_name"]
        row_of = {name: row for row, name in enumerate(films.table["file_name"])}
        if missing := [name for name in names if name not in row_of]:
            raise ValueError(
                f"`dataset` {source!r} lacks {len(missing)} films of {path.name}, the first is {missing[0]}; give the "
                "source that was predicted"
            )
        own = films.select(np.array([row_of[name] for name in names]))
        predictions.with_columns(film_columns(checkpoint, own)).write(path)
        written.append(path)
    return written


def measured_files(folder: Path) -> list[tuple[Path, Path]]:
    """Predictions and results of every evaluation in the checkpoint ``folder``."""
    parquets = sorted((folder / "predictions").glob("*.parquet"))
    pairs = [(path, results_path(folder, path.stem)) for path in parquets]
    return [(path, target) for path, target in pairs if target.is_file()]
