"""A checkpoint measured again from the predictions that it holds, without its network."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hf_pneumo.evaluation.classification.conformal import COVERAGE
from hf_pneumo.evaluation.classification.evaluate import draw_report, film_columns, open_subset
from hf_pneumo.evaluation.classification.metrics import RESAMPLES
from hf_pneumo.evaluation.classification.report import ABOUT, EXTERNAL, full_report, sets_from, val_predictions
from hf_pneumo.evaluation.results import read_results, write_predictions, write_results
from hf_pneumo.models.checkpoint import Checkpoint, CheckpointConfig, write_config

logger = logging.getLogger(__name__)


def fit_sets_of(checkpoint: Checkpoint, *, coverage: float = COVERAGE) -> Checkpoint:
    """Fit the prediction sets on the checkpoint's own validation predictions and write them into its config.json.

    Returns the checkpoint with them; as it was, with a warning, where it holds no validation predictions.
    """
    val = val_predictions(checkpoint.path, checkpoint.config)
    if val is None:
        logger.warning("%s holds no validation predictions: no prediction sets were fitted", checkpoint.name)
        return checkpoint
    sets = sets_from(val, checkpoint.config, coverage=coverage)
    config = replace(checkpoint.config, operating_point=replace(checkpoint.config.operating_point, sets=sets))
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
