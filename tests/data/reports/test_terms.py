"""Templates of phrases."""

from __future__ import annotations

from hf_pneumo.data.reports.terms import expand, expand_all, load_terms


def test_a_template_stands_for_every_phrase():
    assert sorted(expand("pleural (fluid|effusion)")) == ["pleural effusion", "pleural fluid"]
    assert expand("plain") == ["plain"]


def test_each_phrase_comes_once_in_order():
    assert expand_all(["(a|b)", "b", "c"]) == ["a", "b", "c"]


def test_the_files_of_terms_are_there():
    assert load_terms("observations") and load_terms("assertions")
