"""From a file to a finding: calibrated probability, verdict, explanation and boxes in the film's own pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_pneumo.explain import Explanation, boxes, explain, lung_masking
from hf_pneumo.explain.target import OneTarget, Target, per_image
from hf_pneumo.imaging.preprocess import Crop
from hf_pneumo.imaging.reader import MAX_PIXELS, Source, Xray, XrayReadError, read_xray
from hf_pneumo.models.checkpoint import NO_VERDICT, Checkpoint, load
from hf_pneumo.models.inference import answer
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.models.ood_detector import Suspicion, sentence
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.serving.admission import Refusal, refusal_of
from hf_pneumo.serving.outcome import NONE_POSITIVE, NORMAL, Finding, NotJudged, Outcome

# A film's pixels uint8 (H, W), its crop, the grey input (h, w), and what is to be explained of it.
Input = tuple[np.ndarray, Crop, np.ndarray, OneTarget]
DEFAULT = "default"  # the checkpoint's own way to make maps
BOX_THRESHOLD = 0.5  # share of the map's maximum from which on a pixel belongs to a box
BATCH = 8  # films read or judged at once: large enough for any network, small enough for two batches of large films
LUNGS_SIDE = 448  # pixels of a film's longer side at which its lung fields are drawn
CALLS = (NO_VERDICT, "negative", "uncertain", "positive")  # from the weakest to the strongest
TOO_FEW = "Not judged, too few films to set a threshold"
NOT_FITTED = "The operating point was not fitted to these weights: the threshold of 0.5 is a default."


class Predictor:
    """Reads films and judges them with one checkpoint; may be shared by threads.

    ``checkpoint``: a loaded one, a folder, or ``user/repo[@revision]``. ``judge_anyway``: also judge what is no upright
    frontal chest film (see `serving.admission`); the findings then say why they should not be there. ``max_pixels``:
    the largest film that is read.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | str | os.PathLike[str],
        *,
        device: str | torch.device = "cpu",
        judge_anyway: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        self.judge_anyway, self.max_pixels = judge_anyway, max_pixels
        self.checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else load(checkpoint)
        self.network = self.checkpoint.network.to(device).eval()
        self.device = device

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
        target or option.
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
        preprocess = self.checkpoint.config.preprocess
        crops = [preprocess.crop_of(film.gray8, film.lungs if preprocess.goes_by_lungs else None) for film in films]
        gray = np.stack([preprocess.to_gray(f.gray8, crop) for f, crop in zip(films, crops, strict=True)])  # (B, h, w)
        suspicions, suspects = self._check(gray)
        refusals = [refusal_of(film, suspicion) for film, suspicion in zip(films, suspicions, strict=True)]
        anyway = self.judge_anyway if judge_anyway is None else judge_anyway
        admitted = [i for i, refusal in enumerate(refusals) if anyway or refusal is None]
        recipe = self._recipe(method)
        within_lungs = recipe.within_lungs if within_lungs is None else within_lungs
        targets = per_image(recipe.target if target is None else target, len(films))
        inputs = {i: (films[i].gray8, crops[i], gray[i], targets[i]) for i in admitted}
        logits, explanations = self._answers(inputs, recipe if method else None, options)
        outcomes: list[Outcome] = []
        name, revision = self.checkpoint.name, self.checkpoint.revision
        for i, (film, crop) in enumerate(zip(films, crops, strict=True)):
            refusal, suspect = refusals[i], suspects[i]
            if refusal is not None and not anyway:
                outcomes.append(NotJudged(film, refusal, film.notes, name, revision))
                continue
            suspicion = sentence(suspect) if suspect else ""
            remarks = (crop.note, suspicion, *self._point_notes(), *self._outside(film))
            notes = (*film.notes, *filter(None, remarks))
            finding = self._finding(film, logits[i], notes, suspect, refusal)
            if (explanation := explanations.get(i)) is not None:
                heatmap = preprocess.to_original(explanation.heatmap, film.pixels.shape, crop)
                heatmap = _held_to_lungs(heatmap, film, crop) if within_lungs else heatmap
                explanation = replace(explanation, heatmap=heatmap, within_lungs=bool(within_lungs))
                with_boxes = boxes_when_normal or finding.is_called(explanation.target)
                regions = boxes(heatmap, threshold=box_threshold, positive=with_boxes)
                finding = replace(finding, explanation=explanation, boxes=tuple(regions))
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
        self, films: Mapping[int, Input], recipe: MapRecipe | None, options: dict[str, Any]
    ) -> tuple[dict[int, np.ndarray], dict[int, Explanation]]:
        """Logits (K,), and explanations where a ``recipe`` is given, of ``films`` by their numbers."""
        if not films:
            return {}, {}
        preprocess = self.checkpoint.config.preprocess
        x = to_tensor(preprocess, np.stack([gray for _, _, gray, _ in films.values()])).to(self.device)  # (B, 3, h, w)
        if recipe is None:
            return dict(zip(films, self._logits(x), strict=True)), {}
        if options.get("layer", recipe.layer) != recipe.layer:  # of another, nobody measured where its cells look
            options.setdefault("offset", (0.0, 0.0))
        options = recipe.options | options
        targets = self._targets(x, [target for *_, target in films.values()])
        explained = self._at(max(options.get("sizes") or preprocess.size), films, x)
        explanations = explain(self.network, explained, method=recipe.method, target=targets, **options)
        same = explained is x and not preprocess.mirror
        logits = [e.logits for e in explanations] if same else self._logits(x)
        return dict(zip(films, logits, strict=True)), dict(zip(films, explanations, strict=True))

    def _outside(self, film: Xray) -> tuple[str, ...]:
        """In what the film lies outside of those that the checkpoint is for, as far as its file says so."""
        population = self.checkpoint.config.population
        return population.outside(film.age, film.view) if population else ()

    def _point_notes(self) -> list[str]:
        """What a reader must know of the operating point."""
        labels, point = self.checkpoint.config.labels, self.checkpoint.config.operating_point
        rare = [name for i, name in enumerate(labels.score_names) if not point.has_verdict(i)]
        fitting = [] if point.is_fitted else [NOT_FITTED]
        return [*fitting, f"{TOO_FEW}: {', '.join(rare)}."] if rare else fitting

    def _logits(self, x: torch.Tensor) -> np.ndarray:
        """The network's logits (B, K), float32, for inputs (B, 3, h, w)."""
        with torch.inference_mode():
            return answer(self.network, x, mirror=self.checkpoint.config.preprocess.mirror).cpu().numpy()

    def _recipe(self, method: str | None) -> MapRecipe:
        """How maps are made by ``method``: the checkpoint's own way, or the plain one of a method that is named."""
        config = self.checkpoint.config
        if method == DEFAULT and config.map:
            return config.map
        return MapRecipe("gradcam" if method in (None, DEFAULT) else method, offset=config.cam_offset)

    def _at(self, side: int, films: Mapping[int, Input], x: torch.Tensor) -> torch.Tensor:
        """The films as inputs of ``side`` pixels; ``x`` where that is what they are."""
        preprocess = self.checkpoint.config.preprocess
        if side == max(preprocess.size):
            return x
        finer = replace(preprocess, size=(side, side))
        gray = np.stack([finer.to_gray(pixels, crop) for pixels, crop, _, _ in films.values()])
        return to_tensor(finer, gray).to(self.device)

    def _targets(self, x: torch.Tensor, target: Target) -> list[OneTarget]:
        """What to explain of each film: what was asked for, else :attr:`target`, else by what the network says."""
        targets = [self.target if asked is None else asked for asked in per_image(target, len(x))]
        if None not in targets:
            return targets
        labels, temperature = self.checkpoint.config.labels, self.checkpoint.config.operating_point.temperature
        within = [i for i, name in enumerate(labels.names) if name != labels.normal]
        for row, logits in enumerate(self._logits(x)):
            if targets[row] is None:
                *_, leading = self._called(labels.scores(logits[None], temperature)[0])
                likeliest = labels.names[max(within, key=lambda i, logits=logits: logits[i])]
                targets[row] = leading if leading in labels.names else likeliest
        return targets

    def _called(self, scores: np.ndarray) -> tuple[dict[str, str], str, str]:
        """From one film's scores (S,): the verdict on each, the verdict in a word, and the leading finding."""
        labels, point = self.checkpoint.config.labels, self.checkpoint.config.operating_point
        verdicts = {name: point.decide(i, scores[i]) for i, name in enumerate(labels.score_names)}
        values = dict(zip(labels.score_names, scores, strict=True))
        leading = max(labels.findings, key=lambda name: (CALLS.index(verdicts[name]), values[name]))
        positive = [name.lower() for name in labels.findings if verdicts[name] == "positive"]
        if positive and labels.normal in verdicts and verdicts[labels.normal] == "positive":
            verdicts[labels.normal] = "negative"  # something was found
        absent = NONE_POSITIVE if NO_VERDICT in (verdicts[name] for name in labels.findings) else NORMAL
        word = {NO_VERDICT: "uncertain", "negative": absent, "uncertain": "uncertain", "positive": ", ".join(positive)}
        return verdicts, word[verdicts[leading]], leading

    def _finding(
        self, film: Xray, logits: np.ndarray, notes: tuple[str, ...], suspect: str | None, refusal: Refusal | None
    ) -> Finding:
        labels, point = self.checkpoint.config.labels, self.checkpoint.config.operating_point
        scores = labels.scores(logits[None], point.temperature)[0]
        verdicts, word, leading = self._called(scores)
        names = labels.score_names
        bands = point.abstain or ((0.0, 0.0),) * len(names)
        probabilities = labels.probabilities(logits[None], point.temperature)[0]
        if word == NORMAL and labels.normal and labels.between:  # no finding, but normal or abnormal in another way
            word = max((labels.normal, *labels.between), key=lambda n: probabilities[labels.index(n)]).lower()
        sets = point.sets.of_film(labels, probabilities) if point.sets else {}

        def judged(values: Iterable[Any]) -> dict[str, Any]:
            return {n: value for n, value in zip(names, values, strict=True) if verdicts[n] != NO_VERDICT}

        return Finding(
            film=film,
            probabilities=dict(zip(labels.names, map(float, probabilities), strict=True)),
            scores=dict(zip(names, map(float, scores), strict=True)),
            thresholds=judged(point.thresholds),
            abstain=judged(bands),
            verdicts=verdicts,
            verdict="uncertain" if suspect and not refusal else word,  # who judges anyway has been told
            leading=leading,
            explanation=None,
            boxes=(),
            notes=notes,
            model=self.checkpoint.name,
            revision=self.checkpoint.revision,
            suspect=suspect,
            sets={name: answers for name, answers in sets.items() if verdicts.get(name) != NO_VERDICT},
            coverage=point.sets.coverage if point.sets else None,
            fitted=point.is_fitted,
            overridden=refusal,
        )

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


def _held_to_lungs(heatmap: np.ndarray, film: Xray, crop: Crop) -> np.ndarray:
    """The heatmap (H, W) of a film (H, W) within its lungs, which are smooth enough to be drawn small."""
    if crop.lungs is not None:
        return lung_masking.within_lungs(heatmap, crop.lungs)
    scale = min(1.0, LUNGS_SIDE / max(film.pixels.shape))
    size = (max(1, round(scale * side)) for side in film.pixels.shape)
    return lung_masking.within_lungs(heatmap, film.lungs.mask(*size))
