"""What is no English report of a chest film."""

from __future__ import annotations

import pytest

from hf_pneumo.data.reports.screening import is_reading, not_english


@pytest.mark.parametrize("text", ["Кардиомегалия.", "Kein Erguss, keine Infiltrate, Herz nicht vergrößert."])
def test_another_language_is_told_why(text):
    assert not_english(text)


def test_an_english_report_is_read():
    assert not_english("The lungs are clear. No pleural effusion.") is None


def test_a_text_that_describes_no_chest_is_no_reading():
    assert is_reading("The lungs are clear.") and not is_reading("Study cancelled.")
