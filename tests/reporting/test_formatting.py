"""How figures and tables are written."""

from __future__ import annotations

from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.reporting.formatting import markdown_table, number, with_interval


def test_a_fraction_has_three_decimals_and_a_count_its_digits():
    assert [number(v) for v in (0.12345, 123.4, 7, "x", True)] == ["0.123", "123", "7", "x", "True"]


def test_a_figure_that_is_not_defined_says_so():
    assert with_interval(None) == "not defined" and with_interval(Estimate(0.5, 0.25, 0.75)) == "0.500 (0.250 to 0.750)"


def test_a_table_ends_its_last_line():
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |\n"
