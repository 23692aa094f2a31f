"""Whether stored figures are those that the stored predictions give now: differences, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from hf_pneumo.evaluation.classification.reevaluate import remeasure
from hf_pneumo.evaluation.classification.region_ablation import RegionAblationReport, measure_regions, region_files
from hf_pneumo.evaluation.classification.report import ClassificationReport, sets_from
from hf_pneumo.evaluation.predictions import Predictions, validation_predictions
from hf_pneumo.experiments.study import Study
from hf_pneumo.experiments.summary import write_summary
from hf_pneumo.files import read_json
from hf_pneumo.models.config import read_config

TOLERANCE = 1e-9


def checkpoint_differences(folder: Path) -> Iterator[str]:
    """Differences between a checkpoint's results files and what its predictions give now."""
    config = read_config(folder)
    val, sets = validation_predictions(folder, config), config.operating_point.sets
    if val is not None and sets is not None:
        now = sets_from(val, config, coverage=sets.coverage).to_dict()
        yield from _named(f"{folder.name}/config.json", now, sets.to_dict())
    for path, _, report in remeasure(folder, config):
        yield from _named(f"{folder.name}/{path.stem}", report.to_json(), ClassificationReport.read(path).to_json())
    for parquet, path in region_files(folder):
        stored = RegionAblationReport.read(path)
        regions = measure_regions(Predictions.read(parquet, config), stored.subset)
        yield from _named(f"{folder.name}/{path.stem}", regions.to_json(), stored.to_json())


def study_differences(study: Study, baselines: Path | None = None) -> Iterator[str]:
    """Differences between a study's summary and comparison and what its runs' predictions give now."""
    record = Path(study.output)
    with TemporaryDirectory() as folder:
        for path in write_summary(study, title=record.name, folder=Path(folder), baselines=baselines):
            where, stored = f"{record.name}/{path.name}", record / path.name
            if path.suffix == ".csv":
                yield from _named(where, _rows(path), _rows(stored))
            elif path.suffix == ".json":
                yield from _named(where, read_json(path), read_json(stored))
            elif path.suffix == ".md" and path.read_text("utf-8") != stored.read_text("utf-8"):
                yield f"{where} is not what the runs' results give; run hf-pneumo reproduce"


def _rows(path: Path) -> list[dict[str, Any]]:
    table = pd.read_csv(path)
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _named(where: str, now: Any, stored: Any) -> Iterator[str]:
    return (f"{where}: {line}" for line in differences(now, stored))


def differences(now: Any, stored: Any, where: str = "") -> Iterator[str]:
    """Every place at which ``now`` is not in ``stored``; numbers may differ by rounding of the last bits."""
    if isinstance(now, Mapping) and isinstance(stored, Mapping):
        for key, value in now.items():
            yield from differences(value, stored.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(now, list) and isinstance(stored, list) and len(now) == len(stored):
        for i, (a, b) in enumerate(zip(now, stored, strict=True)):
            yield from differences(a, b, f"{where}[{i}]")
    elif isinstance(now, float) and isinstance(stored, (int, float)):
        if abs(now - stored) > TOLERANCE:
            yield f"{where} is {stored} in the file and {now} from the predictions"
    elif now != stored:
        yield f"{where} is {stored!r} in the file and {now!r} from the predictions"
