"""Precision and recall of labelled reports against gold labels, per observation and per value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_pneumo.data.observations import CHEXPERT_14, NEGATIVE, POSITIVE, UNCERTAIN

VALUES: dict[str, int] = {"positive": POSITIVE, "negative": NEGATIVE, "uncertain": UNCERTAIN}


def _counts(hits: int, found: int, gold: int) -> dict[str, float | int | None]:
    return {
        "precision": hits / found if found else None,
        "recall": hits / gold if gold else None,
        "hits": hits,
        "found": found,
        "gold": gold,
    }


def score_labels(labels: np.ndarray, gold: np.ndarray, *, names: Sequence[str] = CHEXPERT_14) -> dict:
    """Per observation, per value and over all: precision, recall and the counts they come from.

    labels, gold: (N, K) of 1, 0, -1, NaN for not mentioned. A ratio whose denominator is 0 is None. `micro` pools the
    observations; `exact` is the share of rows whose K values all agree. Raises ValueError for shapes that differ.
    """
    if labels.shape != gold.shape or labels.shape[1:] != (len(names),):
        raise ValueError(f"`labels` {labels.shape} and `gold` {gold.shape} must both be (N, {len(names)}).")
    observations: dict[str, dict] = {name: {} for name in names}
    micro = {}
    for word, value in VALUES.items():
        found, true = labels == value, gold == value
        for column, name in enumerate(names):
            hit = (found & true)[:, column].sum()
            observations[name][word] = _counts(int(hit), int(found[:, column].sum()), int(true[:, column].sum()))
        micro[word] = _counts(int((found & true).sum()), int(found.sum()), int(true.sum()))
    same = (labels == gold) | (np.isnan(labels) & np.isnan(gold))
    return {
        "reports": len(labels),
        "exact": float(same.all(axis=1).mean()) if len(labels) else None,
        "micro": micro,
        "observations": observations,
    }


def score_kinds(labels: np.ndarray, gold: np.ndarray, kinds: Sequence[str]) -> dict:
    """`score_labels` of all rows ("all"), and of the rows of each kind ("kinds") with the observations named there."""
    scores: dict = {"all": score_labels(labels, gold), "kinds": {}}
    for kind in dict.fromkeys(kinds):
        rows = np.array([other == kind for other in kinds])
        score = score_labels(labels[rows], gold[rows])
        score["observations"] = {
            name: values
            for name, values in score["observations"].items()
            if any(counts["found"] or counts["gold"] for counts in values.values())
        }
        scores["kinds"][kind] = score
    return scores


def markdown_table(scores: dict, before: dict | None = None) -> str:
    """The scores as a Markdown table: precision / recall (number of gold labels) per observation and value.

    With the scores of the same reports ``before`` a change, a cell shows both.
    """
    lines = _head("observation", [f"{word}: precision / recall (gold)" for word in VALUES])
    rows = [*scores["observations"].items(), ("all (micro)", scores["micro"])]
    earlier = {**before["observations"], "all (micro)": before["micro"]} if before else {}
    for name, values in rows:
        cells = (_cell(values[word], earlier.get(name, {}).get(word)) for word in VALUES)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("")
    was = f", {before['exact']:.1%} before" if before else ""
    lines.append(f"{scores['reports']} reports; all fourteen values right in {scores['exact']:.1%} of them{was}.")
    return "\n".join(lines)


def markdown_kinds(scores: dict, before: dict | None = None) -> str:
    """The scores of `score_kinds` as two Markdown tables, by observation and by kind, beside those ``before``."""
    lines = [markdown_table(scores["all"], before and before["all"]), ""]
    lines += _head("kind", ["reports", "all values right", *(f"{word}: precision / recall (gold)" for word in VALUES)])
    for kind, score in scores["kinds"].items():
        earlier = before["kinds"].get(kind) if before else None
        exact = f"{score['exact']:.0%}" if earlier is None else f"{earlier['exact']:.0%} → {score['exact']:.0%}"
        cells = (_cell(score["micro"][word], earlier and earlier["micro"][word]) for word in VALUES)
        lines.append(f"| {kind} | {score['reports']} | {exact} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _head(first: str, columns: Sequence[str]) -> list[str]:
    return [f"| {first} | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]


def _cell(counts: dict, before: dict | None = None) -> str:
    if not counts["gold"] and not counts["found"] and not (before and before["found"]):
        return "-"
    text = _ratios(counts) if before is None else f"{_ratios(before)} → {_ratios(counts)}"
    return f"{text} ({counts['gold']})"


def _ratios(counts: dict) -> str:
    return " / ".join("-" if counts[key] is None else f"{counts[key]:.2f}" for key in ("precision", "recall"))
