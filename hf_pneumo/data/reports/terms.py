"""The labeler's words: YAML files beside this package, with alternatives written as `(a|b|)`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

import yaml


def expand(template: str) -> list[str]:
    """Every phrase a template stands for: "pleural (fluid|effusion)" gives "pleural fluid" and "pleural effusion".

    Groups do not nest. An empty alternative, as in "(left |)", makes the words optional; runs of blanks become one.
    Raises ValueError for unbalanced parentheses.
    """
    if template.count("(") != template.count(")"):
        raise ValueError(f"`template` has unbalanced parentheses: {template!r}; close every group `(a|b)`.")
    pieces: list[list[str]] = []
    for part in template.split("("):
        group, closed, tail = part.partition(")")
        pieces.append(group.split("|") if closed else [group])
        if closed:
            pieces.append([tail])
    phrases = (" ".join("".join(choice).split()) for choice in product(*pieces))
    return [phrase for phrase in dict.fromkeys(phrases) if phrase]


def expand_all(templates: list[str]) -> list[str]:
    """The phrases of several templates, each once, in order."""
    return list(dict.fromkeys(phrase for template in templates for phrase in expand(str(template))))


@cache
def load_terms(name: str) -> Any:
    """The parsed file `hf_pneumo/data/terms/<name>.yaml`."""
    return yaml.safe_load((files("hf_pneumo") / "data" / "terms" / f"{name}.yaml").read_text(encoding="utf-8"))
