"""Checkpoints of every kind, films under telling names, and a running page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "space")]

from browser import CHROMIUM, PATIENCE_MS, REQUIRED, is_local  # noqa: E402
from made_up import NAME, checkpoint, dicom, free_port  # noqa: E402

from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA  # noqa: E402
from hf_pneumo.imaging.phantom import make_phantom  # noqa: E402
from hf_pneumo.models.config import OperatingPoint  # noqa: E402


@pytest.fixture(scope="session")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls every film pneumonia: its probability is near .88."""
    point = OperatingPoint(1.0, (0.4,), ((0.3, 0.5),), "made-up/val")
    folder = tmp_path_factory.mktemp("space") / "always-sick"
    return checkpoint(folder, "mobilenetv3_small_050", PNEUMONIA, point, [-1.0, 1.0])


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen labels; each film has Edema (near .95) and perhaps Fracture (near .5), in this order."""
    names = MULTILABEL.names
    point = OperatingPoint(1.0, (0.6,) * len(names), ((0.4, 0.6),) * len(names), "made-up/val")
    biases = [{"Edema": 3.0, "Fracture": 0.0}.get(name, -3.0) for name in names]
    return checkpoint(tmp_path_factory.mktemp("space") / "fourteen", "test_resnet", MULTILABEL, point, biases)


@pytest.fixture(scope="session")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "transformer"
    return checkpoint(folder, "test_vit", PNEUMONIA, OperatingPoint(), [0.0, 0.0])


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One phantom as an 8-bit PNG, a 16-bit PNG and a 12-bit MONOCHROME1 DICOM, and a text that calls itself a PNG."""
    folder = tmp_path_factory.mktemp("films")
    pixels = make_phantom(8, size=320, opacities=1).pixels[:300]
    found = SimpleNamespace(
        png=folder / f"{NAME}.png", deep=folder / f"{NAME}_16.png", dicom=folder / f"{NAME}.dcm",
        bad=folder / f"{NAME}_bad.png", shape=pixels.shape,
    )  # fmt: skip
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(found.png)
    Image.fromarray(np.rint(pixels * 65535).astype(np.uint16)).save(found.deep)
    found.dicom.write_bytes(dicom(pixels))
    found.bad.write_text("no film at all")
    return found


@pytest.fixture(scope="module")
def site(sick: Path, many: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The page with both checkpoints, served; ``url`` and ``uploads``, the folder of what it was given and gave."""
    import app
    from model_registry import Shelf
    from page import build_demo
    from samples import Samples

    uploads = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        demo = build_demo(Shelf([sick, many]), samples=Samples(from_hub=False))
        _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True, server_port=free_port())
        yield SimpleNamespace(url=url, uploads=uploads, demo=demo)
        demo.close()


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


def is_error(message) -> bool:
    """Whether a console message is an error; that a page was left while it waited for an answer is none."""
    of_leaving = "AbortError" in message.text or "Connection errored out" in message.text
    return message.type == "error" and not of_leaving


@pytest.fixture
def visit(browser, site: SimpleNamespace) -> Iterator:
    """Opens the page; afterwards it must have loaded nothing from outside and logged no error."""
    wrong, contexts = [], []

    def open_page(theme: str, viewport: dict[str, int], link: str = ""):
        context = browser.new_context(viewport=viewport, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda r: is_local(r.url) or wrong.append(f"request to {r.url}"))
        page.on("console", lambda m: is_error(m) and wrong.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.goto(f"{site.url}?__theme={theme}{link}")
        page.locator("#verdict section").wait_for()
        page.locator("#examples button").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong, wrong
