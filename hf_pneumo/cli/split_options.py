"""The two options that choose films, as every command has them: the protocol of the split, and the split itself.

Until 0.2 they were called --split and --subset.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from hf_pneumo.data.schema import SPLITS
from hf_pneumo.data.splits import PROTOCOLS


def protocol_option(text: str = "split protocol: official, paper or strict", default: str | None = "official") -> Any:
    """The field of a command's options that names how a collection is divided."""
    return field(default=default, metadata={"help": text, "renamed": {"split": tuple(PROTOCOLS)}})


def split_option(text: str = ", ".join(SPLITS), default: str = "test") -> Any:
    """The field that names the part of the collection."""
    return field(default=default, metadata={"help": text, "renamed": {"subset": None}})
