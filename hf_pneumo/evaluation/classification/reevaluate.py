"""A checkpoint measured again from the predictions that it holds, without its network."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hf_pneumo.evaluation.classification.calibration import evidence
from hf_pneumo.evaluation.classification.conformal import COVERAGE
from hf_pneumo.evaluation.classification.evaluate import draw_report, film_columns, open_subset
from hf_pneumo.evaluation.classification.metrics import RESAMPLES
from hf_pneumo.evaluation.classification.report import ABOUT, EXTERNAL, full_report, sets_from, val_predictions
from hf_pneumo.evaluation.results import read_results, write_predictions, write_results
from hf_pneumo.models.checkpoint import (
    WEIGHTS,
    Checkpoint,
    CheckpointConfig,
    read_config,
    weights_sha256,
    write_config,
)

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
    val = val_predictions(checkpoint.path, checkpoint.config)
    if val is None:
        logger.warning("%s holds no validation predictions: no prediction sets were fitted", checkpoint.name)
    else:
        before = point.sets.coverage if point.sets else COVERAGE
        sets = sets_from(val, checkpoint.config, coverage=before if coverage is None else coverage)
        counts = evidence(np.array(val["label"].to_list()), checkpoint.config.labels)
        point = replace(point, sets=sets, evidence=counts)
    config = replace(checkpoint.config, operating_point=point, weights_sha256=weights)
    write_config(checkpoint.path, checkpoint.network, config)
    return replace(checkpoint, config=config)


def remeasure(
    folder: Path, config: CheckpointConfig, *, figures: bool = True, resamples: int = RESAMPLES
) -> list[Path]:
    """Write results, and ``figures``, of all predictions in a checkpoint's ``folder`` anew; returns the results' paths.

    Its weights need not be there, as in a study's record.
    """
    val = val_predictions(folder, config)
    written = []
    for path, target in _measured(folder):
        frame, stored = pd.read_parquet(path), read_results(target)
        about = {key: stored[key] for key in ABOUT if key in stored}
        beside = None if about.get("subset") == "val" else val
        report = full_report(frame, config, about, val=beside, resamples=resamples)
        write_results(target, report)
        if figures:
            draw_report(folder / "figures" / path.stem, config.labels, frame, report)
        written.append(target)
    return written


def add_film_columns(checkpoint: Checkpoint, source: str, *, cache: str | None = None) -> list[Path]:
    """Add what only the films of ``source`` tell (digests, duplicates, suspicion) to the stored predictions.

    Returns the parquet files written. Raises ValueError where the source does not hold the predicted films.
    """
    written = []
    for path, target in _measured(checkpoint.path):
        frame, about = pd.read_parquet(path), read_results(target)
        if about["protocol"] == EXTERNAL:
            continue
        films = open_subset(source, about["protocol"], about["subset"], checkpoint, cache=cache)
        row_of = {name: row for row, name in enumerate(films.table["file_name"])}
        if missing := [name for name in frame["file_name"] if name not in row_of]:
            raise ValueError(
                f"`dataset` {source!r} lacks {len(missing)} films of {path.name}, the first is {missing[0]}; give the "
                "source that was predicted"
            )
        own = films.select(np.array([row_of[name] for name in frame["file_name"]]))
        write_predictions(path, frame.assign(**film_columns(checkpoint, own)))
        written.append(path)
    return written


def _measured(folder: Path) -> list[tuple[Path, Path]]:
    """Predictions and results of every evaluation in the checkpoint ``folder``; those of controls are not such."""
    paths = [(p, folder / "results" / f"{p.stem}.json") for p in sorted((folder / "predictions").glob("*.parquet"))]
    return [(path, target) for path, target in paths if target.is_file() and "protocol" in read_results(target)]
