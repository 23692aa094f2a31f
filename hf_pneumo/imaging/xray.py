"""What reading a film gives: an `Xray`, or an `XrayReadError` that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from hf_pneumo.imaging.lungs import LungField


class XrayReadError(ValueError):
    """A file cannot be read as an X-ray. The message is one or two plain sentences with the way out."""

    status = "error"  # beside the other outcomes, see `serving.outcome`

    @property
    def reason(self) -> str:
        """The message."""
        return str(self)


@dataclass(frozen=True)
class Projection:
    """How the patient stands on the film, as far as the file says so; the picture itself is not looked at.

    lateral: seen from the side. mirrored: the patient's right side is on the right of the picture. quarter_turns: 0 to
    3, how many clockwise quarter turns would put the patient upright. burned_in: text is drawn into the picture.
    """

    lateral: bool = False
    mirrored: bool = False
    quarter_turns: int = 0
    burned_in: bool = False


@dataclass(frozen=True, eq=False)
class Xray:
    """One film, as it looks on the light box.

    pixels: float32 (H, W) in [0, 1], 0 = black as displayed (orientation, window and inversion already applied); they
    are square. format: "PNG", "JPEG", "TIFF", "WebP", "BMP", "GIF", "JPEG 2000" or "DICOM". bits: bit depth as stored.
    notes: plain sentences about what a user should know of this input. view: "PA", "AP", "LATERAL", ... when the file
    says so, else None. projection: what else it says of that. coloured: whether the picture has more colour than a grey
    film. age: the patient's in years, where the file says it. Nothing here identifies a person.
    """

    pixels: np.ndarray
    format: str
    bits: int
    notes: tuple[str, ...] = ()
    view: str | None = None
    projection: Projection = Projection()
    coloured: bool = False
    age: float | None = None

    @cached_property
    def gray8(self) -> np.ndarray:
        """uint8 (H, W), read-only: the pixels rounded to 256 levels; exact for 8-bit grey files."""
        scaled = self.pixels * np.float32(255)
        gray = np.rint(scaled, out=scaled).astype(np.uint8)
        gray.flags.writeable = False
        return gray

    @cached_property
    def lungs(self) -> LungField:
        """Where the lungs are, by `lungs.find_lungs`; looked for once, and not before somebody asks."""
        from hf_pneumo.imaging.lungs import find_lungs  # ONNX Runtime is not needed to read a film

        return find_lungs(self.gray8)


class Limits(NamedTuple):
    """How much one file may ask for. The largest digital radiographs have about 25 million pixels."""

    pixels: int = 64 * 1024**2
    bytes: int = 256 * 1024**2

    def check_size(self, width: int, height: int) -> None:
        """Raise XrayReadError unless 1 <= width * height <= `pixels`."""
        if width < 1 or height < 1:
            raise XrayReadError(f"The image is {width} x {height} pixels: it holds no picture.")
        if width * height > self.pixels:
            needed = width * height
            raise XrayReadError(
                f"The image is {width:,} x {height:,} pixels, more than the {self.pixels:,} of `max_pixels`; scale it "
                f"down, or allow it by `max_pixels={needed}`, or --max_pixels {needed} of predict and explain."
            )
