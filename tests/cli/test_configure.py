"""What is written into a checkpoint must make sense together."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.configure import Arguments

GIVEN = {"checkpoint": "c"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "`ages` or `method`: give at least one"),
        ({"ages": [1, 5]}, "give all three"),
        ({"ages": [5, 1], "views": ["AP"], "sites": ["x"]}, "give the youngest and the oldest"),
        ({"method": "gradcan"}, "is unknown; allowed are gradcam"),
        ({"method": "gradcam", "target": ["A", "B", "C"]}, "one label, or two"),
        ({"method": "gradcam", "layer": "stride16"}, "`dataset` is missing"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})
