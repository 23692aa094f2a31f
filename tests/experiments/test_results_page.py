"""The page of all tables."""

from __future__ import annotations

from hf_pneumo.experiments.results_page import Section


def test_a_section_says_how_it_is_made():
    text = str(Section("Maps", "hf-pneumo evaluate-localization", "| a |\n|---|\n", "Note."))
    assert text.index("Maps") < text.index("hf-pneumo evaluate-localization") < text.index("| a |") and "Note." in text
