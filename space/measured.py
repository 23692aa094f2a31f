"""What was measured of one checkpoint: its results, and its predictions of the films of the hardest test."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from operating import ScoredFilms

from hf_pneumo.evaluation.predictions import Predictions, predictions_path
from hf_pneumo.models.folder import CheckpointFolder
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.reporting.checkpoint_report import Evaluation, Report, read_report

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Measured:
    """``test``: the hardest one, None without any; ``films``: its films by finding, where they are enough."""

    report: Report
    test: Evaluation | None
    films: dict[str, ScoredFilms]

    @classmethod
    def of(cls, checkpoint: CheckpointFolder) -> Measured:
        """Read from the checkpoint's folder; nothing where a file of it is damaged, which the page outlives."""
        try:
            report = read_report(checkpoint.path)
        except (CheckpointError, OSError) as error:
            logger.warning("the results of %s are not shown: %s", checkpoint.name, error)
            report = Report()
        test = next(iter(report.tests), None)
        path = predictions_path(checkpoint.path, test.stem) if test else None
        if path is None or not path.is_file():
            return cls(report, test, {})
        predictions = Predictions.read(path, checkpoint.config)
        enough = [name for name, own in test.values.labels.items() if not own.note]
        films = {n: ScoredFilms.of(predictions, n) for n in checkpoint.config.labels.findings if n in enough}
        return cls(report, test, {name: own for name, own in films.items() if own.has_both})
