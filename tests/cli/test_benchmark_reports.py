"""Reports composed of sentences, the same for the same seed."""

from __future__ import annotations

from hf_pneumo.cli.benchmark_reports import compose


def test_the_same_seed_composes_the_same_reports():
    sentences = [f"Sentence number {i} is here." for i in range(20)]
    first, again, other = compose(sentences, 5), compose(sentences, 5), compose(sentences, 5, seed=1)
    assert first == again != other and len(first) == 5
    assert all(any(sentence in report for sentence in sentences) for report in first)
