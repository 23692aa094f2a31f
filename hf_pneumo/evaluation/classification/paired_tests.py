"""Paired comparison of models on the same films: is one better, or is the difference noise?

Three views of each pair: McNemar's exact test of the errors, DeLong's test of the AUROC, and a bootstrap by patient of
the differences. The first two take films for independent, which several films of one child are not; the bootstrap does
not, and decides what is said in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm, rankdata

from hf_pneumo.data.labels import TASKS, LabelSet
from hf_pneumo.evaluation.classification.metrics import FEWEST, INTERVAL, METRICS, RESAMPLES, patient_resamples
from hf_pneumo.evaluation.results import read_results, scores_and_targets

COMPARED = ("auroc", "accuracy", "balanced_accuracy")
SHOWN = {"auroc": "AUROC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}


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


def read_scored(path: str | Path) -> Scored:
    """Read predictions (.parquet) with their results (.json) beside them, from the path of either.

    Both lie as evaluation writes them: predictions/NAME.parquet and results/NAME.json, or predictions.parquet and
    results.json in one folder. Raises OSError where one of them is missing, ValueError where they do not fit.
    """
    path = Path(path)
    pair = _pair(path)
    if missing := [str(p) for p in pair if not p.is_file()]:
        raise OSError(
            f"`results` {str(path)!r} lacks {' and '.join(missing)}; evaluate the model with scripts/evaluate.py"
        )
    frame, report = pd.read_parquet(pair[0]).sort_values("file_name"), read_results(pair[1])
    labels = _label_set(report)
    if len(frame) != report["n"] or not frame["file_name"].is_unique:
        raise ValueError(f"`results` {str(pair[1])!r} is of {report['n']} films, its predictions are of {len(frame)}")
    scores, targets = scores_and_targets(frame, labels)
    thresholds = np.array([report["labels"][name]["threshold"] for name in labels.score_names])
    return Scored(
        name=str(report.get("model", path.stem)),
        task=labels.task,
        labels=labels.score_names,
        files=tuple(frame["file_name"]),
        patients=tuple(frame["patient"]),
        scores=scores,
        verdicts=scores >= thresholds,
        targets=targets,
    )


def _pair(path: Path) -> tuple[Path, Path]:
    """Where the predictions and the results are, of which ``path`` is one."""
    folder, stem = path.parent, path.stem
    if folder.name in ("predictions", "results"):
        return folder.parent / "predictions" / f"{stem}.parquet", folder.parent / "results" / f"{stem}.json"
    return folder / "predictions.parquet", folder / "results.json"


def _label_set(report: Mapping[str, Any]) -> LabelSet:
    if report.get("task") not in TASKS:
        raise ValueError(f"`results` are of the task {report.get('task')!r}; known are {', '.join(TASKS)}")
    labels = TASKS[report["task"]]
    return labels if labels.exclusive else labels.without(set(labels.names) - set(report["labels"]))


def compare(runs: Sequence[Scored], *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Every two of ``runs`` compared, label by label; JSON-ready.

    Raises ValueError unless there are at least two, of the same films, patients, labels and targets.
    """
    runs = _named_apart(runs)
    _check(runs)
    first = runs[0]
    return {
        "n": len(first.files),
        "patients": len(set(first.patients)),
        "task": first.task,
        "models": [run.name for run in runs],
        "resamples": resamples,
        "labels": {name: _compare_label(runs, i, resamples) for i, name in enumerate(first.labels)},
    }


def _named_apart(runs: Sequence[Scored]) -> list[Scored]:
    """The runs, with a number after names that several have."""
    names = [run.name for run in runs]
    apart = [f"{n} ({names[: i + 1].count(n)})" if names.count(n) > 1 else n for i, n in enumerate(names)]
    return [Scored(**{**vars(run), "name": name}) for run, name in zip(runs, apart, strict=True)]


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


def _compare_label(runs: Sequence[Scored], label: int, resamples: int) -> dict[str, Any]:
    known = ~np.isnan(runs[0].targets[:, label])
    y = runs[0].targets[known, label]
    counts = {"n": int(known.sum()), "positives": int((y == 1).sum())}
    if min(counts["positives"], counts["n"] - counts["positives"]) < FEWEST:
        return {**counts, "note": "too few films of either class for a comparison", "pairs": []}
    scores = np.stack([run.scores[known, label] for run in runs])  # (M, n)
    verdicts = np.stack([run.verdicts[known, label] for run in runs])  # (M, n)
    rows = patient_resamples(np.array(runs[0].patients)[known], resamples)
    values = {name: [METRICS[name](p, y, v) for p, v in zip(scores, verdicts, strict=True)] for name in COMPARED}
    drawn = {name: _drawn(name, scores, verdicts, y, rows) for name in COMPARED}  # (R, M) each
    aurocs, covariance = delong(scores, y)
    pairs = []
    for a, b in combinations(range(len(runs)), 2):
        mcnemar = mcnemar_exact(verdicts[a] == (y == 1), verdicts[b] == (y == 1))
        difference = {
            name: _difference(values[name][a] - values[name][b], drawn[name][:, a] - drawn[name][:, b])
            for name in COMPARED
        }
        pairs.append(
            {
                "a": runs[a].name,
                "b": runs[b].name,
                "mcnemar": mcnemar,
                "delong": delong_test(aurocs[a] - aurocs[b], covariance[[a, a, b], [a, b, b]]),
                "difference": difference,
                "words": _in_words(runs[a].name, runs[b].name, difference),
            }
        )
    for test in ("mcnemar", "delong"):
        for pair, p in zip(pairs, holm([pair[test]["p"] for pair in pairs]), strict=True):
            pair[test]["p_holm"] = p
    errors = [int((v != (y == 1)).sum()) for v in verdicts]
    models = {
        run.name: {"errors": errors[i], **{name: values[name][i] for name in COMPARED}} for i, run in enumerate(runs)
    }
    return {**counts, "models": models, "pairs": pairs, "ranking": _ranking(models, pairs)}


