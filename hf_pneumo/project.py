"""Where the code can be had: one line of pyproject.toml, that of the installed package or of the checkout."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

NAME, SETTING = "hf-pneumo", "Repository"
CHECKOUT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def project_url() -> str:
    """The setting `Repository` under [project.urls]: a git repository that pip can install from."""
    if CHECKOUT.is_file():
        return tomllib.loads(CHECKOUT.read_text(encoding="utf-8"))["project"]["urls"][SETTING]
    try:
        urls = metadata(NAME).get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    pairs = (url.partition(", ") for url in urls)
    return next((address for name, _, address in pairs if name == SETTING), "")


def install_command() -> str:
    """What a reader types to get the library."""
    return f'pip install "{NAME} @ git+{project_url()}"'
