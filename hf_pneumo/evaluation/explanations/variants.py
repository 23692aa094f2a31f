"""Variants of a checkpoint's maps: the same weights asked in another way, or the map held to the lungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hf_pneumo.explain.lung_masking import within_lungs
from hf_pneumo.imaging.preprocess import ADAPTIVE

if TYPE_CHECKING:
    from hf_pneumo.models.checkpoint import Checkpoint

PLAIN, LUNGS, CROP, SMOOTH = "plain", "lungs", "crop", "smooth"
DEFAULT = "default"  # the checkpoint's own way to make maps: no part, but a row of its own
SMOOTHING = "flips+shifts"  # what SMOOTH asks of `explain`
STRIDES = {"stride16": 16, "stride8": 8}
PARTS = {
    CROP: "the network is shown each film's lungs instead of what it is shown otherwise",
    **{name: f"its last cells lie {pixels} pixels apart, by dilation" for name, pixels in STRIDES.items()},
    SMOOTH: "mean over ten mirrored and shifted views",
    LUNGS: "times the lung fields that are found on the film",
}


@dataclass(frozen=True)
class Variant:
    """Some of `PARTS` together; none of them is the plain map, as the checkpoint says."""

    parts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, name: str) -> Variant:
        """The variant called "plain", "lungs", "crop+lungs" and so on. Raises ValueError for an unknown part."""
        parts = frozenset() if name == PLAIN else frozenset(name.split("+"))
        if unknown := sorted(parts - PARTS.keys()):
            raise ValueError(f"`variants` holds {unknown[0]!r}; give {PLAIN}, or some of {', '.join(PARTS)} with +")
        if len(parts & STRIDES.keys()) > 1:
            raise ValueError(f"`variants` holds {name!r}, with two strides; give one")
        return cls(parts)

    @property
    def name(self) -> str:
        return "+".join(part for part in PARTS if part in self.parts) or PLAIN

    @property
    def view(self) -> Variant:
        """What the network itself is asked: the variant before its map is held to the lungs."""
        return Variant(self.parts - {LUNGS})

    @property
    def smoothing(self) -> str | None:
        """The smoothing that it needs, of `explain`; None where it leaves that as it is."""
        return SMOOTHING if SMOOTH in self.parts else None

    @property
    def options(self) -> dict[str, str | bool]:
        """What `Predictor.predict` is to be told, of a variant of ``SMOOTH`` and ``LUNGS`` alone."""
        return {"smoothing": self.smoothing or "none", "within_lungs": LUNGS in self.parts}

    def checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint as this variant asks it. Raises ValueError for a network that does not allow it."""
        preprocess, arguments = checkpoint.config.preprocess, {}
        if CROP in self.parts:
            if preprocess.crop == ADAPTIVE:
                raise ValueError(f"`variants` holds {self.name!r}, but {checkpoint.name} crops so always; leave it out")
            preprocess = replace(preprocess, crop=ADAPTIVE)
        for part in self.parts & STRIDES.keys():
            arguments["output_stride"] = STRIDES[part]
        return checkpoint.altered(preprocess, arguments) if self.parts & {CROP, *STRIDES} else checkpoint

    def show(self, maps: np.ndarray, lungs: np.ndarray) -> np.ndarray:
        """Maps (N, H, W) of this variant's view, and the films' lung fields (N, H, W) bool, to what is shown."""
        if LUNGS not in self.parts:
            return maps
        return np.stack([within_lungs(heat, fields) for heat, fields in zip(maps, lungs, strict=True)])


def titled(method: str, variant: str = PLAIN) -> str:
    """What tables and results call the maps of a method in a variant."""
    return method if variant == PLAIN else f"{method}, {variant}"


def legend(names: Sequence[str]) -> str:
    """One sentence that says what the parts of these variants' names mean."""
    found = {part for name in names for part in name.split("+")}
    parts = PARTS | {DEFAULT: "the checkpoint's own map, as its config says"}
    return "; ".join(f"{part}: {text}" for part, text in parts.items() if part in found) + "."
