"""Freed memory stays with the process, where the system can be told so."""

from __future__ import annotations

import sys

from hf_pneumo.training.memory import keep_freed_memory


def test_elsewhere_than_on_linux_nothing_is_told(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
