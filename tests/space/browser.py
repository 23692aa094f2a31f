"""What the tests in a browser share: the browser itself, the sizes of the page, and what a person does with it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

CHROMIUM = Path("/usr/bin/chromium")
REQUIRED = os.environ.get("REQUIRE_BROWSER") == "1"
PATIENCE_MS = 120_000
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob") or parts.hostname == "127.0.0.1"


def drop(page, film: Path) -> None:
    page.locator("#film input[type=file]").set_input_files(film)


def wait_for_viewer(page) -> None:
    """The film stands in the viewer."""
    page.locator("#viewer canvas").wait_for()
    page.wait_for_function("document.querySelector('#viewer canvas').width > 300")


def assert_fits(page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def choose_model(page, name: str) -> None:
    """By the menu under Advanced, which must be open."""
    page.locator("#model input").click()
    page.get_by_role("option", name=name, exact=True).click()
