"""An ensemble has a threshold by one of two figures."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.ensemble import Arguments

GIVEN = {"checkpoints": ["a", "b"], "dataset": "d", "output": "o"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threshold_by": "luck"}, "`threshold_by` is 'luck'; choose balanced_accuracy or accuracy"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})
