"""The table of a study, from its runs' results."""

from __future__ import annotations

from hf_pneumo.experiments.summary import Entry, as_lines


def test_a_model_that_could_not_be_measured_has_its_row_and_the_reason():
    text = "\n".join(as_lines([Entry("resnet50", (), of=3, note="out of memory")], {}))
    assert "resnet50" in text and "out of memory" in text and "0 of 3" in text
