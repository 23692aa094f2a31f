"""Tables of what a checkpoint knows of its own limits: abstaining, prediction sets, other thresholds, pictures and
hospitals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_pneumo.evaluation.classification.operating_points import MEASURED
from hf_pneumo.reporting.checkpoint_report import Evaluation, number, with_interval

Named = tuple[str, Evaluation]  # what the row is called, and what it tells


def doubt_table(named: Iterable[Named]) -> str:
    """Of tests with one score, a row each: abstaining, prediction sets, and errors on distinct films."""
    lines = [
        "| model | AURC (best possible) | answered | errors among them | a set of | covers | and each label |"
        " sets of one label (wrong) | errors on distinct films |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {name} | " + " | ".join(_doubt_cells(e)) + " |" for name, e in named if e.has_one_score]
    return "\n".join(lines) + "\n"


def _doubt_cells(evaluation: Evaluation) -> Iterator[str]:
    (found,) = evaluation.values["selective"].values()
    metrics = found["metrics"]
    yield f"{metrics['aurc']['value']:.4f} ({metrics['best_aurc']['value']:.4f})"
    yield with_interval(metrics["coverage"])
    yield f"{found['answered']['errors']} of {found['answered']['n']}"
    if sets := evaluation.values.get("conformal"):
        (question,) = sets["questions"].values()
        yield number(sets["coverage"])
        yield with_interval(question["covered"])
        yield ", ".join(f"{name} {number(own['covered']['value'])}" for name, own in question["answers"].items())
        yield f"{question['single']['n']} ({question['single']['errors']})"
    else:
        yield from [""] * 4
    distinct = evaluation.values.get("distinct")
    yield f"{distinct['errors']} of {distinct['n']}" if distinct else ""


def sensitivity_table(named: Iterable[Named]) -> str:
    """Of tests with one score: the checkpoint's own threshold, then those that val promises a sensitivity at."""
    lines = [
        "| model | threshold for | threshold | errors | accuracy | balanced accuracy | sensitivity | specificity |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, evaluation in named:
        if evaluation.has_one_score and (found := evaluation.values.get("at_sensitivity")):
            (own,), (others,) = evaluation.values["labels"].values(), found.values()
            lines.append(_sensitivity_row(name, "its verdicts", own))
            lines += [_sensitivity_row("", f"sensitivity {share} on val", other) for share, other in others.items()]
    return "\n".join(lines) + "\n"


def _sensitivity_row(name: str, promised: str, found: Mapping[str, Any]) -> str:
    start = [name, promised, f"{found['threshold']:.4f}", str(found["errors"])]
    return "| " + " | ".join([*start, *_cells(found, MEASURED)]) + " |"


def external_table(named: Iterable[Named]) -> str:
    """Tests and external films, a row each, and a row for every view and age of the external ones."""
    lines = [
        "| films | n | prevalence | errors | AUROC | sensitivity | specificity | balanced accuracy | unlike |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, evaluation in named:
        values = evaluation.values
        if len(values["labels"]) > 1:
            continue
        (own,) = values["labels"].values()
        suspect = values.get("suspect")
        lines.append(_external_row(name, own, number(suspect["share"]) if suspect else ""))
        for column, groups in values.get("groups", {}).items():
            if column != "sex":
                lines += [_external_row(f"_{column} {value}_", group, "") for value, group in groups.items()]
    return "\n".join(lines) + "\n"


def _external_row(name: str, found: Mapping[str, Any], suspect: str) -> str:
    start = [name, str(found["n"]), number(found["prevalence"]), str(found["errors"])]
    cells = _cells(found, ("auroc", "sensitivity", "specificity", "balanced_accuracy"))
    return "| " + " | ".join([*start, *cells, suspect]) + " |"


def _cells(found: Mapping[str, Any], metrics: Iterable[str]) -> list[str]:
    """The ``metrics`` of one score's figures, with their intervals where there are enough films."""
    return ["too few" if "note" in found else with_interval(found["metrics"][metric]) for metric in metrics]


def ood_table(found: Mapping[str, Any]) -> str:
    """results/ood.json: how many pictures of every kind are flagged, and how well they are told from films."""
    films = found["films"]
    lines = [
        "| picture | n | flagged | AUROC |",
        "|---|---|---|---|",
        f"| test films as they are | {films['n']} | {number(1 - films['passed'])} | |",
    ]
    for kind, own in found["kinds"].items():
        flagged = own["flagged"] if isinstance(own["flagged"], Mapping) else {"value": own["flagged"]}
        auroc = with_interval(own["auroc"]) if "auroc" in own else "too few"
        lines.append(f"| {kind} | {own['n']} | {with_interval(flagged)} | {auroc} |")
    return "\n".join(lines) + "\n"
