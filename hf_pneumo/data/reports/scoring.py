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


def markdown_table(scores: dict) -> str:
    """The scores as a Markdown table: precision / recall (number of gold labels) per observation and value."""
    lines = [
        "| observation | " + " | ".join(f"{word}: precision / recall (gold)" for word in VALUES) + " |",
        "|---|" + "---|" * len(VALUES),
    ]
    for name, values in [*scores["observations"].items(), ("all (micro)", scores["micro"])]:
        lines.append(f"| {name} | " + " | ".join(_cell(values[word]) for word in VALUES) + " |")
    lines.append("")
    lines.append(f"{scores['reports']} reports; all fourteen values right in {scores['exact']:.1%} of them.")
    return "\n".join(lines)


def _cell(counts: dict) -> str:
    if not counts["gold"] and not counts["found"]:
        return "-"
    ratios = ("-" if counts[key] is None else f"{counts[key]:.2f}" for key in ("precision", "recall"))
    return " / ".join(ratios) + f" ({counts['gold']})"
