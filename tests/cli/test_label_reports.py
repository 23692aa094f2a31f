"""One of three things to do with reports."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.label_reports import Arguments


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "not none"),
        ({"reports": "a.csv", "explain": "text"}, "not reports and explain"),
        ({"reports": "a.csv"}, "`output` is missing"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**options)
