"""Paired comparison of models on the same films: is one better, or is the difference noise?

Three views of each pair: McNemar's exact test of the errors, DeLong's test of the AUROC, and a bootstrap by patient of
the differences. The first two take films for independent, which several films of one child are not; the bootstrap does
not, and decides what is said in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm, rankdata

from hf_pneumo.data.labels import TASKS, LabelSet
from hf_pneumo.evaluation.bootstrap import INTERVAL, RESAMPLES, patient_resamples
from hf_pneumo.evaluation.classification.metrics import FEWEST, METRICS
from hf_pneumo.evaluation.classification.report import ClassificationReport
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.evaluation.predictions import Predictions, predictions_path, results_path
from hf_pneumo.models.config import OperatingPoint
from hf_pneumo.records import JsonRecord

COMPARED = {"auroc": "AUROC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}


@dataclass(frozen=True, eq=False)
class Scored:
    """One model's predictions on one set of films, sorted by file name.

    ``scores`` float (N, S) calibrated, ``verdicts`` bool (N, S) at its own thresholds, ``targets`` float (N, S) with
    NaN for unknown; S scores named ``labels``. ``files`` and ``patients``: N strings.
    """

    name: str
    task: str
    labels: tuple[str, ...]
    files: tuple[str, ...]
    patients: tuple[str, ...]
    scores: np.ndarray
    verdicts: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class McNemarTest(JsonRecord):
    """Films that only one of two models calls right; p, and Holm's for the number of pairs."""

    only_a_right: int
    only_b_right: int
    p: float
    p_holm: float | None = None


@dataclass(frozen=True)
class DeLongTest(JsonRecord):
    """Difference of two AUROCs in units of its standard error; p, and Holm's for the number of pairs."""

    difference: float
    z: float
    p: float
    p_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class PairReport(JsonRecord):
    """Two models: both tests, the ``difference`` a - b of each metric by the bootstrap, and what follows in words."""

    a: str
    b: str
    mcnemar: McNemarTest
    delong: DeLongTest
    difference: dict[str, Estimate]
    words: str


@dataclass(frozen=True)
class ModelFigures(JsonRecord):
    """Errors and the compared metrics of one model."""

    errors: int
    auroc: float
    accuracy: float
    balanced_accuracy: float


@dataclass(frozen=True)
class LabelComparison(JsonRecord):
    """Every two models compared on one label; ``note`` says why there are no pairs, where films are too few."""

    n: int
    positives: int
    models: dict[str, ModelFigures] | None = None
    pairs: tuple[PairReport, ...] = ()
    ranking: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class ComparisonReport(JsonRecord):
    """One file of comparisons: the films, the models, and every label."""

    n: int
    patients: int
    task: str
    models: tuple[str, ...]
    resamples: int
    labels: dict[str, LabelComparison]


def read_scored(path: str | Path) -> Scored:
    """Read predictions (.parquet) with their results (.json) beside them, from the path of either.

    Both lie as evaluation writes them: predictions/NAME.parquet and results/NAME.json, or predictions.parquet and
    results.json in one folder. Raises OSError where one of them is missing, ValueError where they do not fit.
    """
    path = Path(path)
    parquet, results = _pair(path)
    if missing := [str(p) for p in (parquet, results) if not p.is_file()]:
        raise OSError(
            f"`results` {str(path)!r} lacks {' and '.join(missing)}; evaluate the model with hf-pneumo evaluate"
        )
    frame, report = pd.read_parquet(parquet).sort_values("file_name"), ClassificationReport.read(results)
    labels = _label_set(report)
    if len(frame) != report.n or not frame["file_name"].is_unique:
        raise ValueError(f"`results` {str(results)!r} is of {report.n} films, its predictions are of {len(frame)}")
    thresholds = tuple(report.labels[name].threshold for name in labels.score_names)
    predictions = Predictions(frame, labels, OperatingPoint(report.temperature, thresholds))
    return Scored(
        name=report.model or path.stem,
        task=labels.task,
        labels=labels.score_names,
        files=tuple(frame["file_name"]),
        patients=tuple(frame["patient"]),
        scores=predictions.scores,
        verdicts=predictions.positive,
        targets=predictions.targets,
    )


