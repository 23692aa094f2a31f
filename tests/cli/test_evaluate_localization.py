"""What maps are measured against must be there."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.evaluate_localization import Arguments

GIVEN = {"checkpoint": "c", "images": "films", "output": "o"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "`boxes` is missing"),
        ({"images": "phantom:4", "boxes": "b.csv"}, "leave out `boxes`"),
        ({"boxes": "b.csv", "method": "gradcam,x"}, "`method` is 'x'"),
        ({"boxes": "b.csv", "normal": "view"}, "give COLUMN=VALUE"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})
