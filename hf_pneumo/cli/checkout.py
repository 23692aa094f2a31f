"""Where a command finds the folders of a checkout: results, cards and the Space."""

from __future__ import annotations

from pathlib import Path

PARTS = ("space", "results")  # what a checkout has beside the package


def repository() -> Path:
    """The checkout that this package lies in; the working directory where it is installed elsewhere."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout if all((checkout / part).is_dir() for part in PARTS) else Path.cwd()
