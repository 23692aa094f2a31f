"""Run a command of `hf_pneumo.cli` from a checkout that is not installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hf_pneumo.cli.main import run_command


def run(command: str) -> NoReturn:
    """Run ``command`` with this process's words, and end with its status."""
    run_command(command, sys.argv[1:])
