"""Methods and smoothings are those that there are."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.explain import Arguments

GIVEN = {"checkpoint": "c", "images": "i", "output": "o"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "gradcan"}, "`method` is 'gradcan'; choose one of gradcam"),
        ({"smoothing": "much"}, "`smoothing` is 'much'; choose one of none"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})
