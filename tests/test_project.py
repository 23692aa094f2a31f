"""One line of pyproject.toml says where the code can be had."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hf_pneumo import project


def test_a_checkout_says_what_its_pyproject_says():
    stored = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project.project_url() == stored["project"]["urls"]["Repository"]
    assert project.install_command() == f'pip install "hf-pneumo @ git+{project.project_url()}"'


def test_without_a_checkout_the_installed_package_is_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(project, "CHECKOUT", tmp_path / "pyproject.toml")
    monkeypatch.setattr(project, "NAME", "a-package-that-is-not-there")
    assert project.project_url() == ""
