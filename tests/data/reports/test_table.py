"""CSV files of reports in and labels out, and the command between them."""

from __future__ import annotations

import codecs
import csv
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hf_pneumo.cli.main import run_command
from hf_pneumo.data.observations import CHEXPERT_14
from hf_pneumo.data.reports.table import ReportTableError, read_reports, write_labels


@pytest.mark.parametrize(
    "encoded",
    [
        "report\nÉpanchement\n".encode(),
        codecs.BOM_UTF8 + "report\nÉpanchement\n".encode(),
        "report\nÉpanchement\n".encode("utf-16"),
        "report\nÉpanchement\n".encode("cp1252"),
        "Report\r\nÉpanchement\r\n".encode(),
    ],
)
def test_encodings(tmp_path: Path, encoded: bytes) -> None:
    (tmp_path / "reports.csv").write_bytes(encoded)
    assert read_reports(tmp_path / "reports.csv").reports == ["Épanchement"]


def test_findings_and_impression_become_one_report(tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text('study,findings,impression\n1,"Clear, no effusion",Normal\n2,,Pneumonia\n3,,\n')
    table = read_reports(path)
    assert table.reports == ["FINDINGS: Clear, no effusion\n\nIMPRESSION: Normal", "IMPRESSION: Pneumonia", ""]
    assert table.columns.columns.tolist() == ["study"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id,Reports", "Clear"),
        ("id,REPORT TEXT", "Clear"),
        ("id,report_text", "Clear"),
        ("id;Radiology Report", "Clear"),
        ("id\tReport", "Clear"),
        ("id|Impression", "IMPRESSION: Clear"),
        ("id,Findings", "FINDINGS: Clear"),
        ("id,section_impression", "IMPRESSION: Clear"),
    ],
)
def test_names_of_columns_and_separators(tmp_path: Path, header: str, expected: str) -> None:
    path = tmp_path / "reports.csv"
    path.write_text(header + "\n" + header.replace("id", "007").replace(header[3:], "Clear") + "\n")
    table = read_reports(path)
    assert table.reports == [expected]
    assert table.columns["id"].tolist() == ["007"]


def test_one_column_without_a_header_is_reports(tmp_path: Path) -> None:
    """The form in which CheXpert's labeler publishes its sample: quoted reports of several lines, no header."""
    path = tmp_path / "reports.csv"
    path.write_text('"\n1. No effusion, no edema.\n\n2. Cardiomegaly.\n"\n"Clear, normal."\n')
    assert read_reports(path).reports == ["1. No effusion, no edema.\n\n2. Cardiomegaly.", "Clear, normal."]
    path.write_text("No effusion, no edema.\nStable cardiomegaly; no change.\n")
    assert read_reports(path).reports == ["No effusion, no edema.", "Stable cardiomegaly; no change."]


