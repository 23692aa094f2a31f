"""A checkpoint as the scorer of an archive: what a child process loads, and what it says of a film."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

from hf_pneumo.imaging.reader import MAX_PIXELS
from hf_pneumo.imaging.xray import XrayReadError
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.folder import open_folder
from hf_pneumo.serving.archive import Scorer
from hf_pneumo.serving.outcome import Finding, Outcome
from hf_pneumo.serving.predictor import DEFAULT, Predictor
from hf_pneumo.serving.shards import ERROR, Key, Row

DIGITS = 16  # of a digest: enough to tell one preprocessing or one file of weights from another


def checkpoint_scorer(where: str, *, boxes: bool = False, max_pixels: int | None = None) -> Scorer:
    """The scorer of the checkpoint at ``where``, a folder or user/repo[@revision]; ``boxes``: with maps, and boxes.

    Its key names the Hub's revision, or of a folder the digest of its weights.
    """
    checkpoint = open_folder(where)
    config = checkpoint.config
    revision = checkpoint.revision or checkpoint.sha256[:DIGITS]
    pinned = f"{where.partition('@')[0]}@{checkpoint.revision}" if checkpoint.revision else where
    key = Key(checkpoint.name, revision, preprocessing_digest(config, boxes), config.labels.names)
    return Scorer(make_scorer, (pinned, boxes, max_pixels), key)


def preprocessing_digest(config: CheckpointConfig, boxes: bool) -> str:
    """Equal for rows that may stand in one table: the same way to the input, the same operating point, the same map."""
    point = config.operating_point
    said = [config.preprocess.to_dict(), point.temperature, point.thresholds, point.abstain, boxes]
    said += [config.recipe.to_dict()] if boxes else []
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:DIGITS]


def make_scorer(where: str, boxes: bool, max_pixels: int | None) -> Callable[[bytes], Row]:
    """In a child process: the function from a file's bytes to its row."""
    predictor = Predictor(where, threads=1, max_pixels=max_pixels or MAX_PIXELS)  # other cores have their own children
    method = DEFAULT if boxes else None

    def score(content: bytes) -> Row:
        try:
            return row_of(predictor.predict(content, method=method))
        except XrayReadError as error:
            return Row("", "", ERROR, str(error))

    return score


def row_of(outcome: Outcome) -> Row:
    """What is kept of a film's outcome; path, content and seconds are the archive's."""
    row = Row("", "", outcome.status, outcome.reason, notes=outcome.notes)
    if not isinstance(outcome, Finding):
        return row
    return replace(
        row, verdict=outcome.verdict, probabilities=tuple(outcome.probabilities.values()), boxes=outcome.boxes
    )