def _pair(path: Path) -> tuple[Path, Path]:
    """Where the predictions and the results are, of which ``path`` is one."""
    folder, stem = path.parent, path.stem
    if folder.name in ("predictions", "results"):
        return predictions_path(folder.parent, stem), results_path(folder.parent, stem)
    return folder / "predictions.parquet", folder / "results.json"


def _label_set(report: ClassificationReport) -> LabelSet:
    if report.task not in TASKS:
        raise ValueError(f"`results` are of the task {report.task!r}; allowed are {', '.join(TASKS)}")
    labels = TASKS[report.task]
    return labels if labels.exclusive else labels.without(set(labels.names) - set(report.labels))


def compare(runs: Sequence[Scored], *, resamples: int = RESAMPLES) -> ComparisonReport:
    """Every two of ``runs`` compared, label by label.

    Raises ValueError unless there are at least two, of the same films, patients, labels and targets.
    """
    runs = _named_apart(runs)
    _check(runs)
    first = runs[0]
    return ComparisonReport(
        n=len(first.files),
        patients=len(set(first.patients)),
        task=first.task,
        models=tuple(run.name for run in runs),
        resamples=resamples,
        labels={name: _compare_label(runs, i, resamples) for i, name in enumerate(first.labels)},
    )


def _named_apart(runs: Sequence[Scored]) -> list[Scored]:
    """The runs, with a number after names that several have."""
    names = [run.name for run in runs]
    apart = [f"{n} ({names[: i + 1].count(n)})" if names.count(n) > 1 else n for i, n in enumerate(names)]
    return [replace(run, name=name) for run, name in zip(runs, apart, strict=True)]


def _check(runs: Sequence[Scored]) -> None:
    if len(runs) < 2:
        raise ValueError(f"`results` are {len(runs)}; give at least 2 to compare")
    first = runs[0]
    for run in runs[1:]:
        if run.labels != first.labels:
            raise ValueError(
                f"`results` of {first.name} and {run.name} are of different labels; compare such of one task"
            )
        same = run.files == first.files and np.array_equal(run.targets, first.targets, equal_nan=True)
        if not same or run.patients != first.patients:
            raise ValueError(
                f"`results` of {first.name} ({len(first.files)} films) and {run.name} ({len(run.files)} films) are not "
                "of the same films with the same labels; evaluate both on one subset of one source"
            )


def _compare_label(runs: Sequence[Scored], label: int, resamples: int) -> LabelComparison:
    labelled = ~np.isnan(runs[0].targets[:, label])
    y = runs[0].targets[labelled, label]
    n, positives = int(labelled.sum()), int((y == 1).sum())
    if min(positives, n - positives) < FEWEST:
        return LabelComparison(n, positives, note="too few films of either class for a comparison")
    scores = np.stack([run.scores[labelled, label] for run in runs])  # (M, n)
    verdicts = np.stack([run.verdicts[labelled, label] for run in runs])  # (M, n)
    rows = patient_resamples(np.array(runs[0].patients)[labelled], resamples)
    values = {name: [METRICS[name](p, y, v) for p, v in zip(scores, verdicts, strict=True)] for name in COMPARED}
    drawn = {name: _drawn(name, scores, verdicts, y, rows) for name in COMPARED}  # (R, M) each
    aurocs, covariance = delong(scores, y)
    pairs = []
    for a, b in combinations(range(len(runs)), 2):
        difference = {
            name: _difference(values[name][a] - values[name][b], drawn[name][:, a] - drawn[name][:, b])
            for name in COMPARED
        }
        pairs.append(
            PairReport(
                a=runs[a].name,
                b=runs[b].name,
                mcnemar=mcnemar_exact(verdicts[a] == (y == 1), verdicts[b] == (y == 1)),
                delong=delong_test(aurocs[a] - aurocs[b], covariance[[a, a, b], [a, b, b]]),
                difference=difference,
                words=_in_words(runs[a].name, runs[b].name, difference),
            )
        )
    models = {
        run.name: ModelFigures(int((v != (y == 1)).sum()), *(values[name][i] for name in COMPARED))
        for i, (run, v) in enumerate(zip(runs, verdicts, strict=True))
    }
    adjusted = _adjusted(pairs)
    return LabelComparison(n, positives, models, adjusted, _ranking(models, adjusted))


