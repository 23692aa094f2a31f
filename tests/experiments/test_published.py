"""What others have published, beside a study's table."""

from __future__ import annotations

import pytest

from hf_pneumo.experiments.published import PublishedResult, published_lines, published_tables


def test_figures_follow_from_the_confusion():
    result = PublishedResult(confusion=((225, 12), (14, 655)), auroc=0.9946)
    assert (result.films, result.errors) == (906, 26)
    assert (result.sensitivity, result.specificity) == (655 / 669, 225 / 237)


def test_the_interval_is_the_exact_one():
    """Ten errors of a hundred: Clopper and Pearson's table gives 4.9 % to 17.6 %."""
    result = PublishedResult(confusion=((45, 5), (5, 45)), auroc=0.9)
    assert result.errors_interval() == pytest.approx((4.90, 17.62), abs=0.01)


def test_all_of_the_paper_are_of_the_906_films_of_its_test():
    (table,) = published_tables()
    assert {result.films for result in table.models.values()} == {906}
    assert table.models["resnet50"].errors == 32


def test_only_a_test_that_has_been_published_gets_the_table():
    lines = published_lines("paper", "test")
    assert "arXiv 2511.00456" in lines[1]
    assert "| mobilenet_v2 | 906 | 26 (17 to 38) | 0.9946 | 0.9713 |" in "\n".join(lines)
    assert published_lines("strict", "test") == published_lines("paper", "val") == []
