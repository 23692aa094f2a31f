"""Frozen dataclasses that read and write their own JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from hf_pneumo.records import JsonRecord, record_of


@dataclass(frozen=True)
class Part(JsonRecord):
    n: int
    note: str | None = None

    def __post_init__(self):
        if self.n < 0:
            raise ValueError(f"`n` is {self.n}; give at least 0")


@dataclass(frozen=True)
class Whole(JsonRecord):
    parts: dict[str, Part]
    box: tuple[float, float] = (0.0, 1.0)
    value: float | None = None
    more: tuple[Part, ...] = field(default=())


WHOLE = Whole({"a": Part(1), "b": Part(2, "two")}, more=(Part(3),))


def test_there_and_back(tmp_path):
    WHOLE.write(tmp_path / "whole.json")
    assert Whole.read(tmp_path / "whole.json") == WHOLE
    stored = json.loads((tmp_path / "whole.json").read_text())
    assert stored == {"parts": {"a": {"n": 1}, "b": {"n": 2, "note": "two"}}, "box": [0.0, 1.0], "more": [{"n": 3}]}


def test_what_a_newer_version_wrote_beside_is_left_out():
    assert Part.from_json({"n": 1, "colour": "red"}) == Part(1)


def test_what_does_not_fit_is_named_by_its_place(tmp_path):
    with pytest.raises(ValueError, match=r"it is no Whole: .*\$\.parts\[\.\.\.\]\.n"):
        Whole.from_json({"parts": {"a": {"n": "one"}}})
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match="x.json cannot be read: it is no Part: .*`n`"):
        Part.read(tmp_path / "x.json")


def test_the_sentence_of_the_dataclass_itself_comes_through():
    with pytest.raises(ValueError, match="^`n` is -1; give at least 0$"):
        record_of(Part, {"n": -1})