def _adjusted(pairs: Sequence[PairReport]) -> tuple[PairReport, ...]:
    """The pairs with Holm's p-values for their number."""
    mcnemar, delong_ = (holm([getattr(pair, test).p for pair in pairs]) for test in ("mcnemar", "delong"))
    return tuple(
        replace(pair, mcnemar=replace(pair.mcnemar, p_holm=first), delong=replace(pair.delong, p_holm=second))
        for pair, first, second in zip(pairs, mcnemar, delong_, strict=True)
    )


def _drawn(
    name: str, scores: np.ndarray, verdicts: np.ndarray, y: np.ndarray, rows: Sequence[np.ndarray]
) -> np.ndarray:
    """The metric ``name`` of every model (columns) in every resample (rows): the same films for all of them."""
    return np.array([[METRICS[name](p[r], y[r], v[r]) for p, v in zip(scores, verdicts, strict=True)] for r in rows])


def _difference(value: float, drawn: np.ndarray) -> Estimate:
    low, high = np.nanpercentile(drawn, INTERVAL)
    return Estimate(float(value), float(low), float(high))


def mcnemar_exact(right_a: np.ndarray, right_b: np.ndarray) -> McNemarTest:
    """McNemar's exact two-sided test of two bool arrays (N,), whether each film was called right (McNemar 1947).

    Under the null the films on which only one is right are a fair coin's; p is 1 where there are none.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    p = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return McNemarTest(only_a, only_b, float(p))


def delong(scores: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROC (M,) of ``scores`` (M, N) for ``target`` 0/1 (N,), and their covariance matrix (M, M).

    DeLong et al. 1988 by the midranks of Sun and Xu 2014 (IEEE SPL 21, algorithm 2), in N log N instead of N^2.
    """
    positive, negative = scores[:, target == 1], scores[:, target == 0]
    m, n = positive.shape[1], negative.shape[1]
    together = rankdata(np.concatenate([positive, negative], axis=1), axis=1)  # (M, m + n) midranks
    of_positive = (together[:, :m] - rankdata(positive, axis=1)) / n  # (M, m): share of negatives below each positive
    of_negative = 1 - (together[:, m:] - rankdata(negative, axis=1)) / m  # (M, n): share of positives above
    covariance = np.atleast_2d(np.cov(of_positive)) / m + np.atleast_2d(np.cov(of_negative)) / n
    return of_positive.mean(axis=1), covariance


def delong_test(difference: float, covariance: np.ndarray) -> DeLongTest:
    """Two-sided test of an AUROC difference from (variance of a, covariance, variance of b); p is 1 where all are 0."""
    variance = float(covariance[0] - 2 * covariance[1] + covariance[2])
    deviation = float(np.sqrt(max(variance, 0.0)))
    if deviation == 0:
        return DeLongTest(float(difference), 0.0, 1.0)
    z = float(difference) / deviation
    return DeLongTest(float(difference), z, float(2 * norm.sf(abs(z))))


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down method (1979), in the order given."""
    order = np.argsort(values)
    scaled = np.array(values)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


def _in_words(a: str, b: str, difference: Mapping[str, Estimate]) -> str:
    clauses = []
    for name, found in difference.items():
        size = f"{abs(found.value):.4f} {found.interval('+.4f')}"
        if found.holds_zero:
            clauses.append(f"{COMPARED[name]}: within noise, difference {size}")
        else:
            clauses.append(f"{COMPARED[name]}: {a if found.value > 0 else b} is better by {size}")
    return f"{a} against {b}: " + "; ".join(clauses)


def _ranking(models: Mapping[str, ModelFigures], pairs: Sequence[PairReport]) -> str:
    """The models from the highest AUROC down: ">" where the bootstrap separates two neighbours, "~" where not."""
    names = sorted(models, key=lambda name: -models[name].auroc)
    noise = {frozenset((pair.a, pair.b)): pair.difference["auroc"].holds_zero for pair in pairs}
    ranking = names[0]
    for before, name in zip(names, names[1:], strict=False):
        ranking += f" {'~' if noise[frozenset((before, name))] else '>'} {name}"
    return ranking
