"""What a checkpoint's config says of each network of an ensemble; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_pneumo.records import record_of


@dataclass(frozen=True)
class Member:
    """One network of an ensemble: how it is built, what it is given, and what its answer counts.

    ``temperature`` divides its logits before they are averaged, ``weight`` (from 0) is its share in the mean. ``mean``
    and ``std`` are its own normalisation, per channel, on the [0, 1] scale. ``name``: the checkpoint it came from.
    ``cam_offset``: where the cells of its last map look, in pixels (down, right), as in a checkpoint's config.
    """

    name: str
    architecture: str
    weight: float
    temperature: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    head: str = "linear"
    model_args: Mapping[str, Any] = field(default_factory=dict)
    cam_offset: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Member:
        """The member that :func:`dataclasses.asdict` made ``values`` of, as JSON gives them back."""
        return record_of(cls, values)
