"""From a file to a finding: calibrated probability, verdict, explanation and boxes in the film's own pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from hf_pneumo.explain import Box, Explanation, boxes, explain, lung_masking
from hf_pneumo.explain.target import per_image
from hf_pneumo.imaging.lungs import find_lungs
from hf_pneumo.imaging.reader import Source, Xray, XrayReadError, read_xray
from hf_pneumo.models.checkpoint import Checkpoint, load
from hf_pneumo.models.ood_detector import sentence

BOX_THRESHOLD = 0.5  # share of the map's maximum from which on a pixel belongs to a box
BATCH = 8  # films read or judged at once: large enough for any network, small enough for two batches of large films
LUNGS_SIDE = 448  # pixels of a film's longer side at which its lung fields are drawn
CALLS = ("negative", "uncertain", "positive")  # from the weakest to the strongest


@dataclass(frozen=True, eq=False)
class Finding:
    """What a checkpoint says of one film.

    ``probabilities``: calibrated, per label, in [0, 1]. ``scores``, ``thresholds``, ``verdicts``: per score (see
    `data.labels`), a verdict being "positive", "negative" or "uncertain". ``verdict``: one word for the film, or the
    names of its findings. ``leading``: the finding that stands first, the likeliest of the positive ones, else of the
    uncertain ones, else of all; never the label that stands for nothing found.
    ``explanation`` and ``boxes``: in the pixels of ``film``, None and empty when none was asked for. ``notes``: what
    was noticed while reading and cropping it. ``suspect``: what makes the picture unlike the films that were learnt
    from (see `models.ood_detector`), None when nothing does; the verdict on a suspect picture is "uncertain", whatever
    the scores. ``sets``: by score all answers that the film may have at the stated ``coverage``; empty without them.
    """

    film: Xray
    probabilities: dict[str, float]
    scores: dict[str, float]
    thresholds: dict[str, float]
    abstain: dict[str, tuple[float, float]]
    verdicts: dict[str, str]
    verdict: str
    leading: str
    explanation: Explanation | None
    boxes: tuple[Box, ...]
    notes: tuple[str, ...]
    model: str
    revision: str | None
    suspect: str | None = None
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    coverage: float | None = None

    @property
    def probability(self) -> float:
        """The calibrated probability of :attr:`leading`, in [0, 1]: of disease where the labels exclude each other."""
        return self.scores[self.leading]

    def is_called(self, target: str) -> bool:
        """Whether the label ``target`` is, or may be, on the film: boxes around the evidence of others mean nothing."""
        return self.verdict != "normal" and self.verdicts.get(target) != "negative"


class Predictor:
    """Reads films and judges them with one checkpoint; may be shared by threads.

    ``checkpoint``: a loaded one, a folder, or ``user/repo[@revision]``.
    """

    def __init__(self, checkpoint: Checkpoint | str | os.PathLike[str], *, device: str | torch.device = "cpu"):
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
        method: str | None = "gradcam",
        target: str | None = None,
        box_threshold: float | str = BOX_THRESHOLD,
        boxes_when_normal: bool = False,
        within_lungs: bool = False,
        **options: object,
    ) -> Finding:
        """Judge one film. ``method`` None explains nothing; ``target`` None takes :attr:`target`.

        ``within_lungs`` holds the map to the lungs that are found on the film (see `hf_pneumo.explain.within_lungs`).
        ``options`` go to `hf_pneumo.explain.explain`. Raises XrayReadError for a file that is no film, ValueError for
        a wrong method, target or option.
        """
        film = source if isinstance(source, Xray) else read_xray(source)
        (finding,) = self.judge(
            [film],
            method=method,
            target=target,
            box_threshold=box_threshold,
            boxes_when_normal=boxes_when_normal,
            within_lungs=within_lungs,
            **options,
        )
        return finding

    def judge(
        self,
        films: Sequence[Xray],
        *,
        method: str | None = "gradcam",
        target: str | Sequence[str | None] | None = None,
        box_threshold: float | str = BOX_THRESHOLD,
        boxes_when_normal: bool = False,
        within_lungs: bool = False,
        **options: object,
    ) -> list[Finding]:
        """Judge several films that have been read, in one batch; see :meth:`predict`. A list has a target for each."""
        preprocess = self.checkpoint.config.preprocess
        grays = [film.gray8 for film in films]
        crops = [preprocess.crop_of(gray) for gray in grays]
        gray = np.stack([preprocess.to_gray(g, crop) for g, crop in zip(grays, crops, strict=True)])  # (B, h, w)
        x = preprocess.to_tensor(gray).to(self.device)  # (B, 3, h, w)
        explanations: Sequence[Explanation | None]
        if method is None:
            logits, explanations = self._logits(x), [None] * len(films)
        else:
            if "layer" not in options:  # of another, nobody measured where its cells look
                options.setdefault("offset", self.checkpoint.config.cam_offset)
            explanations = explain(self.network, x, method=method, target=self._targets(x, target), **options)
            logits = np.stack([e.logits for e in explanations])
        density = self.checkpoint.density
        suspects = density.check(gray).wrong if density else [None] * len(films)
        found = []
        for film, crop, row, suspect, explanation in zip(films, crops, logits, suspects, explanations, strict=True):
            remarks = (crop.note, sentence(suspect) if suspect else "")
            finding = self._finding(film, row, (*film.notes, *filter(None, remarks)), suspect)
            if explanation is not None:
                heatmap = preprocess.to_original(explanation.heatmap, film.pixels.shape, crop)
                heatmap = _held_to_lungs(heatmap, film.gray8) if within_lungs else heatmap
                explanation = replace(explanation, heatmap=heatmap, within_lungs=within_lungs)
                wanted = boxes_when_normal or finding.is_called(explanation.target)
                found_boxes = boxes(heatmap, threshold=box_threshold, positive=wanted)
                finding = replace(finding, explanation=explanation, boxes=tuple(found_boxes))
            found.append(finding)
        return found

    def _logits(self, x: torch.Tensor) -> np.ndarray:
        """The network's logits (B, K), float32, for inputs (B, 3, h, w)."""
        with torch.inference_mode():
            return self.network(x).float().cpu().numpy()

    def _targets(self, x: torch.Tensor, target: str | Sequence[str | None] | None) -> list[str]:
        """What to explain of each film: what was asked for, else :attr:`target`, else by what the network says."""
        wanted = [self.target if own is None else own for own in per_image(target, len(x))]
        if None not in wanted:
            return wanted
        labels, temperature = self.checkpoint.config.labels, self.checkpoint.config.operating_point.temperature
        within = [i for i, name in enumerate(labels.names) if name != labels.normal]
        for row, logits in enumerate(self._logits(x)):
            if wanted[row] is None:
                *_, leading = self._called(labels.scores(logits[None], temperature)[0])
                likeliest = labels.names[max(within, key=lambda i, own=logits: own[i])]
                wanted[row] = leading if leading in labels.names else likeliest
        return wanted

    def _called(self, scores: np.ndarray) -> tuple[dict[str, str], str, str]:
        """From one film's scores (S,): the verdict on each, the verdict in a word, and the leading finding."""
        labels, point = self.checkpoint.config.labels, self.checkpoint.config.operating_point
        verdicts = {name: point.decide(i, scores[i]) for i, name in enumerate(labels.score_names)}
        values = dict(zip(labels.score_names, scores, strict=True))
        leading = max(labels.findings, key=lambda name: (CALLS.index(verdicts[name]), values[name]))
        positive = [name.lower() for name in labels.findings if verdicts[name] == "positive"]
        word = {"negative": "normal", "uncertain": "uncertain", "positive": ", ".join(positive)}[verdicts[leading]]
        return verdicts, word, leading

    def _finding(self, film: Xray, logits: np.ndarray, notes: tuple[str, ...], suspect: str | None) -> Finding:
        labels, point = self.checkpoint.config.labels, self.checkpoint.config.operating_point
        scores = labels.scores(logits[None], point.temperature)[0]
        verdicts, word, leading = self._called(scores)
        names = labels.score_names
        bands = point.abstain or ((0.0, 0.0),) * len(names)
        probabilities = labels.probabilities(logits[None], point.temperature)[0]
        return Finding(
            film=film,
            probabilities=dict(zip(labels.names, probabilities, strict=True)),
            scores=dict(zip(names, map(float, scores), strict=True)),
            thresholds=dict(zip(names, point.thresholds, strict=True)),
            abstain=dict(zip(names, bands, strict=True)),
            verdicts=verdicts,
            verdict="uncertain" if suspect else word,
            leading=leading,
            explanation=None,
            boxes=(),
            notes=notes,
            model=self.checkpoint.name,
            revision=self.checkpoint.revision,
            suspect=suspect,
            sets=point.sets.of_film(labels, probabilities) if point.sets else {},
            coverage=point.sets.coverage if point.sets else None,
        )

    def predict_files(
        self, paths: Iterable[Path], *, method: str | None = None, **options: object
    ) -> Iterator[tuple[Path, Finding | XrayReadError]]:
        """Judge many files in order: each gives its finding, or the error that says why it has none.

        Files are read by threads while the network works on those before them; no file stops the others.
        """

        def read(path: Path) -> Xray | XrayReadError:
            try:
                return read_xray(path)
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


def _held_to_lungs(heatmap: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """The heatmap (H, W) of a film uint8 (H, W) within its lungs, which are smooth enough to be drawn small."""
    scale = min(1.0, LUNGS_SIDE / max(gray.shape))
    size = (max(1, round(scale * side)) for side in gray.shape)
    return lung_masking.within_lungs(heatmap, find_lungs(gray).mask(*size))
