"""Records: frozen dataclasses that read and write their own JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Self, TypeVar

import msgspec

from hf_pneumo.files import read_json, write_json

Record = TypeVar("Record")


class JsonRecord:
    """A frozen dataclass whose fields are the keys of a JSON object; fields may be records themselves.

    What the JSON holds beyond the fields is left out, so that a file of a newer version can be read.
    """

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record in a JSON object. Raises ValueError that names the place where the object does not fit."""
        return record_of(cls, values)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of this record, without the fields that are None because nothing was given for them."""
        return _plain(self)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read the record in a file. Raises OSError, and ValueError that names the file and the place in it."""
        try:
            return cls.from_json(read_json(path))
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}") from None

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the record to a file, whole or not at all."""
        write_json(path, self.to_json())


def record_of(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """The dataclass ``kind`` from a JSON or YAML object. Raises ValueError that names the place that does not fit."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ValueError):  # the dataclass's own sentence says what to give instead
            raise error.__cause__ from None
        raise ValueError(f"it is no {kind.__name__}: {error}") from None


def _plain(value: Any) -> Any:
    """Builtin types alone: records become objects, tuples lists."""
    if isinstance(value, JsonRecord) and type(value).to_json is not JsonRecord.to_json:
        return value.to_json()
    if is_dataclass(value):
        pairs = ((field, getattr(value, field.name)) for field in fields(value))
        return {f.name: _plain(v) for f, v in pairs if v is not None or f.default is MISSING}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
