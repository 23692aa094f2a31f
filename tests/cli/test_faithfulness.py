"""Methods are those that there are, and films are asked for."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.faithfulness import Arguments

GIVEN = {"checkpoint": "c", "images": "phantom:4"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "x"}, "`method` is 'x'"),
        ({"films": 0, "randomisation_films": 0}, "are both 0"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})
