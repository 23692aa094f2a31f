"""No test leaves this machine, and an attempt to do so is noticed, also one made by a child process."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from hub_server import HubServer


@pytest.fixture
def noted(contacts: Path) -> Iterator[Path]:
    """The list of contacts; what the test adds to it on purpose is taken back."""
    before = contacts.read_text()
    yield contacts
    contacts.write_text(before)


def test_another_host_is_refused_and_noted(noted: Path) -> None:
    with pytest.raises(OSError, match="stay on this machine"):
        socket.create_connection(("192.0.2.1", 443), timeout=1)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get("https://huggingface.co")
    assert noted.read_text().splitlines()[-2:] == ["192.0.2.1 443", "huggingface.co 443"]


def test_a_child_process_is_guarded_too(noted: Path) -> None:
    code = "import urllib.request; urllib.request.urlopen('http://example.org', timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "stay on this machine" in done.stderr
    assert noted.read_text().splitlines()[-1] == "example.org 80"


def test_this_machine_is_allowed(hub: HubServer, contacts: Path) -> None:
    before = contacts.read_text()
    assert httpx2.get(f"{hub.endpoint}/api/models").json() == []
    assert contacts.read_text() == before
