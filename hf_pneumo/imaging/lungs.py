"""Where the lungs are on a frontal chest film, by a small U-Net that ONNX Runtime runs; no torch.

The network (hf-pneumo train-lungs, `hf_pneumo.segmentation`) was trained on masks drawn by annotators, on machine
masks, on phantoms and on its own masks of children's films. White lungs belong to the lungs: opacities were painted
into its training films. Where the network is unsure, the whole film is used and it is said so.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike
from PIL import Image
from scipy import ndimage

Array = np.ndarray
Box = tuple[float, float, float, float]  # (top, bottom, left, right), fractions of height and width

WHOLE: Box = (0.0, 1.0, 0.0, 1.0)
UNSURE = "The lungs were not found with confidence, so the model was shown the whole film."
WEIGHTS = "lungs.onnx"
INPUT = "film"  # name of the graph's input
SIDE, GRID = 160, 80  # pixels a side of the network's input and output
MIN_CONFIDENCE = 0.85
AREA = (0.04, 0.75)  # share of the film that lungs may take
LEAST_PART = 0.1  # of the largest part: a smaller one is no lung
MARGIN = (0.03, 0.06, 0.04)  # of `box` above, below and beside the lungs, as shares of their height and width
FLATTEST = 2.0  # grey levels: the spread of a film without content is not blown up
# A film that was cut out along its lungs (everything else set to black) is no film to segment: what is left is lung.
CUT_LEVEL, CUT_BLACK, CUT_RIM = 5, 0.5, 0.85  # grey levels; black shares of the film and of its rim, at least


@dataclass(frozen=True, eq=False)
class LungField:
    """Both lungs of one film.

    ``probability``: float32 (GRID, GRID) in [0, 1] over the whole film, 0 outside the parts that are lungs.
    ``confidence``: the Dice overlap that the network expects of its mask with the truth, in [0, 1]. ``already_cut``:
    the film came black outside its lungs, so that no network was asked.
    """

    probability: Array
    confidence: float
    already_cut: bool = False

    @property
    def found(self) -> bool:
        """Whether the network is sure enough; if not, every other field stands for the whole film."""
        return self.confidence >= MIN_CONFIDENCE and AREA[0] <= self._inside.mean() <= AREA[1]

    @property
    def area(self) -> float:
        """Share of the film that is lung, in [0, 1]."""
        return float(self._inside.mean()) if self.found else 1.0

    @property
    def box(self) -> Box:
        """The lungs with the margins of the crop "adaptive", within the film."""
        return self.box_with(MARGIN)

    def box_with(self, margin: float | tuple[float, float, float]) -> Box:
        """The lungs with ``margin`` above, below and beside them (or one for all), in shares of their height and width.

        Within the film; the whole film unless :attr:`found`.
        """
        if not self.found:
            return WHOLE
        above, below, beside = margin if isinstance(margin, tuple) else (margin,) * 3
        rows, columns = np.flatnonzero(self._inside.any(1)), np.flatnonzero(self._inside.any(0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        height, width = bottom - top, right - left

        def share(edge: float) -> float:
            return float(min(max(edge / GRID, 0.0), 1.0))

        return (
            share(top - above * height),
            share(bottom + below * height),
            share(left - beside * width),
            share(right + beside * width),
        )

    def mask(self, height: int, width: int) -> Array:
        """The lungs on a ``height`` x ``width`` film: bool (H, W); all true where no lungs were found."""
        if not self.found:
            return np.ones((height, width), dtype=bool)
        return np.asarray(_resized(self.probability, height, width)) > 0.5

    @cached_property
    def _inside(self) -> Array:
        return self.probability > 0.5


def find_lungs(pixels: ArrayLike, *, threads: int = 1) -> LungField:
    """The lungs of a grey film (H, W), uint8 or float in [0, 1], frontal and upright; 0 is black.

    ``threads``: of one film's forward pass; films of an archive are better read side by side. Deterministic, safe to
    call from several threads; a grey PIL image does as well. Raises ValueError for anything but one grey image.
    """
    return _shipped(threads)(pixels)


class LungFinder:
    """A segmenter that was exported to ONNX, as a function of films; see :func:`find_lungs` for the shipped one.

    ``graph``: the bytes of the ONNX file. One session; with one thread it has no pool that a fork would lose.
    """

    def __init__(self, graph: bytes, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: ArrayLike) -> LungField:
        """The lungs of a grey film (H, W), uint8 or float in [0, 1]."""
        film = np.asarray(pixels)
        if film.ndim != 2 or not film.size:
            raise ValueError(f"`pixels` has shape {film.shape}; give one grey image (H, W)")
        if film.dtype != np.uint8:
            film = np.rint(np.clip(film, 0, 1) * 255).astype(np.uint8)
        small = shrunk(film)
        if (cut := _cut_out(small)) is not None:
            return LungField(cut, 1.0, already_cut=True)
        (probability,) = self._session.run(None, {INPUT: standardised(small)[None, None]})  # (1, GRID, GRID)
        return LungField(_lungs_only(probability[0]), _expected_dice(probability[0]))


_lock = threading.Lock()
_finders: dict[int, LungFinder] = {}


def _shipped(threads: int) -> LungFinder:
    """The shipped network: one session a process and number of threads, made at its first film."""
    with _lock:
        if threads not in _finders:
            _finders[threads] = LungFinder((files("hf_pneumo.imaging") / "weights" / WEIGHTS).read_bytes(), threads)
        return _finders[threads]


def shrunk(pixels: Array) -> Array:
    """A film uint8 (H, W) as the network gets it: squashed to uint8 (SIDE, SIDE), antialiased."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))


