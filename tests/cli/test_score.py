"""Limits are above 0."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.score import Arguments

GIVEN = {"checkpoint": "c", "source": "s", "output": "o"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 0}, "`workers` is 0; give a number above 0"),
        ({"seconds": -1.0}, "`seconds` is -1.0"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})
