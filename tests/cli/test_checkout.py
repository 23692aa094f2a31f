"""Where a command finds the folders of a checkout."""

from __future__ import annotations

from pathlib import Path

from hf_pneumo.cli import checkout


def test_the_checkout_that_the_package_lies_in():
    assert (checkout.repository() / "pyproject.toml").is_file()


def test_an_installed_package_works_where_it_is_called(monkeypatch, tmp_path):
    monkeypatch.setattr(checkout, "PARTS", ("a folder that no checkout has",))
    monkeypatch.chdir(tmp_path)
    assert checkout.repository() == Path.cwd()
