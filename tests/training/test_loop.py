"""The log of a run."""

from __future__ import annotations

from hf_pneumo.training.loop import LOG, read_log


def test_the_rows_of_a_log_are_read(tmp_path):
    (tmp_path / LOG).write_text('{"epoch": 0, "loss": 1.5}\n{"epoch": 1, "loss": 0.5}\n')
    assert [row["loss"] for row in read_log(tmp_path)] == [1.5, 0.5]
