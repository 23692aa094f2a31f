"""Label free-text chest X-ray reports with the fourteen CheXpert observations, or measure the labeler on gold labels.

hf-pneumo label-reports --reports reports.csv --output labels.csv
hf-pneumo label-reports --explain "No pneumothorax. Opacity at the left base may be atelectasis."
hf-pneumo label-reports --gold tests/data/report_sentences.csv --output results/report_labeler
hf-pneumo label-reports --gold tests/data/report_kinds.csv --output results/report_kinds --before FILE.json

reports.csv has a column `report`, or `findings` and `impression`, or is one column without a header. labels.csv keeps
its rows in order: 1 present, 0 absent, -1 uncertain, blank not mentioned. A malformed row is named by its number and
stays blank; the status is then 1. A report that is empty, in another language or without a reading ("Study cancelled")
is named and stays blank too, but is no failure.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hf_pneumo.data.observations import CHEXPERT_14
from hf_pneumo.data.reports import ReportLabeler
from hf_pneumo.data.reports.scoring import markdown_kinds, markdown_table, score_kinds, score_labels
from hf_pneumo.data.reports.table import ReportTable, ReportTableError, read_reports, write_labels

_HONESTY = (
    "The sentences were written by the authors of the rules, before the rules; the rules were then made to fit them. "
    "The figures say that these kinds are read, not how the labeler does on the reports of a hospital."
)


@dataclass(frozen=True)
class Arguments:
    reports: str | None = field(default=None, metadata={"help": "CSV with a column report, or findings and impression"})
    output: str | None = field(
        default=None, metadata={"help": "labels CSV to write; with --gold the stem of .json and .md"}
    )
    explain: str | None = field(
        default=None, metadata={"help": "one report as text: print the words and rules behind it"}
    )
    gold: str | None = field(
        default=None, metadata={"help": "CSV of reports with the fourteen columns filled in: measure"}
    )
    before: str | None = field(
        default=None, metadata={"help": "with --gold: the .json of an earlier measurement of it, to show beside"}
    )
    parents: bool = field(
        default=False, metadata={"help": "a present child also marks its parent of CheXpert's figure 1"}
    )
    keep: list[str] = field(default_factory=list, metadata={"help": "columns of the input to copy before the labels"})

    def __post_init__(self):
        given = [name for name in ("reports", "explain", "gold") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give one of --reports, --explain and --gold, not {' and '.join(given) or 'none'}")
        if self.reports and not self.output:
            raise ValueError("`output` is missing; name the labels CSV to write")


def label_table(labeler: ReportLabeler, table: ReportTable) -> tuple[np.ndarray, dict[int, str]]:
    """Labels (N, 14) and, by row from 0, why a row has none."""
    reports = table.reports
    labels = np.full((len(reports), len(CHEXPERT_14)), np.nan, dtype=np.float32)
    problems: dict[int, str] = {}
    for row, result in enumerate(tqdm(labeler.pipe(reports), total=len(reports), unit="report", disable=None)):
        if isinstance(result, Exception):
            problems[row] = table.malformed.get(row, str(result))
            continue
        labels[row] = result
        if np.isnan(result).all() and (reason := labeler.blank_reason(reports[row] or "")):
            problems[row] = reason
    return labels, problems


def label(arguments: Arguments, reports: str, output: str) -> bool:
    table = read_reports(reports)
    missing = [name for name in arguments.keep if name not in table.columns]
    if missing:
        raise ValueError(
            f"`keep` names {', '.join(missing)}; the other columns are {', '.join(table.columns) or 'none'}"
        )
    start = time.perf_counter()
    labels, problems = label_table(ReportLabeler(parents=arguments.parents), table)
    seconds = time.perf_counter() - start
    for row, reason in problems.items():
        print(f"{table.places[row]} skipped: {reason}")
    write_labels(output, labels, columns=table.columns[arguments.keep] if arguments.keep else None)
    done = len(labels) - len(problems)
    print(f"{done} of {len(labels)} reports labelled in {seconds:.1f} s, {len(problems)} skipped: {output}")
    return not table.malformed and bool(done)


def explain(arguments: Arguments, report: str) -> None:
    labeler = ReportLabeler(parents=arguments.parents)
    for mention in labeler.explain(report):
        print(mention)
    print(json.dumps({name: value for name, value in labeler.label(report).items() if value is not None}))


def measure(arguments: Arguments, gold_table: str) -> None:
    table = read_reports(gold_table)
    missing = [name for name in CHEXPERT_14 if name not in table.columns]
    if missing:
        raise ReportTableError(f"`gold` lacks the columns {', '.join(missing)}")
    gold = table.columns[list(CHEXPERT_14)].replace("", "nan").to_numpy(dtype=np.float32)
    labels, _ = label_table(ReportLabeler(parents=arguments.parents), table)
    if "kind" in table.columns:
        scores = score_kinds(labels, gold, table.columns["kind"].tolist())
        before = json.loads(Path(arguments.before).read_text(encoding="utf-8")) if arguments.before else None
        text = f"{markdown_kinds(scores, before)}\n\n{_HONESTY}"
    else:
        splits = table.columns["split"].to_numpy() if "split" in table.columns else np.full(len(gold), "all")
        scores = {str(name): score_labels(labels[splits == name], gold[splits == name]) for name in np.unique(splits)}
        text = "\n\n".join(f"**{name}**\n\n{markdown_table(score)}" for name, score in scores.items())
    print(text)
    if arguments.output:
        stem = Path(arguments.output)
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
        stem.with_suffix(".md").write_text(text + "\n", encoding="utf-8")


def run(arguments: Arguments) -> bool:
    if arguments.reports and arguments.output:
        return label(arguments, arguments.reports, arguments.output)
    if arguments.explain:
        explain(arguments, arguments.explain)
    elif arguments.gold:
        measure(arguments, arguments.gold)
    return True
