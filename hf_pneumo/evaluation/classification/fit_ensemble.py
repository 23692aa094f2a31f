"""From trained checkpoints to one ensemble: temperatures, weights and operating point, all from validation films."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.classification.calibration import WEAK, evidence, fit_operating_point, fit_temperature
from hf_pneumo.evaluation.classification.metrics import mean_auroc
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.classifier import parameter_count
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.ensemble import Ensemble, architecture_of, shared_preprocess
from hf_pneumo.models.inference import predict_logits
from hf_pneumo.models.member import Member
from hf_pneumo.models.training_record import TrainingRecord

logger = logging.getLogger(__name__)


def uniform(logits: Sequence[np.ndarray], targets: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Every member counts alike."""
    return np.full(len(logits), 1 / len(logits))


def by_auroc(logits: Sequence[np.ndarray], targets: np.ndarray, labels: LabelSet) -> np.ndarray:
    """In proportion to the mean AUROC above one half, which is what a coin would have."""
    return _normalised(np.array([max(mean_auroc(labels, z, targets) - 0.5, 0.0) for z in logits]))


def stacked(logits: Sequence[np.ndarray], targets: np.ndarray, labels: LabelSet) -> np.ndarray:
    """The coefficients of a non-negative logistic regression of the labels on the members' log-odds (Breiman 1996).

    One coefficient a member and one offset a score; the weak ridge of the operating point keeps separable films finite.
    """
    odds = np.stack([labels.log_odds(z) for z in logits])  # (M, N, S)
    wanted = labels.score_targets(targets)  # (N, S)
    known = ~np.isnan(wanted)
    members, count, y = len(odds), known.sum(), np.where(known, wanted, 0.0)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, offsets = parameters[:members], parameters[members:]
        z = np.tensordot(weights, odds, 1) + offsets  # (N, S)
        likelihood = np.where(y > 0.5, log_expit(z), log_expit(-z))[known].sum()
        slope = np.where(known, expit(z) - y, 0.0)
        gradient = np.concatenate([np.tensordot(odds, slope, 2) + weights / WEAK, slope.sum(0)])
        return (weights @ weights / (2 * WEAK) - likelihood) / count, gradient / count

    start = np.concatenate([np.full(members, 1 / members), np.zeros(y.shape[1])])
    bounds = [(0, None)] * members + [(None, None)] * y.shape[1]
    return _normalised(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x[:members])


def _normalised(weights: np.ndarray) -> np.ndarray:
    if weights.sum() > 0:
        return weights / weights.sum()
    logger.warning("no member tells the classes of the validation films apart; all count alike")
    return np.full(len(weights), 1 / len(weights))


WEIGHTINGS: dict[str, Callable[[Sequence[np.ndarray], np.ndarray, LabelSet], np.ndarray]] = {
    "uniform": uniform,
    "auroc": by_auroc,
    "stacked": stacked,
}


def make_ensemble(
    checkpoints: Sequence[Checkpoint],
    gray: np.ndarray,
    targets: np.ndarray,
    *,
    weighting: str,
    by: str,
    protocol: str,
    fitted_on: str,
    training: TrainingRecord,
    views: int = 1,
) -> tuple[Ensemble, CheckpointConfig]:
    """The ensemble of ``checkpoints``, fitted on validation films ``gray`` uint8 (N, h, w) with labels ``targets``.

    ``weighting``: a name of :data:`WEIGHTINGS`. ``by``: what the threshold maximises. ``training``: what the record
    says beside the members. ``views``: how often each film is among ``gray``, one view of all after the other. Raises
    ValueError as :func:`check_members`.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"`weights` is {weighting!r}; choose one of {', '.join(WEIGHTINGS)}")
    check_members(checkpoints, protocol)
    configs, names = [c.config for c in checkpoints], [c.name for c in checkpoints]
    preprocess, labels = shared_preprocess(names, [c.preprocess for c in configs]), configs[0].labels
    raw = [predict_logits(c.network, gray, c.config.preprocess) for c in checkpoints]
    temperatures = [fit_temperature(z, targets, labels) for z in raw]
    calibrated = [z / t for z, t in zip(raw, temperatures, strict=True)]
    weights = WEIGHTINGS[weighting](calibrated, targets, labels)
    members = tuple(
        Member(
            name=c.name,
            architecture=c.config.architecture,
            weight=float(weight),
            temperature=temperature,
            mean=c.config.preprocess.mean,
            std=c.config.preprocess.std,
            head=c.config.head,
            model_args=c.config.model_args,
            cam_offset=c.config.cam_offset,
        )
        for c, weight, temperature in zip(checkpoints, weights, temperatures, strict=True)
    )
    network = Ensemble([c.network for c in checkpoints], members, preprocess).eval()
    logits = network.combine([torch.from_numpy(z) for z in raw]).numpy()
    point = fit_operating_point(logits, targets, labels, by=by, fitted_on=fitted_on)
    point = replace(point, evidence=evidence(targets[: len(targets) // views], labels))
    config = CheckpointConfig(
        architecture=architecture_of(members),
        labels=labels,
        preprocess=preprocess,
        head=" + ".join(dict.fromkeys(member.head for member in members)),
        operating_point=point,
        data=configs[0].data,
        training=replace(training, weighting=weighting, parameters=parameter_count(network)),
        members=members,
    )
    return network, config


def check_members(checkpoints: Sequence[Checkpoint], protocol: str) -> None:
    """Raise ValueError for members that cannot be one model; before any film is read.

    They must have been trained for the same labels, the same split ``protocol`` (another's training films would be
    measured) and the same films' geometry.
    """
    first = checkpoints[0]
    for checkpoint in checkpoints:
        if checkpoint.config.labels != first.config.labels:
            raise ValueError(
                f"`checkpoints` {first.name} and {checkpoint.name} tell different labels; give such of one task"
            )
        if checkpoint.config.members:
            raise ValueError(f"`checkpoints` {checkpoint.name} is an ensemble itself; give its members")
        if (own := checkpoint.config.data.protocol) != protocol:
            raise ValueError(
                f"`split` {protocol!r} is not the protocol of {checkpoint.name}, which is {own!r}: its training films "
                "would be measured; give members trained under one protocol, and that one"
            )
    shared_preprocess([c.name for c in checkpoints], [c.config.preprocess for c in checkpoints])
