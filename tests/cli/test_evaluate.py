"""Films of the training source, or films from elsewhere."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.evaluate import Arguments

GIVEN = {"checkpoint": "c"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "`dataset` or `external`: give one"),
        ({"dataset": "d", "external": "e"}, "`dataset` or `external`: give one"),
        ({"external": "e", "controls": True}, "leave them out"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        Arguments(**{**GIVEN, **options})


def test_files_are_called_after_the_split_or_the_films():
    assert Arguments(**GIVEN, dataset="d", protocol="paper", split="val").stem == "paper-val"
    elsewhere = Arguments(**GIVEN, external="films/other site.csv", classes="1=PNEUMONIA")
    assert elsewhere.stem == "external-other-site" and elsewhere.source == "films/other site.csv"
    assert elsewhere.reading["classes"] == {"1": "PNEUMONIA"} and Arguments(**GIVEN, dataset="d").reading == {}
