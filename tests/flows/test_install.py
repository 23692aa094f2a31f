"""What a stranger gets: wheel and sdist, installed with all that they depend on into an empty environment.

Needs a package registry and room for gigabytes of torch.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from hf_pneumo.imaging.phantom import make_phantom

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = "space/checkpoints/pneumonia-children"
EXTRAS = "dicom,reports"  # what README and docs show without a page, a listener or a cluster
DATA = {".json", ".yaml", ".jinja", ".md", ".onnx", ".typed"}  # endings of the package's files beside its modules
# Five lines that mean something only to a checker that finds the package's types.
PROGRAM = """\
from hf_pneumo import Finding, Predictor
outcome = Predictor("folder").predict("film.png")
reveal_type(outcome.status)
if isinstance(outcome, Finding):
    reveal_type(outcome.probability)
"""


def run(*words: object, cwd: Path) -> str:
    """The output of a program that knows neither this checkout nor a Hub; the test fails with it where that fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    call = list(map(str, words))
    done = subprocess.run(call, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{call}:\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> Path:
    """A folder with the wheel and the sdist; the wheel is built from the sdist."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    shutil.copytree(ROOT / "hf_pneumo", source / "hf_pneumo", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", source, cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def environment(distributions, tmp_path_factory) -> Path:
    """The folder of programs of an environment that holds the wheel, what it needs, pytest and mypy."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    (wheel,) = distributions.glob("*.whl")
    run(folder / "bin/python", "-m", "pip", "install", "-q", f"{wheel}[{EXTRAS}]", "pytest", "mypy", cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with the pages, the checkpoints and a film, and without the package."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("docs", "model_cards", "space", "README.md", "CONTRIBUTING.md"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "tests/docs").mkdir(parents=True)
    shutil.copy(ROOT / "tests/docs/test_docs.py", folder / "tests/docs")
    Image.fromarray(make_phantom(3, size=256).film.gray8).save(folder / "film.png")
    return folder


def test_both_distributions_hold_every_file_of_the_package(distributions):
    files = {path for path in (ROOT / "hf_pneumo").rglob("*") if path.suffix in DATA | {".py"}}
    names = {path.relative_to(ROOT).as_posix() for path in files}
    (wheel,), (sdist,) = distributions.glob("*.whl"), distributions.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as packed:
        assert names <= set(packed.namelist())
    with tarfile.open(sdist) as packed:
        assert names <= {name.partition("/")[2] for name in packed.getnames()}


def test_the_package_comes_from_the_environment(environment, workplace):
    where = run(environment / "python", "-c", "import hf_pneumo; print(hf_pneumo.__file__)", cwd=workplace)
    assert Path(where.strip()).is_relative_to(environment.parent)


def test_the_command_runs(environment, workplace):
    assert "predict" in run(environment / "hf-pneumo", "--help", cwd=workplace)
    words = ("--checkpoint", CHECKPOINT, "--images", "film.png", "--output", "answers.csv", "--judge-anyway")
    run(environment / "hf-pneumo", "predict", *words, cwd=workplace)
    assert "film.png" in (workplace / "answers.csv").read_text(encoding="utf-8")


def test_the_snippets_of_readme_and_docs_run(environment, workplace):
    chosen = "test_the_python_of_a_page_runs or test_the_commands_that_a_page_shows_run"
    out = run(environment / "python", "-m", "pytest", "-q", "-k", chosen, "tests/docs/test_docs.py", cwd=workplace)
    assert re.search(r"[1-9]\d* passed", out) and "skipped" not in out


def test_the_snippet_of_a_card_runs(environment, workplace):
    card = (workplace / "model_cards/pneumonia-children.md").read_text(encoding="utf-8")
    snippet = re.search(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE)[1]
    local = re.sub(r'"[\w-]+/pneumonia-children"', repr(CHECKPOINT), snippet)
    assert "judged" in run(environment / "python", "-c", local, cwd=workplace)


def test_a_strict_checker_finds_types(environment, workplace):
    (workplace / "program.py").write_text(PROGRAM, encoding="utf-8")
    out = run(environment / "python", "-m", "mypy", "--strict", "program.py", cwd=workplace)
    assert re.findall(r'Revealed type is "(?:builtins\.)?(\w+)"', out) == ["str", "float"], out
