"""README and docs show what works: Python runs, commands with $ are carried out, all others parse, links lead on."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.cli import main as command_line
from hf_pneumo.cli.options import parse
from hf_pneumo.imaging.phantom import make_phantom

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(hf-pneumo [^`]+)`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def commands(page: Path) -> list[list[str]]:
    """Every hf-pneumo command line on a page, as words after the program's name."""
    text = page.read_text(encoding="utf-8")
    lines = [
        line.removeprefix("$ ") for kind in ("sh", "console") for b in blocks(page, kind) for line in b.splitlines()
    ]
    found = [*(line for line in lines if line.startswith("hf-pneumo ")), *INLINE.findall(FENCE.sub("", text))]
    return [shlex.split(line)[1:] for line in found]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with the films, the reports and the checkpoints that the pages name."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "space").symlink_to(ROOT / "space")
    (folder / "films").mkdir()
    for place, seed in (("film.png", 3), ("films/a.png", 4), ("films/b.png", 5)):
        Image.fromarray(make_phantom(seed, size=256).film.gray8).save(folder / place)
    write_dicom(folder / "film.dcm")
    (folder / "reports.csv").write_text("report\nNo pneumothorax.\nLeft lower lobe pneumonia.\n", encoding="utf-8")
    return folder


def write_dicom(path: Path) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    pixels = make_phantom(6, size=256).film.gray8
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID, film.Modality = "1.2.840.10008.5.1.4.1.1.1.1", generate_uid(), "DX"
    film.Rows, film.Columns = pixels.shape
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
    film.BitsAllocated = film.BitsStored = 8
    film.HighBit, film.PixelData = 7, np.ascontiguousarray(pixels).tobytes()
    film.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)  # in one namespace, as a reader would go on


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=lambda page: page.name)
def test_the_commands_that_a_page_shows_run(page, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    for line in (line for block in blocks(page, "console") for line in block.splitlines()):
        with pytest.raises(SystemExit) as ended:
            command_line.main(shlex.split(line.removeprefix("$ "))[1:])
        assert ended.value.code == 0, (line, capsys.readouterr().err)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_names_options_that_there_are(page):
    for name, *words in commands(page):
        if name in ("--help", "COMMAND") or words == ["--help"]:
            continue
        entry = command_line.COMMANDS[name]
        if not words:
            continue
        options = import_module(f"hf_pneumo.cli.{entry.module}").Arguments
        known = {f"--{field}" for field in options.__dataclass_fields__}
        given = {word.partition("=")[0].replace("-", "_").replace("__", "--", 1) for word in words if word[:2] == "--"}
        assert given <= known, (page.name, name, given - known)
        if "..." not in words and not entry.bare and "SRC" not in words and "C" not in words:
            parse(options, words, prog=name, description="")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
