"""Only what there is can be measured."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.benchmark import Arguments


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"what": "luck"}, "`what` is 'luck'; choose one of explain, train"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**options)


def test_what_is_not_asked_for_is_the_benchmarks_own():
    asked = Arguments("train", rounds=3)
    assert asked.timed_rounds == 3 and Arguments("train").timed_rounds > 0
    assert asked.path.name == "benchmark-train.json" and str(Arguments("train", output="x.json").path) == "x.json"
