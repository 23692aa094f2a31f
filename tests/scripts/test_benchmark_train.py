"""The training benchmark: a row holds both times of one network on the same films; no timing is asserted."""

from __future__ import annotations

import pytest

from hf_pneumo.cli import benchmark
from hf_pneumo.cli.main import run_command
from hf_pneumo.files import read_json


def status(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_command("benchmark", words)
    return ended.value.code


def test_rows_and_table_are_written(tmp_path, monkeypatch, capsys):
    path = tmp_path / "benchmark-train.json"
    words = ["--models", "test_resnet", "--batch_sizes", "2", "--rounds", "2", "--size", "32", "--output", str(path)]
    assert status("train", *words) == 0
    (row,) = read_json(path)["rows"]
    assert (row["model"], row["batch"], row["augment"]) == ("test_resnet", 2, "light")
    assert row["conditions"]["rounds"] == 2 and set(row["milliseconds"]) == {"bare", "loop"}
    text = path.with_suffix(".md").read_text()
    assert "| test_resnet | 2 | light |" in text and text in capsys.readouterr().out
    monkeypatch.setattr(benchmark, "measure_loop", None)
    assert status("train", *words) == 0  # the row is there already
    assert status("train", "--augment", "strong") == 2 and "light" in capsys.readouterr().err
