"""From logits to words: calibrated probabilities, a verdict on each score, and one for the film.

Decided here alone, whichever runtime computed the logits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from hf_pneumo.imaging.xray import Xray
from hf_pneumo.models.config import NO_VERDICT, CheckpointConfig
from hf_pneumo.models.folder import CheckpointFolder
from hf_pneumo.serving.admission import Refusal
from hf_pneumo.serving.outcome import NONE_POSITIVE, NORMAL, Finding

CALLS = (NO_VERDICT, "negative", "uncertain", "positive")  # from the weakest to the strongest
TOO_FEW = "Not judged, too few films to set a threshold"
NOT_FITTED = "The operating point was not fitted to these weights: the threshold of 0.5 is a default."


def remarks_on(config: CheckpointConfig, film: Xray) -> list[str]:
    """What a reader must know of the operating point, and in what the film is none of those that it was fitted to."""
    labels, point = config.labels, config.operating_point
    rare = [name for i, name in enumerate(labels.score_names) if not point.has_verdict(i)]
    said = [] if point.is_fitted else [NOT_FITTED]
    said += [f"{TOO_FEW}: {', '.join(rare)}."] if rare else []
    return [*said, *config.population.outside(film.age, film.view)] if config.population else said


def target_of(config: CheckpointConfig, logits: np.ndarray) -> str:
    """What to explain of a film with the logits (K,): its leading finding, or the likeliest label within that."""
    labels, temperature = config.labels, config.operating_point.temperature
    *_, leading = called(config, labels.scores(logits[None], temperature)[0])
    within = [i for i, name in enumerate(labels.names) if name != labels.normal]
    return leading if leading in labels.names else labels.names[max(within, key=logits.__getitem__)]


def called(config: CheckpointConfig, scores: np.ndarray) -> tuple[dict[str, str], str, str]:
    """From one film's scores (S,): the verdict on each, the verdict in a word, and the leading finding."""
    labels, point = config.labels, config.operating_point
    verdicts = {name: point.decide(i, scores[i]) for i, name in enumerate(labels.score_names)}
    values = dict(zip(labels.score_names, scores, strict=True))
    leading = max(labels.findings, key=lambda name: (CALLS.index(verdicts[name]), values[name]))
    positive = [name.lower() for name in labels.findings if verdicts[name] == "positive"]
    if positive and labels.normal in verdicts and verdicts[labels.normal] == "positive":
        verdicts[labels.normal] = "negative"  # something was found
    absent = NONE_POSITIVE if NO_VERDICT in (verdicts[name] for name in labels.findings) else NORMAL
    word = {NO_VERDICT: "uncertain", "negative": absent, "uncertain": "uncertain", "positive": ", ".join(positive)}
    return verdicts, word[verdicts[leading]], leading


def finding_of(
    folder: CheckpointFolder,
    film: Xray,
    logits: np.ndarray,
    notes: tuple[str, ...],
    suspect: str | None,
    refusal: Refusal | None,
) -> Finding:
    """What the checkpoint says of a film with the logits (K,), without map and boxes.

    ``suspect``: what its own check finds wrong; ``refusal``: why it would not have been judged.
    """
    config = folder.config
    labels, point = config.labels, config.operating_point
    scores = labels.scores(logits[None], point.temperature)[0]
    verdicts, word, leading = called(config, scores)
    names = labels.score_names
    bands = point.abstain or ((0.0, 0.0),) * len(names)
    probabilities = labels.probabilities(logits[None], point.temperature)[0]
    if word == NORMAL and labels.normal and labels.between:  # no finding, but normal or abnormal in another way
        word = max((labels.normal, *labels.between), key=lambda n: probabilities[labels.index(n)]).lower()
    sets = point.sets.of_film(labels, probabilities) if point.sets else {}

    def judged(values: Iterable[Any]) -> dict[str, Any]:
        return {n: own for n, own in zip(names, values, strict=True) if verdicts[n] != NO_VERDICT}

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
        model=folder.name,
        revision=folder.revision,
        suspect=suspect,
        sets={name: own for name, own in sets.items() if verdicts.get(name) != NO_VERDICT},
        coverage=point.sets.coverage if point.sets else None,
        fitted=point.is_fitted,
        overridden=refusal,
    )
