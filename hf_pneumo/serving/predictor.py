"""From a file to a finding: calibrated probability, verdict, explanation and boxes in the film's own pixels.

No torch is loaded as long as the checkpoint's exported graph has the answer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_pneumo.explain.explanation import Explanation
from hf_pneumo.explain.lung_masking import within_lungs as held_to
from hf_pneumo.explain.target import OneTarget, per_image
from hf_pneumo.imaging.preprocess import Crop, Preprocess
from hf_pneumo.imaging.reader import MAX_PIXELS, Source, Xray, XrayReadError, read_xray
from hf_pneumo.models.folder import CheckpointFolder, open_folder
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.models.ood_detector import Suspicion, sentence
from hf_pneumo.serving.admission import refusal_of
from hf_pneumo.serving.engine import Engine, Shown
from hf_pneumo.serving.graph_engine import GraphEngine
from hf_pneumo.serving.graph_store import open_graph
from hf_pneumo.serving.outcome import Finding, NotJudged, Outcome
from hf_pneumo.serving.verdict import finding_of, remarks_on, target_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hf_pneumo.serving.torch_engine import TorchEngine

DEFAULT = "default"  # the checkpoint's own way to make maps
BOX_THRESHOLD = 0.5  # share of the map's maximum from which on a pixel belongs to a box
BATCH = 8  # films read or judged at once: large enough for any network, small enough for two batches of large films
LUNGS_SIDE = 448  # pixels of a film's longer side at which its lung fields are drawn
AUTO, ONNX, TORCH = "auto", "onnx", "torch"
ENGINES = (AUTO, ONNX, TORCH)


class Predictor:
    """Reads films and judges them with one checkpoint; may be shared by threads.

    ``checkpoint``: a folder, ``user/repo[@revision]``, or one that is loaded or opened already. ``engine``: what
    computes. "auto" takes the exported graph by ONNX Runtime on the CPU where the checkpoint has one (see
    `graph_store.open_graph`), and torch for all else; "onnx" exports the graph where there is none; "torch" never takes
    it. A method, layer or refinement that is not the checkpoint's own way to maps is torch's, which is loaded when it
    is first asked for. ``threads``: of the graph; None is one a core. ``judge_anyway``: also judge what is no upright
    frontal chest film (see `serving.admission`); the findings then say why they should not be there. ``max_pixels``:
    the largest film that is read.
    """

    def __init__(
        self,
        checkpoint: CheckpointFolder | str | os.PathLike[str],
        *,
        device: str | torch.device = "cpu",
        engine: str = AUTO,
        threads: int | None = None,
        judge_anyway: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        if engine not in ENGINES:
            raise ValueError(f"`engine` is {engine!r}; choose one of {', '.join(ENGINES)}")
        if engine == ONNX and str(device) != "cpu":
            raise ValueError(f"`device` is {str(device)!r}, and the graph runs on the CPU; leave one of the two out")
        self.judge_anyway, self.max_pixels, self.device = judge_anyway, max_pixels, device
        self.checkpoint = checkpoint if isinstance(checkpoint, CheckpointFolder) else open_folder(checkpoint)
        self._lock = threading.Lock()
        self._torch: TorchEngine | None = None
        self._graph: GraphEngine | None = None
        # A network that is in memory may be another than the weights in its folder.
        in_memory = hasattr(self.checkpoint, "network")
        if engine == ONNX or engine == AUTO and str(device) == "cpu" and not in_memory:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            graph = open_graph(self.checkpoint, threads=threads or cores, make=engine == ONNX)
            self._graph = GraphEngine(graph, self.checkpoint.config) if graph else None
        if self._graph is None:
            self._torch_engine()

    @property
    def engine(self) -> str:
        """What computes probabilities and the checkpoint's own maps: "onnx" or "torch"."""
        return ONNX if self._graph else TORCH

    @property
    def network(self) -> nn.Module:
        """The network in torch, loaded when it is first asked for."""
        return self._torch_engine().network

    @property
    def target(self) -> str | None:
        """What is explained of every film unless told otherwise; None where that depends on the film.

        Then it is the film's leading finding, or the likeliest label within it where it is no label itself (the cause
        of a pneumonia). That costs one more prediction.
        """
        labels = self.checkpoint.config.labels
        return labels.finding if labels.finding in labels.names else None

    def predict(
        self,
        source: Source | Xray,
        *,
        method: str | None = DEFAULT,
        target: str | None = None,
        box_threshold: float | str = BOX_THRESHOLD,
        boxes_when_normal: bool = False,
        within_lungs: bool | None = None,
        judge_anyway: bool | None = None,
        **options: Any,
    ) -> Outcome:
        """Judge one film: a Finding, or NotJudged with the reason where the picture is no upright frontal chest film.

        ``method`` None explains nothing; "default" is the checkpoint's own way to make maps where one was chosen by
        measurement (target, layer, sizes and views, all of which ``options`` may change), else Grad-CAM. ``target``
        None takes :attr:`target`. ``within_lungs`` holds the map to the lungs that are found on the film (see
        `hf_pneumo.explain.within_lungs`). ``judge_anyway``: see the class; None takes its own. ``options`` go to
        `hf_pneumo.explain.explain`. Raises XrayReadError for a file that is no film, ValueError for a wrong method,
        target or option, CheckpointError (OSError) for a network whose answer is no number.
        """
        film = source if isinstance(source, Xray) else read_xray(source, max_pixels=self.max_pixels)
        (outcome,) = self.judge(
            [film],
            method=method,
            target=target,
            box_threshold=box_threshold,
            boxes_when_normal=boxes_when_normal,
            within_lungs=within_lungs,
            judge_anyway=judge_anyway,
            **options,
        )
        return outcome

    def judge(
        self,
        films: Sequence[Xray],
        *,
        method: str | None = DEFAULT,
        target: str | Sequence[str | None] | None = None,
        box_threshold: float | str = BOX_THRESHOLD,
        boxes_when_normal: bool = False,
        within_lungs: bool | None = None,
        judge_anyway: bool | None = None,
        **options: Any,
    ) -> list[Outcome]:
        """Judge several films that have been read, in one batch; see :meth:`predict`. A list has a target for each."""
        config, count = self.checkpoint.config, len(films)
        preprocess = config.preprocess
        crops = [preprocess.crop_of(film.gray8, film.lungs if preprocess.goes_by_lungs else None) for film in films]
        shown = [
            Shown(film.gray8, crop, preprocess.to_gray(film.gray8, crop))
            for film, crop in zip(films, crops, strict=True)
        ]
        suspicions, suspects = self._check(np.stack([own.gray for own in shown]))
        refusals = [refusal_of(film, suspicion) for film, suspicion in zip(films, suspicions, strict=True)]
        anyway = self.judge_anyway if judge_anyway is None else judge_anyway
        admitted = [i for i in range(count) if anyway or refusals[i] is None]
        recipe, options = self._recipe(method, options)
        within_lungs = recipe.within_lungs if within_lungs is None else within_lungs
        targets = per_image(recipe.target if target is None else target, count)
        logits, explanations = self._answers(
            [shown[i] for i in admitted], [targets[i] for i in admitted], recipe if method else None, options
        )
        if not np.isfinite(np.asarray(logits)).all():
            raise CheckpointError(
                f"the network of {self.checkpoint.name} answers a film with NaN or infinity: its weights are damaged; "
                "take them from their source again"
            )
        answers = dict(zip(admitted, zip(logits, explanations, strict=True), strict=True))
        outcomes: list[Outcome] = []
        for i, film in enumerate(films):
            refusal, suspect = refusals[i], suspects[i]
            if refusal is not None and not anyway:
                outcomes.append(NotJudged(film, refusal, film.notes, self.checkpoint.name, self.checkpoint.revision))
                continue
            own_logits, explanation = answers[i]
            suspicion = sentence(suspect) if suspect else ""
            notes = (*film.notes, *filter(None, (crops[i].note, suspicion)), *remarks_on(config, film))
            finding = finding_of(self.checkpoint, film, own_logits, notes, suspect, refusal)
            if explanation is not None:
                finding = _explained(
                    finding, explanation, preprocess, crops[i], bool(within_lungs), box_threshold, boxes_when_normal
                )
            outcomes.append(finding)
        return outcomes

    def _check(self, gray: np.ndarray) -> tuple[Sequence[Suspicion | None], Sequence[str | None]]:
        """What the checkpoint's own check says of pictures (B, h, w), and what makes them suspect."""
        density = self.checkpoint.density
        if density is None:
            return [None] * len(gray), [None] * len(gray)
        check = density.check(gray)
        return check.suspicions, check.wrong

    def _answers(
        self, films: Sequence[Shown], targets: list[OneTarget], recipe: MapRecipe | None, options: Mapping[str, Any]
    ) -> tuple[Sequence[np.ndarray], Sequence[Explanation | None]]:
        """Of each film the logits (K,), and an explanation where a ``recipe`` is given."""
        if not films:
            return [], []
        plain = self._graph or self._torch_engine()
        if recipe is None:
            return list(plain.logits(films)), [None] * len(films)
        named = [self.target if target is None else target for target in targets]
        if None in named:
            said = plain.logits(films)
            named = [
                target_of(self.checkpoint.config, logits) if target is None else target
                for target, logits in zip(named, said, strict=True)
            ]
        logits, explanations = self._engine(recipe, options).explained(films, named, recipe, options)
        return list(logits), explanations

    def _recipe(self, method: str | None, options: Mapping[str, Any]) -> tuple[MapRecipe, dict[str, Any]]:
        """How maps are made by ``method``, and the options that are the method's own.

        That is the checkpoint's own way, or the plain one of a method that is named, as far as options do not say
        otherwise.
        """
        config = self.checkpoint.config
        recipe = config.recipe
        if config.map is None or method != DEFAULT:
            recipe = MapRecipe("gradcam" if method in (None, DEFAULT) else method, offset=config.cam_offset)
        if options.get("layer", recipe.layer) != recipe.layer:  # of another, nobody measured where its cells look
            recipe = replace(recipe, offset=(0.0, 0.0))
        said = {own.name for own in fields(MapRecipe)} & set(options)
        changes = {name: options[name] for name in said}
        if "sizes" in changes:
            changes["sizes"] = tuple(changes["sizes"])
        return replace(recipe, **changes), {name: own for name, own in options.items() if name not in said}

    def _engine(self, recipe: MapRecipe, options: Mapping[str, Any]) -> Engine:
        """What makes maps in this way."""
        return self._graph if self._graph and self._graph.makes(recipe, options) else self._torch_engine()

    def _torch_engine(self) -> TorchEngine:
        """The network in torch, loaded once."""
        from hf_pneumo.models.checkpoint import Checkpoint, with_network
        from hf_pneumo.serving.torch_engine import TorchEngine

        with self._lock:
            if self._torch is None:
                here = self.checkpoint
                self._torch = TorchEngine(here if isinstance(here, Checkpoint) else with_network(here), self.device)
            return self._torch

    def predict_files(
        self, paths: Iterable[Path], *, method: str | None = None, **options: Any
    ) -> Iterator[tuple[Path, Outcome | XrayReadError]]:
        """Judge many files in order: each gives its outcome, or the error that says why it cannot be read.

        Files are read by threads while the network works on those before them; no file stops the others.
        """

        def read(path: Path) -> Xray | XrayReadError:
            try:
                return read_xray(path, max_pixels=self.max_pixels)
            except XrayReadError as error:
                return error

        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
            remaining = iter(paths)
            parts = iter(lambda: list(islice(remaining, BATCH)), [])
            started = ((part, pool.map(read, part)) for part in parts)  # map begins at once
            following = next(started, None)
            while following:
                part, films = following[0], list(following[1])
                following = next(started, None)
                readable = [film for film in films if isinstance(film, Xray)]
                judged = iter(self.judge(readable, method=method, **options) if readable else ())
                for path, film in zip(part, films, strict=True):
                    yield path, next(judged) if isinstance(film, Xray) else film


def _explained(
    finding: Finding,
    explanation: Explanation,
    preprocess: Preprocess,
    crop: Crop,
    within_lungs: bool,
    threshold: float | str,
    when_normal: bool,
) -> Finding:
    """The finding with its explanation, laid from the model's input over the film, and the boxes."""
    film = finding.film
    heatmap = preprocess.to_original(explanation.heatmap, film.pixels.shape, crop)
    heatmap = _held_to_lungs(heatmap, film, crop) if within_lungs else heatmap
    explanation = replace(explanation, heatmap=heatmap, within_lungs=within_lungs)
    return replace(finding, explanation=explanation).with_boxes(threshold, when_normal)


def _held_to_lungs(heatmap: np.ndarray, film: Xray, crop: Crop) -> np.ndarray:
    """The heatmap (H, W) of a film (H, W) within its lungs, which are smooth enough to be drawn small."""
    if crop.lungs is not None:
        return held_to(heatmap, crop.lungs)
    scale = min(1.0, LUNGS_SIDE / max(film.pixels.shape))
    size = (max(1, round(scale * side)) for side in film.pixels.shape)
    return held_to(heatmap, film.lungs.mask(*size))
