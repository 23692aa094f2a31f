"""What importing the package costs and shows: a light face, lazy names, no subpackage hidden."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hf_pneumo
import hf_pneumo.explain

# What a light import must not bring along.
HEAVY = ("torch", "timm", "transformers", "datasets", "pandas", "sklearn", "matplotlib", "gradio", "spacy", "pydicom")


def modules_after(program: str) -> set[str]:
    """The modules that a fresh interpreter has imported after ``program``."""
    code = f"{program}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_bare_import_brings_nothing_heavy():
    assert modules_after("import hf_pneumo").isdisjoint({*HEAVY, "numpy", "PIL"})


def test_a_png_is_read_without_torch(tmp_path):
    path = tmp_path / "film.png"
    Image.fromarray(np.arange(200 * 200, dtype=np.uint16).reshape(200, 200) // 160).convert("L").save(path)
    program = f"from hf_pneumo import read_xray\nassert read_xray({str(path)!r}).pixels.shape == (200, 200)"
    assert modules_after(program).isdisjoint(HEAVY)


def test_the_rows_of_an_archive_are_read_without_torch():
    assert {"torch", "timm"}.isdisjoint(modules_after("import hf_pneumo.serving.shards"))


@pytest.mark.parametrize("face", [hf_pneumo, hf_pneumo.explain], ids=lambda face: face.__name__)
def test_every_name_of_the_face_is_there_and_hides_no_subpackage(face):
    subpackages = {module.name for module in pkgutil.iter_modules(face.__path__)}
    for name in face.__all__:
        assert getattr(face, name) is not None and name in dir(face)
        assert name not in subpackages
    assert set(face.__all__) == set(face._MODULES)


def test_an_unknown_name_is_told_with_those_that_there_are():
    with pytest.raises(AttributeError, match="has no attribute 'predict'; it has Checkpoint"):
        hf_pneumo.predict  # noqa: B018


def test_types_are_there_for_checkers():
    assert (Path(hf_pneumo.__file__).parent / "py.typed").is_file()
    assert "return" in typing.get_type_hints(hf_pneumo.read_xray)
