"""What all commands share: the command line from a dataclass, one sentence for an error, and the exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeVar

# The repository's own package, also where it has not been installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Large pages for large tensors on the CPU; read by torch at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

BAD_USAGE, FAILED = 2, 1
Config = TypeVar("Config")


def main(
    config_class: type[Config], action: Callable[[Config], Any], description: str, *, bare: str | None = None
) -> None:
    """Parse the command line into ``config_class``, run ``action`` on it and exit.

    ``bare``: the option that words before the first option belong to. The status is 2 for bad usage and 1 when
    something failed or ``action`` returns False; an error is one line.
    """
    from transformers import HfArgumentParser

    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("hf_pneumo").setLevel(logging.INFO)
    class Parser(HfArgumentParser):
        def error(self, message: str) -> NoReturn:  # argparse would print the usage before it, of twenty lines
            _stop(ValueError(f"{message}; --help lists the options"), BAD_USAGE)

    parser = Parser(config_class, description=description)
    words = sys.argv[1:]
    if bare and words and not words[0].startswith("-"):
        words = [f"--{bare}", *words]
    try:
        config, unknown = parser.parse_args_into_dataclasses(words, return_remaining_strings=True)
    except ValueError as error:
        _stop(error, BAD_USAGE)
    if unknown:
        parser.error(_unknown(unknown[0], list(parser._option_string_actions)))
    from hf_pneumo.training.memory import keep_freed_memory

    keep_freed_memory()
    try:
        done = action(config)
    except ValueError as error:
        _stop(error, BAD_USAGE)
    except (OSError, RuntimeError, ArithmeticError) as error:
        _stop(error, FAILED)
    sys.exit(FAILED if done is False else 0)


def _unknown(word: str, options: list[str]) -> str:
    """What to say of a word that no option takes: the likeliest option that was meant."""
    option = word.partition("=")[0]
    near = get_close_matches(option.replace("-", "_").replace("__", "--", 1), options, n=1, cutoff=0.5)
    return f"there is no option {option}" + (f"; did you mean {near[0]}?" if near else "")


def _stop(error: Exception, status: int) -> NoReturn:
    logging.getLogger("hf_pneumo").debug("traceback", exc_info=error)
    print(f"error: {_sentence(error)}", file=sys.stderr)
    sys.exit(status)


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
