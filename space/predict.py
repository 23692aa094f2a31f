"""One film, read and judged for the page: the finding, and the pictures that show it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from components.viewer import SHOWN, probability_of
from gradio.components import Component
from model_registry import LEADING, REFINEMENTS, Desk
from PIL import Image

from hf_pneumo.evaluation.explanations.variants import DEFAULT, PLAIN, Variant
from hf_pneumo.imaging.reader import Xray, XrayReadError, read_xray
from hf_pneumo.serving.colours import blended
from hf_pneumo.serving.export import overlay_image, write_archive
from hf_pneumo.serving.outcome import Finding, Outcome

Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Held:
    """What is held between two clicks: what became of the film, what that answers, and the checkpoint that gave it.

    ``anyway``: whether the film was to be judged whatever the check of the picture says.
    """

    question: tuple[str, str, str, str, str, bool]
    outcome: Outcome
    desk: Desk
    anyway: bool = False

    @property
    def path(self) -> str:
        """Of the film."""
        return self.question[0]

    def is_of(self, path: str) -> bool:
        """Whether it is of the film at ``path``."""
        return self.path == path

    @property
    def target(self) -> str:
        """The label whose evidence is shown; of a contrast "A - B" it is A."""
        return self.outcome.explanation.target.partition(" - ")[0]


def read_film(path: str) -> Xray:
    """Read an upload. Raises XrayReadError, whose message never holds the file's name."""
    try:
        with open(path, "rb") as stream:
            return read_xray(stream)
    except OSError as error:
        raise XrayReadError("The film is no longer on the server; drop it in again.") from error


def judge(
    path: str,
    desk: Desk,
    method: str,
    target: str,
    box_threshold: float,
    boxes_when_normal: bool,
    *,
    refinement: str = PLAIN,
    anyway: bool = False,
    held: Held | None = None,
    film: Xray | None = None,
    progress: Progress | None = None,
) -> Held:
    """Judge the film at ``path``. What ``held`` answers already is not computed again; the boxes always are.

    ``refinement``: one of `REFINEMENTS`. ``film``: what the file holds, if it has been read. Raises XrayReadError for a
    file that is no film, ValueError for a method, refinement or target that there is not.
    """
    target = "" if target == LEADING else target
    question = (path, desk.checkpoint.name, method, target, refinement, anyway)
    if held is None or held.question != question:
        if film is None:
            film = held.outcome.film if held is not None and held.is_of(path) else read_film(path)
        refined = options_of(refinement)
        asked = {"method": method, "target": target or None}
        if refinement == DEFAULT and desk.checkpoint.config.map:  # its target is a contrast with what is asked for
            asked = {"method": DEFAULT, "target": None if target == desk.predictor.target else target or None}
        outcome = desk.predictor.predict(
            film, **asked, box_threshold=box_threshold, boxes_when_normal=boxes_when_normal,
            judge_anyway=anyway or None, progress=progress, **refined,
        )  # fmt: skip
    else:
        outcome = held.outcome
        if isinstance(outcome, Finding):
            outcome = outcome.with_boxes(box_threshold, boxes_when_normal)
    return Held(question, outcome, desk, anyway)


def options_of(refinement: str) -> dict[str, str | bool]:
    """What the predictor is told of a refinement. Raises ValueError for one that the page does not offer."""
    if refinement not in [offered for _, offered in REFINEMENTS]:
        raise ValueError(f"`refinement` is {refinement!r}; give one of {', '.join(own for _, own in REFINEMENTS)}")
    return {} if refinement == DEFAULT else Variant.parse(refinement).options


def thumbnail(finding: Finding, side: int) -> Image.Image:
    """Film and map without boxes, RGB, at most ``side`` pixels; on the viewer's scale, where weak evidence is pale."""
    film = Image.fromarray(finding.film.gray8)
    film.thumbnail((side, side), Image.Resampling.BOX)
    heat = Image.fromarray(finding.explanation.heatmap).resize(film.size, Image.Resampling.BOX)
    evidence = np.rint(np.asarray(heat) * (255 * probability_of(finding))).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(blended(np.asarray(film), evidence)))


def overlay(finding: Finding) -> Image.Image:
    """The overlay with its boxes, RGB, scaled down to at most SHOWN pixels."""
    return overlay_image(finding, side=SHOWN)


def pack(outcome: Outcome, desk: Desk, component: Component) -> str:
    """The zip of an outcome in the page's own store, which is purged; returns its path."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_archive(Path(folder) / "chest-film-finding.zip", outcome, desk.checkpoint)
        return component.move_resource_to_block_cache(path)


def store_overlay(finding: Finding, component: Component) -> str:
    """The overlay in every pixel as a PNG in the page's own store; returns its path."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "overlay.png")
        overlay_image(finding).save(path)
        return component.move_resource_to_block_cache(path)
