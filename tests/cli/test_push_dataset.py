"""Pushing a data set asks for a task that there is."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.push_dataset import Arguments

GIVEN = {"dataset": "d", "repo": "u/r"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "plumbing"}, "`task` is 'plumbing'"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})
