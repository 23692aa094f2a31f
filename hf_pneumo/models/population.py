"""For whom a checkpoint is: the ages, views and hospitals of the films that it has learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Population:
    """``ages``: (from, to) in years, both within. ``views``: "AP", "PA". ``sites``: hospitals, in words."""

    ages: tuple[int, int]
    views: tuple[str, ...]
    sites: tuple[str, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Population:
        """Inverse of :meth:`to_dict`; an unknown or missing key is a ValueError that names the known ones."""
        known = {f.name for f in fields(cls)}
        if set(values) != known:
            raise ValueError(f"`population` has the keys {sorted(values)}; it needs {sorted(known)}")
        return cls(**{name: tuple(value) for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields."""
        return {name: list(value) for name, value in asdict(self).items()}

    def outside(self, age: float | None, view: str | None) -> tuple[str, ...]:
        """Sentences that say in what a film of that ``age`` in years and ``view`` lies outside; None is not known."""
        said = []
        youngest, oldest = self.ages
        if age is not None and not youngest <= age < oldest + 1:
            years = f"under {youngest} years" if age < youngest else f"over {oldest} years"
            said.append(f"The patient is {years} of age: this model knows films of ages {youngest} to {oldest}.")
        if view in ("AP", "PA") and view not in self.views:
            said.append(f"The film is a {view} view: this model knows {' and '.join(self.views)} films alone.")
        return tuple(said)
