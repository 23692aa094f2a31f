"""Comparing asks for resamples."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.compare import Arguments

GIVEN = {"results": ["a.json", "b.json"]}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"resamples": 0}, "`resamples` is 0; give a whole number from 1"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})
