"""One film, read and judged for the page: the finding, and the pictures that show it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from gradio.components import Component
from model_registry import REFINEMENTS, Desk
from PIL import Image

from hf_pneumo.evaluation.explanations.faithfulness import agreement
from hf_pneumo.evaluation.explanations.variants import DEFAULT, PLAIN, Variant
from hf_pneumo.explain import ZeroGradientError, boxes
from hf_pneumo.imaging.reader import Xray, XrayReadError, read_xray
from hf_pneumo.serving.export import film_image, overlay_image, write_archive
from hf_pneumo.serving.outcome import Finding, NotJudged, Outcome

SHOWN = 1200  # pixels of the longer side on the page; the download has every pixel
THUMBNAIL = 420
COMPARED = 128  # longer side of the maps whose ranks are compared: finer than any class activation map

Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Read:
    """What is held between two clicks: what became of the film, what that answers, and the checkpoint that gave it.

    ``anyway``: whether the film was to be judged whatever the check of the picture says.
    """

    question: tuple[str, str, str, str, str, bool]
    outcome: Outcome
    desk: Desk
    anyway: bool = False

    def is_of(self, path: str) -> bool:
        """Whether it is of the film at ``path``."""
        return self.question[0] == path


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
    held: Read | None = None,
    progress: Progress | None = None,
) -> Read:
    """Judge the film at ``path``. What ``held`` answers already is not computed again; the boxes always are.

    ``refinement``: one of `REFINEMENTS`. Raises XrayReadError for a file that is no film, ValueError for a method,
    refinement or target that there is not.
    """
    question = (path, desk.checkpoint.name, method, target, refinement, anyway)
    if held is None or held.question != question:
        film = held.outcome.film if held is not None and held.is_of(path) else read_film(path)
        refined = options_of(refinement)
        asked = {"method": method, "target": target or None}
        if refinement == DEFAULT and desk.checkpoint.config.map:  # its target is a contrast with what is asked for
            asked = {"method": DEFAULT, "target": None if target == desk.predictor.target else target or None}
        outcome = desk.predictor.predict(film, **asked, judge_anyway=anyway or None, progress=progress, **refined)
    else:
        outcome = held.outcome
    if isinstance(outcome, Finding):
        outcome = with_boxes(outcome, box_threshold, boxes_when_normal)
    return Read(question, outcome, desk, anyway)


def options_of(refinement: str) -> dict[str, str | bool]:
    """What the predictor is told of a refinement. Raises ValueError for one that the page does not offer."""
    if refinement not in [offered for _, offered in REFINEMENTS]:
        raise ValueError(f"`refinement` is {refinement!r}; give one of {', '.join(own for _, own in REFINEMENTS)}")
    return {} if refinement == DEFAULT else Variant.parse(refinement).options


def with_boxes(finding: Finding, threshold: float, when_normal: bool) -> Finding:
    """The same finding with boxes of another threshold; none of a label that is not called unless ``when_normal``."""
    wanted = when_normal or finding.is_called(finding.explanation.target)
    return replace(finding, boxes=tuple(boxes(finding.explanation.heatmap, threshold=threshold, positive=wanted)))


def views(finding: Finding, side: int = SHOWN) -> tuple[Image.Image, Image.Image]:
    """Film and overlay with boxes, RGB, scaled down to at most ``side`` pixels."""
    pair = film_image(finding), overlay_image(finding)
    for image in pair:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return pair


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


@dataclass(frozen=True, eq=False)
class Picture:
    """A method's overlay on the film, small, RGB; ``name`` is the method's."""

    name: str
    caption: str
    image: Image.Image


def compare(
    film: Xray,
    desk: Desk,
    target: str,
    refinement: str = PLAIN,
    progress: Progress | None = None,
    *,
    anyway: bool = False,
) -> tuple[list[Picture], dict[str, dict[str, float]]]:
    """The overlay of every quick method, and how far their maps agree.

    The agreement is the rank correlation of each two maps, by title; constant maps have no ranks and are left out.
    """
    pictures, maps = [], {}
    for number, (name, method) in enumerate(desk.quick.items()):
        if progress:
            progress(number / len(desk.quick))
        try:
            finding = desk.predictor.predict(
                film, method=name, target=target or None, judge_anyway=anyway or None, **options_of(refinement)
            )
        except ZeroGradientError:
            continue
        if isinstance(finding, NotJudged):
            break
        explanation = finding.explanation
        caption = method.title + (": no evidence" if explanation.constant else "")
        pictures.append(Picture(name, caption, views(replace(finding, boxes=()), THUMBNAIL)[1]))
        if not explanation.constant:
            small = Image.fromarray(explanation.heatmap)
            small.thumbnail((COMPARED, COMPARED), Image.Resampling.BILINEAR)
            maps[method.title] = np.asarray(small)[None]
    return pictures, agreement(maps)
