"""Who may call, and how often."""

from __future__ import annotations

import pytest

pytest.importorskip("pynetdicom")

from hf_pneumo.serving.storage_scp import Caller, RateLimit, callers


def test_a_caller_without_an_address_may_call_from_anywhere():
    assert Caller.parse("PACS").is_calling("PACS", "10.0.0.1") and not Caller.parse("PACS").is_calling(
        "OTHER", "10.0.0.1"
    )
    local = Caller.parse("PACS@127.0.0.1")
    assert local.is_calling("PACS", "127.0.0.1") and not local.is_calling("PACS", "10.0.0.1")
    assert len(callers(["A", "B"])) == 2


def test_so_many_a_minute_and_host():
    now = [0.0]
    limit = RateLimit(2, clock=lambda: now[0])
    assert [limit.admits("a") for _ in range(3)] == [True, True, False] and limit.admits("b")
    now[0] = 61
    assert limit.admits("a") and all(RateLimit(0).admits("a") for _ in range(100))
