"""Audit of a split: does any patient, or any pixel-identical film, stand on two sides?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.patients import paper_patient
from hf_pneumo.data.splits import Parts


def audit_splits(table: Dataset, parts: Parts, labels: LabelSet, digests: Sequence[str]) -> dict[str, Any]:
    """Counts per part, class and subgroup, patients on several sides by each key, and groups of identical films.

    ``parts``: row numbers per part of ``table``; ``digests``: one per row. The result is JSON-ready.
    """
    part_of = {int(row): name for name, rows in parts.items() for row in rows}
    rows = sorted(part_of)
    names = np.array(table["file_name"])
    strict = np.array(table["patient"])
    paper = np.array([paper_patient(n) for n in names])
    groups = defaultdict(list)
    for row in rows:
        groups[digests[row]].append(row)
    identical = [group for group in groups.values() if len(group) > 1]
    classes = np.array(table["label"]) if labels.exclusive else np.zeros(len(names), dtype=int)
    return {
        "films": {name: len(part) for name, part in parts.items()},
        "classes": _class_counts(table, parts, labels),
        "subgroups": _counts(parts, table["subgroup"]),
        "patients": {name: len(set(strict[part].tolist())) for name, part in parts.items()},
        "straddling_patients": {
            "strict": _straddling(strict, part_of),
            "paper": _straddling(paper, part_of),
        },
        "identical_groups": [[str(names[row]) for row in group] for group in identical],
        "identical_across_parts": [
            [f"{part_of[row]}/{names[row]}" for row in group]
            for group in identical
            if len({part_of[row] for row in group}) > 1
        ],
        "identical_across_patients": [
            [str(names[row]) for row in group] for group in identical if len(set(strict[group].tolist())) > 1
        ],
        "identical_across_classes": [
            [str(names[row]) for row in group] for group in identical if len(set(classes[group].tolist())) > 1
        ],
    }


def _class_counts(table: Dataset, parts: Parts, labels: LabelSet) -> dict[str, dict[str, int]]:
    """{part: {label: number of films that have it}}; of labels that do not exclude each other a film has several."""
    values = np.array(table["label"])
    if labels.exclusive:
        return _counts(parts, [labels.names[i] for i in values])
    return {
        name: dict(zip(labels.names, (values[rows] == 1).sum(axis=0).tolist(), strict=True))
        for name, rows in parts.items()
    }


def _counts(parts: Parts, values: Sequence[str | None]) -> dict[str, dict[str, int]]:
    """{part: {value: number of films}}, values sorted."""
    return {name: dict(sorted(Counter(str(values[i]) for i in rows).items())) for name, rows in parts.items()}


def _straddling(patients: np.ndarray, part_of: dict[int, str]) -> dict[str, list[str]]:
    """{patient: parts} of those whose films are in more than one part."""
    sides = defaultdict(set)
    for row, part in part_of.items():
        sides[str(patients[row])].add(part)
    return {patient: sorted(found) for patient, found in sorted(sides.items()) if len(found) > 1}


def as_markdown(report: dict[str, Any]) -> str:
    """The audit as one Markdown table and the lists behind it, at most five entries each."""
    parts = list(report["films"])
    lines = ["| | " + " | ".join(parts) + " |", "|---|" + "---|" * len(parts)]
    for title, key in (("films", "films"), ("patients", "patients")):
        lines.append(f"| {title} | " + " | ".join(str(report[key][p]) for p in parts) + " |")
    for title, key in (("class", "classes"), ("subgroup", "subgroups")):
        for value in sorted({v for p in parts for v in report[key][p]}):
            lines.append(f"| {title} {value} | " + " | ".join(str(report[key][p].get(value, 0)) for p in parts) + " |")
    for rule, found in report["straddling_patients"].items():
        lines += ["", f"Patients on more than one side, by the {rule} key: {len(found)}" + _first(found)]
    for title in (
        "identical_groups",
        "identical_across_parts",
        "identical_across_patients",
        "identical_across_classes",
    ):
        found = [" = ".join(group) for group in report[title]]
        lines += ["", f"{title.replace('_', ' ').capitalize()}: {len(found)}" + _first(found)]
    return "\n".join(lines) + "\n"


def _first(found: Sequence[str] | dict[str, Any], most: int = 5) -> str:
    shown = ", ".join(list(found)[:most])
    return f" ({shown}{', ...' if len(found) > most else ''})" if shown else ""
