"""The page in a real browser: what a person drops in, reads and takes away, in both themes, wide and narrow."""

from __future__ import annotations

import json
import zipfile

from browser import NARROW, WIDE, assert_fits, choose_model, drop, wait_for_viewer
from made_up import NAME


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
    page.get_by_text("Done.").wait_for()
    assert {"Grad-CAM", "HiResCAM", "LayerCAM"} <= set(page.locator("#comparison thead th").all_inner_texts())
    page.locator("#comparison button").nth(1).click()
    page.locator("#compared canvas").wait_for()
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
    choose_model(page, "fourteen")
    page.locator("#verdict .hp-word", has_text="1 of 13 above threshold").wait_for()
    first = page.locator("#verdict button").first
    assert "Edema" in first.inner_text() and first.get_attribute("aria-pressed") == "true"
    page.locator("#verdict button", has_text="Fracture").click()
    page.locator("#caption b", has_text="Fracture").wait_for()
    assert "fourteen" in page.locator("#trained-on").inner_text()
    assert_fits(page)


def test_a_link_and_a_reload_bring_the_same_page_back(visit, films) -> None:
    page = visit("light", WIDE, "&model=fourteen&example=1&method=layercam")
    page.locator("#verdict .hp-word", has_text="1 of 13 above threshold").wait_for()
    page.locator("#caption", has_text="LayerCAM").wait_for()
    page = visit("light", WIDE)
    drop(page, films.png)
    page.locator("#verdict .hp-word", has_text="Pneumonia").wait_for()
    page.wait_for_function("localStorage.getItem('hf-pneumo-film')")
    page.reload()
    page.locator("#verdict .hp-word", has_text="Pneumonia").wait_for()
    page.locator("#evidence", has_text="320 × 300 pixels").wait_for()
