"""Reports as forms: a heading with an answer."""

from __future__ import annotations

from hf_pneumo.data.reports.answers import answered, single_ends


def test_a_no_behind_a_heading_is_kept_at_its_own_length():
    text = "Pneumothorax: no. Effusion: yes."
    assert len(answered(text)) == len(text) and answered(text) != text


def test_a_sentence_without_a_form_stays_as_it_is():
    assert answered("The lungs are clear.") == "The lungs are clear."


def test_several_ends_are_one():
    assert len(single_ends("Clear...")) == len("Clear...") and single_ends("Clear...").split() == ["Clear", ";"]
