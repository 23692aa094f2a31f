"""From a dataclass to a command line: every field is an option, its type and its help say the rest."""

from __future__ import annotations

import logging
from argparse import (
    SUPPRESS,
    Action,
    ArgumentDefaultsHelpFormatter,
    ArgumentParser,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

logger = logging.getLogger(__name__)

BAD_USAGE = 2  # the status of a process that was called wrongly

Config = TypeVar("Config")
_UNKNOWN = "unrecognized arguments: "  # what argparse says of an option that there is not
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class _Parser(ArgumentParser):
    """Says what is wrong in one line, with the likeliest option that was meant, and not the usage before it."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix(_UNKNOWN).split()[0].partition("=")[0] if message.startswith(_UNKNOWN) else ""
        near = get_close_matches(unknown.replace("_", "-"), list(self._option_string_actions), n=1, cutoff=0.5)
        told = f"there is no option {unknown}" if unknown else message
        told += f"; did you mean {near[0]}?" if near else "; --help lists the options"
        self.exit(BAD_USAGE, f"error: {told}\n")


class _Gather(Action):
    """The values of an option that is given several times are those of all its places."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, [*(() if before is self.default else before), *values])


class _Formatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Descriptions as they are written, and every option's default."""


def parse(
    config_class: type[Config], words: Sequence[str], *, prog: str, description: str, bare: str | None = None
) -> Config:
    """The dataclass ``config_class`` as the command line ``words`` says; bad usage ends the process with status 2.

    ``bare``: the field that words before the first option belong to. A field's metadata may hold "help", and "renamed":
    the names that it had in the version before, each with the values that meant it, or None for all; these are taken
    with a warning.
    """
    parser = _Parser(prog=prog, description=description, formatter_class=_Formatter, allow_abbrev=False)
    hints = get_type_hints(config_class)
    for field in fields(config_class):  # type: ignore[arg-type]
        parser.add_argument(*_spellings(field.name), dest=field.name, **_settings(field, hints[field.name]))
    words = [f"--{bare}", *words] if bare and words and not words[0].startswith("-") else list(words)
    given = parser.parse_args(_renamed(words, _old_names(config_class)))
    try:
        return config_class(**_values(given))
    except ValueError as error:
        parser.error(" ".join(str(error).split()))


def _values(given: Namespace) -> dict[str, Any]:
    """The options that were given; the dataclass has the defaults of the others."""
    return {name: value for name, value in vars(given).items() if value is not SUPPRESS}


def _spellings(name: str) -> tuple[str, ...]:
    """An option may be written with hyphens or underscores."""
    return tuple(dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}")))


def _settings(field: Field[Any], hint: Any) -> dict[str, Any]:
    """What `ArgumentParser.add_argument` is told of a field."""
    kind, several = _kind(hint)
    default = field.default if field.default is not MISSING else MISSING
    if field.default_factory is not MISSING:
        default = field.default_factory()
    settings: dict[str, Any] = {"help": field.metadata.get("help", ""), "required": default is MISSING}
    settings["default"] = None if default is MISSING else default
    if kind is bool:
        return settings | {"nargs": "?", "const": True, "type": _truth, "metavar": "true|false"}
    settings |= {"type": kind, "metavar": kind.__name__.upper()}
    return settings | ({"nargs": "+", "action": _Gather} if several else {})


def _kind(hint: Any) -> tuple[type, bool]:
    """The type of one value, and whether there may be several: list[str] | None gives (str, True)."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) in (list, tuple):
        return get_args(hint)[0], True
    return hint, False


def _truth(word: str) -> bool:
    if word.lower() not in _TRUTH:
        raise ValueError(f"{word!r} is neither true nor false")
    return _TRUTH[word.lower()]


OldNames = Mapping[str, Sequence[tuple[str, Sequence[str] | None]]]


def _old_names(config_class: type) -> OldNames:
    """By old name, the new ones with the values that mean them."""
    names: dict[str, list[tuple[str, Sequence[str] | None]]] = {}
    for field in fields(config_class):
        for old, values in field.metadata.get("renamed", {}).items():
            names.setdefault(old, []).append((field.name, values))
    return names


def _renamed(words: Sequence[str], old_names: OldNames) -> list[str]:
    """``words`` with options of the version before under their present names; each is told once."""
    present = list(words)
    for place, word in enumerate(words):
        option, sign, value = word.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if not word.startswith("--") or name not in old_names:
            continue
        meant = value if sign else next(iter(words[place + 1 : place + 2]), "")
        for new, values in old_names[name]:
            if values is None or meant in values:
                logger.warning("--%s is now --%s; the old name goes with version 0.3", name, new.replace("_", "-"))
                present[place] = f"--{new}{sign}{value}"
    return present
