"""The page in a real browser: what a person drops in, reads and takes away, in both themes, wide and narrow."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from made_up import NAME

CHROMIUM = Path("/usr/bin/chromium")
REQUIRED = os.environ.get("REQUIRE_BROWSER") == "1"
PATIENCE_MS = 120_000
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if not CHROMIUM.exists() and not REQUIRED:
        pytest.skip(f"there is no browser at {CHROMIUM}; install Debian's chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        if REQUIRED:
            raise
        pytest.skip("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, site: SimpleNamespace) -> Iterator:
    """Opens the page; afterwards it must have loaded nothing from outside and logged no error."""
    wrong, contexts = [], []

    def open_page(theme: str, viewport: dict[str, int]):
        context = browser.new_context(viewport=viewport, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda r: is_local(r.url) or wrong.append(f"request to {r.url}"))
        page.on("console", lambda m: m.type == "error" and wrong.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.goto(f"{site.url}?__theme={theme}")
        page.get_by_text("No film yet").wait_for()
        page.locator("#examples button").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong, wrong


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


def test_a_film_is_judged_explained_compared_and_taken_away(visit, films, tmp_path) -> None:
    page = visit("light", WIDE)
    assert "not for diagnosis" in page.locator(".hp-banner").inner_text()
    assert "1,234 films of made-up films" in page.locator("#trained-on").inner_text()
    drop(page, films.png)
    page.locator("#verdict .hp-word", has_text="Pneumonia").wait_for()
    wait_for_viewer(page)
    told = page.locator("#verdict [role=img]").get_attribute("aria-label")
    assert told.startswith("Probability 8") and "normal below 30 %, uncertain to 50 %, pneumonia from 50 %" in told
    evidence = page.locator("#evidence").inner_text()
    assert f"{films.shape[1]} × {films.shape[0]} pixels, 8 bits" in evidence and "No remarks" in evidence
    assert "always-sick" in evidence and page.locator("#evidence tbody tr").count() >= 1
    page.locator("#advanced button").first.click()
    page.locator("#refinement input").click()
    page.get_by_role("option", name="Within the lungs", exact=True).click()
    page.locator("#caption", has_text="held to the lungs").wait_for()
    page.wait_for_function("!document.querySelector('#download').disabled")
    with page.expect_download() as download:
        page.locator("#download").click()
    assert NAME not in download.value.suggested_filename
    download.value.save_as(tmp_path / "finding.zip")
    with zipfile.ZipFile(tmp_path / "finding.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["verdict"] == "pneumonia" and manifest["explanation"]["target"] == "PNEUMONIA"
    assert NAME not in json.dumps(manifest) and manifest["image"]["height"] == films.shape[0]

    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare").click()
    page.locator("#comparison table").wait_for()
    titles = page.locator("#comparison .hp-picture").all_inner_texts()
    assert {"Grad-CAM", "HiResCAM", "DeepLIFT"} <= {title.split(":")[0] for title in titles}
    assert_fits(page)


def test_on_a_phone_in_the_dark_bad_files_do_no_harm(visit, films) -> None:
    page = visit("dark", NARROW)
    assert_fits(page)
    drop(page, films.bad)
    page.locator("#verdict .hp-problem", has_text="not an X-ray image").wait_for()
    assert not page.locator("#viewer canvas").is_visible()
    drop(page, films.dicom)  # onto the same area: it is still there
    page.locator("#verdict .hp-word", has_text="Pneumonia").wait_for()
    wait_for_viewer(page)
    assert "DICOM, 320 × 300 pixels, 12 bits, view PA" in page.locator("#evidence").inner_text()
    assert "DOE" not in page.locator(".hp-answer").inner_text()
    assert_fits(page)


def test_of_many_findings_each_shows_its_map(visit) -> None:
    page = visit("light", NARROW)
    page.locator("#examples button").nth(1).click()
    page.locator("#verdict .hp-word", has_text="Pneumonia").wait_for()
    page.locator("#advanced button").first.click()
    page.locator("#model input").click()
    page.get_by_role("option", name="fourteen").click()
    page.locator("#verdict .hp-word", has_text="1 of 13 above threshold").wait_for()
    first = page.locator("#verdict button").first
    assert "Edema" in first.inner_text() and first.get_attribute("aria-pressed") == "true"
    page.locator("#verdict button", has_text="Fracture").click()
    page.locator("#caption b", has_text="Fracture").wait_for()
    assert "fourteen" in page.locator("#trained-on").inner_text()
    assert_fits(page)
