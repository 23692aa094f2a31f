"""A face that imports a name when it is asked for."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from hf_pneumo.lazy import lazy_face


@pytest.fixture
def package(monkeypatch):
    face, part = ModuleType("made_up"), ModuleType("made_up.part")
    face.__path__, part.answer = [], 42
    monkeypatch.setitem(sys.modules, "made_up", face)
    monkeypatch.setitem(sys.modules, "made_up.part", part)
    face.__getattr__, face.__dir__ = lazy_face("made_up", {"answer": "part"})
    return face


def test_a_name_is_put_into_the_package_when_it_is_first_asked_for(package):
    assert "answer" not in vars(package) and "answer" in dir(package)
    assert package.answer == 42 and vars(package)["answer"] == 42


def test_another_name_is_refused_with_those_that_there_are(package):
    with pytest.raises(AttributeError, match="has no attribute 'question'; it has answer"):
        package.question  # noqa: B018