def _drawn(
    name: str, scores: np.ndarray, verdicts: np.ndarray, y: np.ndarray, rows: Sequence[np.ndarray]
) -> np.ndarray:
    """The metric ``name`` of every model (columns) in every resample (rows): the same films for all of them."""
    return np.array([[METRICS[name](p[r], y[r], v[r]) for p, v in zip(scores, verdicts, strict=True)] for r in rows])


def _difference(value: float, drawn: np.ndarray) -> dict[str, float]:
    low, high = np.nanpercentile(drawn, INTERVAL)
    return {"value": float(value), "low": float(low), "high": float(high)}


def mcnemar_exact(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, Any]:
    """McNemar's exact two-sided test of two bool arrays (N,), whether each film was called right (McNemar 1947).

    Under the null the films on which only one is right are a fair coin's; p is 1 where there are none.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    p = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return {"only_a_right": only_a, "only_b_right": only_b, "p": float(p)}


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


def delong_test(difference: float, covariance: np.ndarray) -> dict[str, float]:
    """Two-sided test of an AUROC difference from (variance of a, covariance, variance of b); p is 1 where all are 0."""
    variance = float(covariance[0] - 2 * covariance[1] + covariance[2])
    deviation = float(np.sqrt(max(variance, 0.0)))
    if deviation == 0:
        return {"difference": float(difference), "z": 0.0, "p": 1.0}
    z = float(difference) / deviation
    return {"difference": float(difference), "z": z, "p": float(2 * norm.sf(abs(z)))}


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down method (1979), in the order given."""
    order = np.argsort(values)
    scaled = np.array(values)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


def is_noise(difference: Mapping[str, float]) -> bool:
    """Whether the 95 % interval of a difference holds zero."""
    return difference["low"] <= 0 <= difference["high"]


def _in_words(a: str, b: str, difference: Mapping[str, Mapping[str, float]]) -> str:
    told = []
    for name, found in difference.items():
        size = f"{abs(found['value']):.4f} ({found['low']:+.4f} to {found['high']:+.4f})"
        if is_noise(found):
            told.append(f"{SHOWN[name]}: within noise, difference {size}")
        else:
            better = a if found["value"] > 0 else b
            told.append(f"{SHOWN[name]}: {better} is better by {size}")
    return f"{a} against {b}: " + "; ".join(told)


def _ranking(models: Mapping[str, Mapping[str, float]], pairs: Sequence[Mapping[str, Any]]) -> str:
    """The models from the highest AUROC down: ">" where the bootstrap tells two neighbours apart, "~" where not."""
    names = sorted(models, key=lambda name: -models[name]["auroc"])
    noise = {frozenset((p["a"], p["b"])): is_noise(p["difference"]["auroc"]) for p in pairs}
    told = names[0]
    for before, name in zip(names, names[1:], strict=False):
        told += f" {'~' if noise[frozenset((before, name))] else '>'} {name}"
    return told


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report of :func:`compare` as Markdown: a table and the words for each label."""
    lines = [
        f"{report['n']} films of {report['patients']} patients; 95 % intervals from {report['resamples']} resamples of "
        "patients. p-values take films for independent; in brackets Holm's, for the number of pairs.",
        "",
    ]
    for label, found in report["labels"].items():
        lines += [f"**{label}**: {found['positives']} positive of {found['n']}", ""]
        if "note" in found:
            lines += [found["note"], ""]
            continue
        lines += ["| a | b | only a right | only b right | McNemar p | DeLong p | "
                  + " | ".join(f"{SHOWN[name]}, a - b" for name in COMPARED) + " |"]  # fmt: skip
        lines += ["|" + "---|" * (6 + len(COMPARED))]
        lines += [_row(pair) for pair in found["pairs"]]
        lines += ["", f"By AUROC (> told apart, ~ within noise): {found['ranking']}", ""]
        lines += [f"- {pair['words']}" for pair in found["pairs"]] + [""]
    return "\n".join(lines)


def _row(pair: Mapping[str, Any]) -> str:
    mcnemar, delong_ = pair["mcnemar"], pair["delong"]
    cells = [pair["a"], pair["b"], str(mcnemar["only_a_right"]), str(mcnemar["only_b_right"])]
    cells += [f"{test['p']:.3g} ({test['p_holm']:.3g})" for test in (mcnemar, delong_)]
    cells += ["{value:+.4f} ({low:+.4f} to {high:+.4f})".format(**pair["difference"][name]) for name in COMPARED]
    return "| " + " | ".join(cells) + " |"
