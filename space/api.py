"""What programs are answered by the Space's endpoints: plain JSON, its fields named and typed."""

from __future__ import annotations

import json
from typing import Any, TypedDict

import numpy as np
from batch_job import BatchJob
from comparison import Cell, Comparison

from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.folder import CheckpointFolder
from hf_pneumo.serving.export import manifest
from hf_pneumo.serving.outcome import Finding, Outcome


class Answer(TypedDict):
    """What became of a film, as JSON. Probabilities are calibrated, in [0, 1]; names are the checkpoint's label set's.

    ``status``: "judged" or "not judged"; then ``reason`` says why, in a sentence, and nothing else is told of the film.
    ``verdict``: "normal", "uncertain", "none positive" where some labels have no verdict, or the positive findings in
    lower case, separated by commas. ``finding``: the one that stands first, never the label that stands for nothing
    found, and ``probability``: its own. ``scores`` and ``verdicts`` ("positive", "negative", "uncertain" or "not
    judged"): by score. ``sets``: by score every answer that the film may have at ``coverage``; empty and None where
    none were fitted. ``suspect``: what makes the picture unlike the training films, which makes the verdict uncertain;
    None where nothing does. ``judged_anyway``: why it would not have been judged unless asked to; else None.
    ``boxes``: [x, y, width, height, heat] in pixels of the film, around the evidence for the label in
    manifest.explanation.target.
    """

    status: str
    reason: str
    verdict: str | None
    finding: str | None
    probability: float | None
    scores: dict[str, float]
    verdicts: dict[str, str]
    sets: dict[str, list[str]]
    coverage: float | None
    suspect: str | None
    judged_anyway: str | None
    boxes: list[tuple[int, int, int, int, float]]
    notes: list[str]
    manifest: dict[str, Any]


def answer(outcome: Outcome, checkpoint: CheckpointFolder) -> Answer:
    """The answer to one film; it names no file."""
    told = manifest(outcome, checkpoint)
    said = Answer(
        status=outcome.status,
        reason=outcome.reason,
        verdict=None,
        finding=None,
        probability=None,
        scores={},
        verdicts={},
        sets={},
        coverage=None,
        suspect=None,
        judged_anyway=None,
        boxes=[],
        notes=list(outcome.notes),
        manifest=told,
    )
    if isinstance(outcome, Finding):
        said |= {
            "verdict": outcome.verdict,
            "finding": outcome.leading,
            "probability": outcome.probability,
            "scores": outcome.scores,
            "verdicts": outcome.verdicts,
            "sets": {name: list(own) for name, own in outcome.sets.items()},
            "coverage": outcome.coverage,
            "suspect": outcome.suspect,
            "judged_anyway": outcome.overridden.sentence if outcome.overridden else None,
            "boxes": told["explanation"]["boxes"],
        }
    return json.loads(json.dumps(said))


class CellAnswer(TypedDict):
    """One model's map by one method; ``why``: what kept it from being made, else "".

    ``peak``: [x, y] of its maximum in pixels of the film, None where the map is constant; ``boxes``: as in `Answer`.
    """

    model: str
    method: str
    verdict: str | None
    probability: float | None
    target: str | None
    peak: tuple[int, int] | None
    boxes: list[tuple[int, int, int, int, float]]
    why: str


class CompareAnswer(TypedDict):
    """``agreement``: by model the rank correlations of each two maps by the methods' titles; ``between_models``: by
    method the mean of those of each two models, None for fewer than two maps. ``judged_anyway``: as in `Answer`.
    """

    cells: list[CellAnswer]
    agreement: dict[str, dict[str, dict[str, float]]]
    between_models: dict[str, float | None]
    judged_anyway: str | None


def compare_answer(comparison: Comparison) -> CompareAnswer:
    """The answer to a comparison that is done."""
    cells = list(comparison.cells.values())
    against = next((c.finding.overridden for c in cells if c.finding and c.finding.overridden), None)
    said = CompareAnswer(
        cells=[_cell(cell) for cell in cells],
        agreement={model: comparison.agreement(model) for model in dict.fromkeys(cell.model for cell in cells)},
        between_models={
            method: comparison.between_models(method) for method in dict.fromkeys(cell.method for cell in cells)
        },
        judged_anyway=against.sentence if against else None,
    )
    return json.loads(json.dumps(said))


def _cell(cell: Cell) -> CellAnswer:
    finding = cell.finding
    if finding is None:
        return CellAnswer(
            model=cell.model, method=cell.method, verdict=None, probability=None, target=None, peak=None, boxes=[],
            why=cell.why,
        )  # fmt: skip
    return CellAnswer(
        model=cell.model,
        method=cell.method,
        verdict=finding.verdict,
        probability=finding.probability,
        target=finding.map.target,
        peak=None if cell.is_empty else _peak(finding.map.heatmap, finding.film.pixels.shape),
        boxes=[(box.x, box.y, box.w, box.h, box.score) for box in finding.boxes],
        why="",
    )


def _peak(heatmap: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int]:
    """Where a map (h, w) of a film of ``shape`` (H, W) is hottest: (x, y) in the film's pixels."""
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    return int((column + 0.5) * shape[1] / heatmap.shape[1]), int((row + 0.5) * shape[0] / heatmap.shape[0])


class FilmAnswer(TypedDict):
    """One film of a batch: ``status`` "judged", "not judged" or "error", of which ``reason`` says why."""

    file: str
    status: str
    verdict: str | None
    probability: float | None
    reason: str
    notes: str


class BatchAnswer(TypedDict):
    """``rows``: the films in the order in which they came; ``remarks``: on files that are no films."""

    model: str
    rows: list[FilmAnswer]
    remarks: list[str]


def batch_answer(job: BatchJob) -> BatchAnswer:
    """The answer to a batch that is done."""
    rows = [
        FilmAnswer(
            file=row.cells["file"],
            status=row.cells["status"],
            verdict=row.cells.get("verdict"),
            probability=row.probability,
            reason=row.cells["reason"],
            notes=row.cells.get("notes", ""),
        )
        for row in job.rows
    ]
    return BatchAnswer(model=job.desk.checkpoint.name, rows=rows, remarks=list(job.files.remarks))


class ModelAnswer(TypedDict):
    """One checkpoint. ``population``: ages in years, views and sites of the films it is for, None where it is silent.

    ``findings``: the labels that are decided on; ``data`` and ``protocol``: the films it learned from and their split.
    """

    name: str
    architecture: str
    task: str
    labels: list[str]
    findings: list[str]
    population: dict[str, Any] | None
    data: str | None
    protocol: str | None


def model_answer(name: str, config: CheckpointConfig) -> ModelAnswer:
    """What a checkpoint says of itself; its weights are not needed."""
    return ModelAnswer(
        name=name,
        architecture=config.architecture,
        task=config.labels.task,
        labels=list(config.labels.names),
        findings=list(config.labels.findings),
        population=config.population.to_dict() if config.population else None,
        data=config.data.source,
        protocol=config.data.protocol,
    )
