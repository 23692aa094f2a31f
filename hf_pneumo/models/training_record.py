"""What a checkpoint records of the films that it was trained on, and of its training; both stand in config.json.

Every field may be missing: records of version 0.1 lack some, converted weights have hardly any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hf_pneumo.records import JsonRecord


@dataclass(frozen=True)
class DataRecord(JsonRecord):
    """The films: what the collection is called, split ``protocol`` and films by split, and how labels were read.

    ``revision``: of a data set of the Hub. ``list_sha256``: `Films.fingerprint`. ``label_column``, ``classes`` and
    ``blanks``: the options of the command that read a table, as they were given.
    """

    source: str | None = None
    revision: str | None = None
    protocol: str | None = None
    films: dict[str, int] | None = None
    list_sha256: str | None = None
    label_column: str | None = None
    classes: str | None = None
    blanks: str | None = None


@dataclass(frozen=True)
class TeacherRecord(JsonRecord):
    """The checkpoint that taught a student beside the labels, and the weights that its own training began with."""

    name: str
    architecture: str
    initial_weights: str


@dataclass(frozen=True)
class TrainingRecord(JsonRecord):
    """How the weights came to be.

    ``config``: the fields of `TrainConfig`. ``initial_weights``: "ImageNet", "random" or a file's name, with its
    SHA-256, where it is from, and its repository on the Hub as ``base_model``. ``seconds``: of the run, ``best_epoch``
    from 1. ``weighting``: of an ensemble's members. ``converted_from``: what foreign weights were.
    """

    config: dict[str, Any] | None = None
    command: str | None = None
    initial_weights: str | None = None
    initial_weights_sha256: str | None = None
    initial_weights_source: str | None = None
    base_model: str | None = None
    teacher: TeacherRecord | None = None
    note: str | None = None
    weighting: str | None = None
    parameters: int | None = None
    best_epoch: int | None = None
    epochs_run: int | None = None
    seconds: int | None = None
    hardware: str | None = None
    versions: dict[str, str] | None = None
    converted_from: str | None = None

    @property
    def origin(self) -> str:
        """What the weights were before the training, and who taught it, in words."""
        before = self.initial_weights or "not recorded"
        if self.teacher is None:
            return before
        return f"{before}, taught by {self.teacher.architecture} from {self.teacher.initial_weights}"

    @property
    def facts(self) -> dict[str, Any]:
        """What is recorded beside command, note and versions, by name: all that there is to say without a config."""
        return {name: value for name, value in self.to_json().items() if name not in ("command", "note", "versions")}
