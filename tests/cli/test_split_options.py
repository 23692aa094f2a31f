"""The two options that choose films, under their names of now and of before."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hf_pneumo.cli.options import parse
from hf_pneumo.cli.split_options import protocol_option, split_option


@dataclass(frozen=True)
class Films:
    protocol: str = protocol_option()
    split: str = split_option()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Films("official", "test")),
        (["--protocol", "paper", "--split", "val"], Films("paper", "val")),
        (["--split", "paper", "--subset", "val"], Films("paper", "val")),
    ],
)
def test_films_are_chosen_by_protocol_and_split(words, expected):
    assert parse(Films, words, prog="p", description="") == expected
