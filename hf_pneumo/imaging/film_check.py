"""Whether a picture is an upright frontal chest film with white bones, and what it is if not; no torch.

ImageNet features of the picture (MobileNetV2 to stride 16, in a 3 x 3 grid) and a softmax on them, exported as one
graph by hf-pneumo train-film-check. The features were learnt from photographs and the softmax from films as they are,
turned and inverted, and from pictures of other things, so that it belongs to no checkpoint and to no hospital.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import onnxruntime
from PIL import Image

WEIGHTS = "film_check.onnx"
INPUT = "film"
SIDE = 96  # pixels a side of the graph's input
FLATTEST = 2.0  # grey levels: a picture without content is not blown up to full contrast
# What a picture may be, in the order of the graph's output.
FILM, OTHER = "an upright frontal chest film", "not a frontal chest film"
POSTURES = (
    "inverted, with dark bones",
    "turned by 90 degrees to the left",
    "turned by 90 degrees to the right",
    "upside down",
)
KINDS = (FILM, *POSTURES, OTHER)
LEAST_PROBABILITY = 0.3  # of a film: below, it is refused; see `threshold` in results/film_check.json


@dataclass(frozen=True)
class FilmCheck:
    """``probabilities``: of each of KINDS, in [0, 1], together 1."""

    probabilities: dict[str, float]

    @property
    def reason(self) -> str | None:
        """None for an upright frontal chest film with white bones; else the likeliest of the other KINDS."""
        if self.probabilities[FILM] >= LEAST_PROBABILITY:
            return None
        return max((*POSTURES, OTHER), key=self.probabilities.__getitem__)


def check_film(gray: np.ndarray) -> FilmCheck:
    """What the picture ``gray``, uint8 (H, W), is; ValueError for anything else. Deterministic and thread-safe."""
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise ValueError(f"`gray` is {gray.dtype} {gray.shape}; give one grey image (H, W) of uint8")
    (probabilities,) = _session().run(None, {INPUT: prepared(gray)[None, None]})
    return FilmCheck(dict(zip(KINDS, probabilities[0].tolist(), strict=True)))


def prepared(gray: np.ndarray) -> np.ndarray:
    """A picture uint8 (H, W) as the graph gets it: float32 (SIDE, SIDE), squashed, of mean 0 and variance 1."""
    image = Image.fromarray(np.ascontiguousarray(gray))
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0), dtype=np.float32)
    return (small - small.mean()) / (small.std() + np.float32(FLATTEST))


_lock = threading.Lock()
_sessions: list[onnxruntime.InferenceSession] = []


def _session() -> onnxruntime.InferenceSession:
    """One session a process, of one thread, made at the first picture."""
    with _lock:
        if not _sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            graph = (files("hf_pneumo.imaging") / "weights" / WEIGHTS).read_bytes()
            _sessions.append(onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"]))
        return _sessions[0]
