"""Differences between what is stored and what follows from the predictions."""

from __future__ import annotations

from hf_pneumo.experiments.recompute import differences


def test_rounding_of_the_last_bits_is_none():
    assert not list(differences({"a": [0.1 + 0.2, {"b": 1}]}, {"a": [0.3, {"b": 1}], "more": 2}))


def test_every_place_is_named():
    found = list(differences({"a": [0.5, 1], "b": "x", "c": [1]}, {"a": [0.4, 1], "b": "y", "c": [1, 2]}))
    assert [line.partition(" is ")[0] for line in found] == ["a[0]", "b", "c"]
