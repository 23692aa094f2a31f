"""Why a run of a study ended, in its own words."""

from __future__ import annotations

from hf_pneumo.cli.run_study import reason


def test_the_runs_own_sentence_comes_first():
    assert "no film" in reason("INFO reading\nerror: there is no film\n", 2)


def test_a_signal_is_named_where_nothing_was_said():
    assert "9" in reason("", -9) or "KILL" in reason("", -9)
