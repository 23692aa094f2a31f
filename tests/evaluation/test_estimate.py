"""How a figure and its interval are written."""

from __future__ import annotations

from hf_pneumo.evaluation.estimate import Estimate


def test_a_figure_is_written_with_its_interval():
    assert f"{Estimate(0.954, 0.94, 0.966)}" == "0.954 (0.940 to 0.966)"
    assert f"{Estimate(0.05, -0.01, 0.11):+.2f}" == "+0.05 (-0.01 to +0.11)" and f"{Estimate(0.5)}" == "0.500"


def test_ends_and_zero():
    assert Estimate(0.5).ends == (0.5, 0.5) and Estimate(0.5, 0.25).ends == (0.25, 0.5)
    assert Estimate(0.1, -0.1, 0.3).holds_zero and not Estimate(0.1, 0.05, 0.3).holds_zero
    assert not Estimate(0.1).holds_zero
