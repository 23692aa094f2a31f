"""`hf-pneumo benchmark reports`: how many radiology reports a second one core labels.

The reports are composed of the sentences of the labeler's own tests: an indication, four to six sentences of findings
and one or two of impression. Sentences recur in an archive, so that the labeler remembers what they say; the rate is
given with what it remembers of the reports before, and with everything forgotten before each report.
"""

from __future__ import annotations

import platform
import random
import statistics
import time
from pathlib import Path
from typing import Any

import spacy

from hf_pneumo.data.reports import ReportLabeler
from hf_pneumo.data.reports.labeler import forget
from hf_pneumo.data.reports.table import read_reports
from hf_pneumo.files import write_json

SENTENCES = ("report_sentences.csv", "report_kinds.csv", "report_kinds_later.csv")
_COUNT = 1000
_LONGEST = 25  # words of a sentence, so that no whole report is taken for one


def compose(sentences: list[str], count: int, seed: int = 0) -> list[str]:
    """So many reports of some of the sentences each, the same for the same seed."""
    rng = random.Random(seed)
    reports = []
    for _ in range(count):
        findings, impression = (" ".join(rng.sample(sentences, rng.randint(*few))) for few in ((4, 6), (1, 2)))
        reports.append(f"INDICATION: Cough and fever.\n\nFINDINGS: {findings}\n\nIMPRESSION: {impression}")
    return reports


def sentences_in(folder: Path) -> list[str]:
    """The sentences of the labeler's tests that can stand in any report: English, without a heading of their own."""
    labeler = ReportLabeler()
    texts = [text.strip() for name in SENTENCES for text in read_reports(folder / name).reports if text]
    plain = (text for text in texts if not set(":\n") & set(text) and 3 <= len(text.split()) <= _LONGEST)
    return [text if text.endswith((".", "!", "?")) else f"{text}." for text in plain if not labeler.blank_reason(text)]


def measure_reports(reports: list[str], rounds: int) -> dict[str, Any]:
    """Reports a second of processor time and of time on the clock, medians of the rounds, after one that counts not."""
    labeler, rates = ReportLabeler(), {}
    for name, forgetful in (("remembering", False), ("forgetting", True)):
        seconds = [_seconds(labeler, reports, forgetful) for _ in range(rounds + 1)][1:]
        processor, clock = (statistics.median(values) for values in zip(*seconds, strict=True))
        rates[name] = {"per_processor_second": len(reports) / processor, "per_second": len(reports) / clock}
    words = statistics.mean(len(report.split()) for report in reports)
    return {"reports": len(reports), "words": words, "rounds": rounds, "rates": rates}


def _seconds(labeler: ReportLabeler, reports: list[str], forgetful: bool) -> tuple[float, float]:
    processor, clock = time.process_time(), time.perf_counter()
    for report in reports:
        if forgetful:
            forget()
        labeler.label(report)
    return time.process_time() - processor, time.perf_counter() - clock


def reports_table(row: dict[str, Any]) -> str:
    """The rates as Markdown."""
    lines = [
        "{processor}, one core, Python {python}, spaCy {spacy}; {reports} reports of {words:.0f} words, medians of "
        "{rounds} rounds:".format(**row),
        "",
        "| sentences read before are | reports a second of processor time | reports a second on the clock |",
        "|---|---|---|",
    ]
    for name, words in (("remembering", "remembered"), ("forgetting", "read again")):
        rates = row["rates"][name]
        lines.append(f"| {words} | {rates['per_processor_second']:.0f} | {rates['per_second']:.0f} |")
    return "\n".join(lines) + "\n"


def run_reports(folder: Path, output: Path, rounds: int, processor: str) -> None:
    """Measure on the sentences of a folder; write `output` and, beside it, the table."""
    row = measure_reports(compose(sentences_in(folder), _COUNT), rounds)
    row |= {"processor": processor, "python": platform.python_version(), "spacy": spacy.__version__}
    write_json(output, row)
    output.with_suffix(".md").write_text(reports_table(row), encoding="utf-8")
    print(reports_table(row))
