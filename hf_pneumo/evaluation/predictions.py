"""Predictions: what a checkpoint said of every film of a collection; all results follow from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.bootstrap import RESAMPLES, patient_resamples
from hf_pneumo.files import replacing
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of N films, one row each in ``frame``, with the labels and the operating point they stand for.

    Columns: file_name, patient, subgroup, view, age and sex where the source has them, label (a class, or one value a
    label), logits (list), probability (calibrated: one number where there is one score, else a list in the order of
    the scores), and what the films themselves tell: digest, identical_to, suspicion.
    """

    frame: pd.DataFrame
    labels: LabelSet
    point: OperatingPoint

    @classmethod
    def of(
        cls, table: Dataset, logits: np.ndarray, labels: LabelSet, point: OperatingPoint, **columns: Any
    ) -> Predictions:
        """Of the films in ``table`` with ``logits`` (N, K); ``columns`` are further ones, a value for each film."""
        scores = labels.scores(logits, point.temperature)
        frame = pd.DataFrame(
            {
                "file_name": table["file_name"],
                "patient": table["patient"],
                "subgroup": table["subgroup"],
                "view": table["view"],
                **{column: table[column] for column in ("age", "sex") if column in table.column_names},
                "label": list(table["label"]),
                "logits": [row.tolist() for row in np.asarray(logits, dtype=np.float32)],
                "probability": scores[:, 0] if scores.shape[1] == 1 else [row.tolist() for row in scores],
            }
        )
        return cls(frame.assign(**columns), labels, point)

    @classmethod
    def read(cls, path: str | os.PathLike[str], config: CheckpointConfig) -> Predictions:
        """Read the parquet file that a checkpoint with ``config`` wrote; OSError where it cannot be read."""
        return cls(pd.read_parquet(path), config.labels, config.operating_point)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to the parquet file ``path``, whole or not at all."""
        with replacing(path) as temporary:
            self.frame.to_parquet(temporary, index=False)

    def __len__(self) -> int:
        return len(self.frame)

    def __contains__(self, column: str) -> bool:
        return column in self.frame

    @cached_property
    def scores(self) -> np.ndarray:
        """Calibrated scores, float (N, S) in [0, 1]."""
        return np.stack(self.frame["probability"].map(np.atleast_1d).to_list())

    @cached_property
    def label(self) -> np.ndarray:
        """The labels as they are given: class indices (N,), or values (N, K)."""
        return np.array(self.frame["label"].to_list())

    @cached_property
    def targets(self) -> np.ndarray:
        """What each score should be, float (N, S): 1, 0, or NaN where it is not known."""
        return self.labels.score_targets(self.label)

    @cached_property
    def logits(self) -> np.ndarray:
        """The network's logits, float (N, K)."""
        return np.stack(self.frame["logits"].to_list())

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Calibrated probabilities of the labels, float (N, K) in [0, 1]."""
        return self.labels.probabilities(self.logits, self.point.temperature)

    @cached_property
    def patients(self) -> np.ndarray:
        """The patient of each film (N,)."""
        return self.frame["patient"].to_numpy()

    @cached_property
    def positive(self) -> np.ndarray:
        """Whether each score reaches its threshold, bool (N, S)."""
        return self.scores >= np.array(self.point.thresholds)

    def resamples(self, count: int = RESAMPLES) -> list[np.ndarray]:
        """Row numbers of ``count`` bootstrap draws of the patients, always the same."""
        return patient_resamples(self.patients, count)

    def select(self, rows: np.ndarray) -> Predictions:
        """The films where ``rows`` (N,) bool is true."""
        return replace(self, frame=self.frame[rows])

    def with_columns(self, columns: Mapping[str, Any]) -> Predictions:
        """The same with further columns, a value for each film."""
        return replace(self, frame=self.frame.assign(**columns))


def predictions_path(folder: Path, stem: str) -> Path:
    """Where a checkpoint ``folder`` holds the predictions that are called ``stem``, as "official-test"."""
    return folder / "predictions" / f"{stem}.parquet"


def results_path(folder: Path, stem: str) -> Path:
    """Where it holds the results that follow from them."""
    return folder / "results" / f"{stem}.json"


def validation_predictions(folder: Path, config: CheckpointConfig) -> Predictions | None:
    """The predictions on the films that the checkpoint ``folder`` was fitted on; None where it holds none."""
    path = predictions_path(folder, f"{config.data.protocol}-val")
    return Predictions.read(path, config) if path.is_file() else None
