"""Auditing asks for a task that there is."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.audit_data import Arguments

GIVEN = {"dataset": "d"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "plumbing"}, "`task` is 'plumbing'; choose one of pneumonia"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})
