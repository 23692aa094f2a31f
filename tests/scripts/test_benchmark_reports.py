"""The benchmark of the report labeler: its reports are drawn from the sentence sets; no timing is asserted."""

from __future__ import annotations

from pathlib import Path

from hf_pneumo.cli.benchmark_reports import compose, measure_reports, reports_table, sentences_in


def test_reports_are_of_several_english_sentences_and_the_same_again():
    sentences = sentences_in(Path(__file__).parents[1] / "data")
    assert len(sentences) > 300 and not any(":" in sentence for sentence in sentences)
    reports = compose(sentences, 3)
    assert reports == compose(sentences, 3) != compose(sentences, 3, seed=1)
    row = measure_reports(reports, rounds=1)
    assert row["reports"] == 3 and 20 < row["words"] < 120
    table = reports_table(row | {"processor": "made up", "python": "3", "spacy": "3"})
    assert table.count("| remembered |") == table.count("| read again |") == 1
