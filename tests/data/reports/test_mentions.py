"""Which words of a report name an observation."""

from __future__ import annotations

import spacy

from hf_pneumo.data.reports.mentions import longest, lower_words, sentence_starts


def test_of_overlapping_spans_the_longest_stays():
    spans = longest([("effusion", 1, 2), ("pleural effusion", 0, 2), ("edema", 4, 5)])
    assert set(spans) == {(0, 2), (4, 5)} and spans[(0, 2)] == {"pleural effusion"}


def test_words_and_sentences_of_a_document():
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    doc = nlp("No Effusion. Clear lungs.")
    assert lower_words(doc)[:2] == ["no", "effusion"] and sentence_starts(doc) == [0, 3]
