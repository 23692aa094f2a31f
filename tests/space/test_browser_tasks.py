"""Batch, Trust and Developers in a real browser, by mouse and by keyboard."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from browser import NARROW, WIDE, assert_fits, drop
from PIL import Image

pytestmark = pytest.mark.slow


def test_a_batch_is_judged_sorted_filtered_and_taken_away(visit, films, tmp_path) -> None:
    white = tmp_path / "page.png"
    Image.new("L", (300, 400), 255).save(white)
    page = visit("dark", NARROW)
    page.get_by_role("tab", name="Batch").click()
    page.locator("#batch-start").click()
    page.locator("#batch-said .hp-problem", has_text="no films yet").wait_for()
    page.locator("#batch-files input[type=file]").set_input_files([films.png, films.bad, white, films.dicom])
    page.locator("#batch-files tr").nth(3).wait_for()
    page.locator("#batch-start").click()
    page.get_by_text("All 4 films are done.").wait_for()
    verdicts = page.locator("#batch-table tbody td:nth-of-type(1)")
    assert verdicts.all_inner_texts() == ["Pneumonia", "Error", "Not judged", "Pneumonia"]
    page.locator("#batch-table [data-sort=verdict]").press("Enter")
    assert verdicts.all_inner_texts() == ["Error", "Not judged", "Pneumonia", "Pneumonia"]
    assert page.locator("#batch-table [aria-sort=ascending]").inner_text().startswith("Verdict")
    page.locator("#batch-table select").select_option("Not judged")
    assert page.locator("#batch-table tbody tr:visible").count() == 1
    assert_fits(page)
    with page.expect_download() as download:
        page.locator("#batch-csv").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert [row["file"] for row in rows] == [films.png.name, films.bad.name, white.name, films.dicom.name]


def test_what_was_read_can_be_linked_and_remembered(visit, films) -> None:
    page = visit("light", WIDE)
    page.locator("#examples button").nth(1).click()
    page.locator("#verdict .hp-word", has_text="Pneumonia").wait_for()
    page.get_by_role("tab", name="Developers").click()
    page.locator("#link pre", has_text="example=1").wait_for()
    assert 'model="always-sick"' in page.locator("#snippets pre").first.inner_text()
    page.locator("#history tbody tr", has_text="Pneumonia").wait_for()
    assert_fits(page)
    page.get_by_role("tab", name="Read").click()
    drop(page, films.png)
    page.locator("#verdict .hp-word", has_text="Pneumonia").wait_for()
    page.get_by_role("tab", name="Developers").click()
    page.locator("#history tbody tr", has_text="dropped in").wait_for()
    page.evaluate("window.printed = 0; window.print = () => { window.printed += 1; }")
    page.locator("#print button").press("Enter")
    page.wait_for_function("window.printed === 1")
    assert page.locator("#verdict .hp-word").is_visible()
    page.get_by_role("tab", name="Developers").click()
    page.locator("#forget").press("Enter")
    page.get_by_text("Nothing has been read on this page yet.").wait_for()


def test_without_predictions_trust_says_so(visit) -> None:
    page = visit("dark", NARROW)
    page.get_by_role("tab", name="Trust").click()
    page.locator("#operating", has_text="no predictions").wait_for()
    page.locator("#figures", has_text="always-sick").wait_for()
    assert_fits(page)