def test_rows_keep_their_place(tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text('id,report\n1,"two\nlines"\n\n3,a,b,c\n4\n5,last\n6,"clear" lungs\n')
    table = read_reports(path)
    assert table.reports == ["two\nlines", None, "", "last", None]
    assert table.columns["id"].tolist() == ["1", "", "4", "5", ""]
    assert list(table.malformed) == [1, 4]
    assert table.places[1] == "row 2 (line 5)"


def test_quotes_that_do_not_fit_cost_one_row(tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text('report\n"clear" lungs\nNo effusion\n"clear" lungs')
    assert read_reports(path).reports == [None, "No effusion", None]


def test_a_header_of_one_name_means_one_column(tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text("report\nno effusion, no edema\nclear, normal\n")
    assert read_reports(path).reports == ["no effusion, no edema", "clear, normal"]


def test_a_long_report_is_read(tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text("id,report\n1," + "No effusion. " * 12_000 + "\n")
    assert len(read_reports(path).reports[0]) == 156_000


def test_tables_without_reports(tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text("text,label\nclear,0\n")
    with pytest.raises(ReportTableError, match="has the columns text, label; name one `report`"):
        read_reports(path)
    path.write_text("")
    with pytest.raises(ReportTableError, match="has no header row"):
        read_reports(path)
    path.write_text('report\nclear\n"no effusion\nclear\n')
    with pytest.raises(ReportTableError, match="a quote in line 3 that is never closed"):
        read_reports(path)
    path.write_text("report,report\na,b\n")
    with pytest.raises(ReportTableError, match="several columns named report"):
        read_reports(path)
    with pytest.raises(FileNotFoundError):
        read_reports(tmp_path / "missing.csv")


def test_labels_are_written_as_integers_and_blanks(tmp_path: Path) -> None:
    labels = np.full((2, 14), np.nan, dtype=np.float32)
    labels[0, :3] = [1, 0, -1]
    write_labels(tmp_path / "deep" / "labels.csv", labels, columns=pd.DataFrame({"id": ["a", "b"]}))
    header, first, second = (tmp_path / "deep" / "labels.csv").read_text().splitlines()
    assert header == "id," + ",".join(CHEXPERT_14)
    assert first == "a,1,0,-1" + "," * 11
    assert second == "b" + "," * 14


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["label_reports.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_command("label-reports", sys.argv[1:])
    return stop.value.code


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reports, output = tmp_path / "reports.csv", tmp_path / "labels.csv"
    reports.write_text('id,report\n1,"No effusion. Possible pneumonia."\n2,\n3,Cardiomegaly\n4,a,b\n5,Kein Erguss.\n')
    assert run(monkeypatch, "--reports", str(reports), "--output", str(output)) == 1  # row 4 could not be read
    printed = capsys.readouterr().out
    assert "row 2 (line 3) skipped" in printed and "row 4 (line 5) skipped: it has 3 fields" in printed
    assert "row 5 (line 6) skipped: `report` is not in English (German)" in printed
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(CHEXPERT_14)
    assert [(row["Pneumonia"], row["Pleural Effusion"], row["Cardiomegaly"]) for row in rows] == [
        ("-1", "0", ""), ("", "", ""), ("", "", "1"), ("", "", ""), ("", "", "")
    ]  # fmt: skip


def test_gold_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gold = tmp_path / "gold.csv"
    gold.write_text(",".join(["report", *CHEXPERT_14]) + "\nNormal chest.,1" + "," * 13 + "\n")
    assert run(monkeypatch, "--gold", str(gold), "--output", str(tmp_path / "scores")) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())["all"]
    assert scores["exact"] == 1 and scores["observations"]["No Finding"]["positive"]["recall"] == 1
    assert "| No Finding | 1.00 / 1.00 (1) |" in (tmp_path / "scores.md").read_text()


def test_bad_usage_is_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--reports", "a.csv") == 2
    assert "`output` is missing" in capsys.readouterr().err


def test_kinds_are_measured_beside_an_earlier_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gold = tmp_path / "gold.csv"
    gold.write_text(",".join(["kind", "report", *CHEXPERT_14]) + "\nends,Normal chest..,1" + "," * 13 + "\n")
    assert run(monkeypatch, "--gold", str(gold), "--output", str(tmp_path / "was")) == 0
    scores = json.loads((tmp_path / "was.json").read_text())
    assert scores["kinds"]["ends"]["exact"] == 1 and list(scores["kinds"]["ends"]["observations"]) == ["No Finding"]
    scores["all"]["exact"] = 0.5
    (tmp_path / "was.json").write_text(json.dumps(scores))
    before = ["--before", str(tmp_path / "was.json")]
    assert run(monkeypatch, "--gold", str(gold), "--output", str(tmp_path / "now"), *before) == 0
    text = (tmp_path / "now.md").read_text()
    assert "right in 100.0% of them, 50.0% before" in text
    assert "| ends | 1 | 100% → 100% | 1.00 / 1.00 → 1.00 / 1.00 (1) | - | - |" in text