def standardised(film: Array) -> Array:
    """float32, mean 0 and variance 1 over the film: exposure and contrast are gone."""
    film = film.astype(np.float32)
    return (film - film.mean()) / (film.std() + np.float32(FLATTEST))


def _expected_dice(probability: Array) -> float:
    """Dice of the mask with the truth, if the probabilities were right: 2 E|mask and truth| / (|mask| + E|truth|)."""
    inside = probability > 0.5
    total = inside.sum() + probability.sum()
    return float(2 * probability[inside].sum() / total) if inside.any() else 0.0


def _lungs_only(probability: Array) -> Array:
    """``probability`` with holes filled and without what is neither of the two largest parts."""
    parts, count = ndimage.label(probability > 0.5)
    if not count:
        return np.zeros_like(probability)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    large = [part + 1 for part in np.argsort(sizes)[-2:] if sizes[part] >= LEAST_PART * sizes.max()]
    filled = ndimage.binary_fill_holes(np.isin(parts, large))
    near = ndimage.binary_dilation(filled)  # the rim below one half places the mask's edge between two cells
    return np.where(filled, np.maximum(probability, 0.51), np.where(near, np.minimum(probability, 0.5), 0))


def _cut_out(small: Array) -> Array | None:
    """The lungs (GRID, GRID) of a film that is black except within its lungs; None for every other film.

    Such collections exist (lung-masked copies of NIH films), and their lungs are the pixels above black. Known by a
    rim and a picture mostly black, and by two large parts side by side: on a whole film trunk and shoulders are one.
    The holes that the cut left where opacities lie are closed.
    """
    bright = small > CUT_LEVEL
    rim = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    if bright.mean() > 1 - CUT_BLACK or rim.mean() > 1 - CUT_RIM:
        return None
    parts, count = ndimage.label(ndimage.binary_opening(bright))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    largest = np.argsort(sizes)[-2:] + 1
    if count < 2 or sizes[largest[0] - 1] < LEAST_PART * sizes.max():
        return None
    (_, left), (_, right) = ndimage.center_of_mass(bright, parts, largest)
    if abs(left - right) < SIDE / 8:  # one above the other: no pair of lungs
        return None
    lungs = np.logical_or.reduce([_closed(parts == part) for part in largest]).astype(np.float32)
    return lungs.reshape(GRID, 2, GRID, 2).mean((1, 3))


def _closed(lung: Array) -> Array:
    """One lung without holes and with its bays closed, as far as they are narrower than an eighth of the film."""
    reach = SIDE // 16
    padded = np.pad(lung, reach)
    closed = ndimage.binary_closing(padded, iterations=reach)[reach:-reach, reach:-reach]
    return ndimage.binary_fill_holes(closed)


def _resized(values: Array, height: int, width: int) -> Image.Image:
    return Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR)
