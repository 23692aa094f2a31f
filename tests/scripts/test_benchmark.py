"""The benchmark's results file: resumed row by row, shown under the conditions of its rows; no timing is asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_pneumo.cli import benchmark
from hf_pneumo.files import read_json


@pytest.fixture
def measured(monkeypatch) -> list[tuple[str, int]]:
    """What was measured, in order; the measurement itself is made up."""
    seen = []

    def measure(name: str, batch: int, size: int, rounds: int) -> dict:
        seen.append((name, batch))
        times = {benchmark.PLAIN: 10.0, benchmark.OURS: 10.5, benchmark.PACKAGE: 40.0}
        over = {benchmark.OURS: 1.05, benchmark.PACKAGE: 4.0}
        return {
            "model": name, "batch": batch, "milliseconds": times, "over_inference": over, "package_over_ours": 3.81,
            "memory_over_inference": over,
        }  # fmt: skip

    monkeypatch.setattr(benchmark, "measure", measure)
    return seen


def arguments(path: Path, *models: str, rounds: int = 3, again: bool = False) -> benchmark.Arguments:
    return benchmark.Arguments(
        "explain", output=str(path), rounds=rounds, size=64, models=list(models), batch_sizes=[1, 8], again=again
    )


def test_a_row_is_measured_once_under_the_same_conditions(tmp_path, measured):
    path = tmp_path / "results" / "explain.json"
    benchmark.run_explain(arguments(path, "resnet50"))
    benchmark.run_explain(arguments(path, "resnet50", "resnet18"))
    assert measured == [("resnet50", 1), ("resnet50", 8), ("resnet18", 1), ("resnet18", 8)]
    benchmark.run_explain(arguments(path, "resnet18", again=True))
    assert len(measured) == 6 and len(read_json(path)["rows"]) == 4
    benchmark.run_explain(arguments(path, "resnet18", rounds=5))  # other conditions: the old rows are replaced
    assert len(measured) == 8 and len(read_json(path)["rows"]) == 4


def test_the_table_keeps_the_papers_order_and_tells_conditions_apart(tmp_path, measured):
    path = tmp_path / "explain.json"
    benchmark.run_explain(arguments(path, "vit_b_16", "resnet18"))
    table = benchmark.explain_table(read_json(path)["rows"])
    rows = [line for line in table.splitlines() if line.startswith(("| resnet18", "| vit_b_16"))]
    assert rows[0] == "| resnet18 | 1 | 10.0 | 1.05x | 4.00x | - | 3.8x | 1.05x | 4.00x |"
    assert [row.split(" | ")[:2] for row in rows] == [["| resnet18", "1"], ["| resnet18", "8"],
                                                      ["| vit_b_16", "1"], ["| vit_b_16", "8"]]  # fmt: skip
    assert table.count("threads") == 1
    benchmark.run_explain(arguments(path, "vit_b_16", rounds=5))
    assert benchmark.explain_table(read_json(path)["rows"]).count("threads") == 2
