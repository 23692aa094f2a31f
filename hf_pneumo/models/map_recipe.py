"""How a checkpoint's maps are made unless told otherwise: chosen by measurement, stored in its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from hf_pneumo.imaging.preprocess import Preprocess


@dataclass(frozen=True)
class MapRecipe:
    """The arguments of `explain.explain`, and whether the map is held to the lungs.

    ``layer``: a module's dotted name or "strideN"; None reads the last map. ``target``: a label, or a pair for the
    contrast of two. ``sizes``: sides of the input in pixels, over which the map is a mean. ``offset``: where the cells
    of that layer look, in pixels (down, right) of the input.
    """

    method: str = "gradcam"
    layer: str | None = None
    target: str | tuple[str, str] | None = None
    sizes: tuple[int, ...] = ()
    smoothing: str = "none"
    offset: tuple[float, float] = (0.0, 0.0)
    within_lungs: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MapRecipe:
        """Inverse of :meth:`to_dict`; an unknown key is a ValueError that names the known ones."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"`map` has unknown keys {sorted(unknown)}; known are {sorted(known)}")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def way(self) -> MapRecipe:
        """The recipe but for what it is asked of: two ways that are equal make the same maps of the same target."""
        return replace(self, target=None, within_lungs=False)

    def preprocess(self, plain: Preprocess) -> Preprocess:
        """How films are prepared for the map: as ``plain`` says, but at the largest of :attr:`sizes`."""
        side = max(self.sizes or plain.size)
        return plain if side == max(plain.size) else replace(plain, size=(side, side))

    @property
    def options(self) -> dict[str, Any]:
        """What `explain` is to be told beside the method and the target."""
        told = {"smoothing": self.smoothing, "offset": self.offset}
        told |= {"layer": self.layer} if self.layer else {}
        return told | ({"sizes": self.sizes} if self.sizes else {})
