"""The sections of a report."""

from __future__ import annotations

from hf_pneumo.data.reports.sections import cut, prepare, split_sections

REPORT = "INDICATION: pneumonia?\nFINDINGS: No effusion.\nIMPRESSION: Clear lungs."


def test_sections_come_in_order_and_only_some_assert():
    sections = split_sections(REPORT)
    assert [s.start for s in sections] == sorted(s.start for s in sections)
    asserted = [REPORT[s.start : s.end].strip() for s in sections if s.asserting]
    assert [text for text in asserted if text] == ["No effusion.", "Clear lungs."]


def test_what_asserts_nothing_is_blanked_at_its_own_place():
    text, _ = prepare(REPORT)
    assert len(text) == len(REPORT) and "pneumonia" not in text
    assert text.index("effusion") == REPORT.index("effusion")


def test_pieces_say_where_they_start():
    text, _ = prepare(REPORT)
    assert all(text[start : start + len(piece)] == piece for start, piece in cut(text))
