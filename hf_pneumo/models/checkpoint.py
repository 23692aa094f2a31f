"""Checkpoint folders: config.json in timm's Hub format with one block of ours, and model.safetensors.

The same folder is what training writes, what the Hub stores, what the Space loads and what a card describes. The other
files (README.md, results/, predictions/, figures/, training.jsonl) are written by the rooms that make them.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.files import read_json, replacing, write_json
from hf_pneumo.imaging.preprocess import LUNGS, Preprocess
from hf_pneumo.models.classifier import build, classifier_name, state_mismatch
from hf_pneumo.models.ensemble import Ensemble, Member
from hf_pneumo.models.hub_download import CheckpointError, fetch
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.models.ood_detector import FilmDensity
from hf_pneumo.models.population import Population
from hf_pneumo.models.prediction_sets import PredictionSets
from hf_pneumo.project import install_command

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
CHANNELS = 3  # over which `Preprocess.to_tensor` repeats a film
UNFITTED = "not fitted"
FEWEST_FILMS = 10  # positive, and negative, validation films on which a label's threshold must stand
NO_VERDICT = "not judged"


@dataclass(frozen=True)
class OperatingPoint:
    """Where a score becomes a verdict; all of it fitted on validation data, named in ``fitted_on``.

    ``temperature`` divides the logits (Guo et al. 2017, arXiv 1706.04599). ``thresholds``: one per score, on the
    calibrated probability. ``abstain``: one (low, high) per score between which the verdict is "uncertain".
    ``sets``: the conformal prediction sets, where they were fitted. ``evidence``: (positive, negative) validation films
    per score behind its threshold; empty where they were not counted.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] = (0.5,)
    abstain: tuple[tuple[float, float], ...] = ()
    fitted_on: str = UNFITTED
    sets: PredictionSets | None = None
    evidence: tuple[tuple[int, int], ...] = ()

    @property
    def is_fitted(self) -> bool:
        """Whether it is more than a default."""
        return self.fitted_on != UNFITTED

    def has_verdict(self, index: int) -> bool:
        """Whether enough films stand behind score ``index``: of several labels some are too rare for a threshold."""
        return len(self.thresholds) == 1 or not self.evidence or min(self.evidence[index]) >= FEWEST_FILMS

    def decide(self, index: int, probability: float) -> str:
        """The verdict on score ``index``: "positive", "negative", "uncertain" (in the abstain band) or NO_VERDICT."""
        if not self.has_verdict(index):
            return NO_VERDICT
        if self.abstain and self.abstain[index][0] < probability < self.abstain[index][1]:
            return "uncertain"
        return "positive" if probability >= self.thresholds[index] else "negative"


@dataclass(frozen=True)
class CheckpointConfig:
    """All that a checkpoint says of itself; stored as config.json.

    ``data``: source, revision, protocol and sizes of what it was trained on; ``training``: seed, command, hardware,
    duration and versions. ``model_args``: what ``timm.create_model`` needs beside the architecture's name.
    ``cam_offset``: where the cells of ``cam_layer`` look, as `explain.receptive_field` measures it: pixels (down,
    right) of the input; an ensemble's members have their own. ``members``: the networks of an ensemble, whose
    ``architecture`` is then a mere description; else empty. ``weights_sha256``: of the weights file that the operating
    point was fitted to; None in a config that was written before they were recorded.
    ``map``: how maps are made by default, where that was chosen. ``population``: for whom the checkpoint is.
    """

    architecture: str
    labels: LabelSet
    preprocess: Preprocess
    head: str = "linear"
    operating_point: OperatingPoint = field(default_factory=OperatingPoint)
    cam_layer: str | None = None
    cam_offset: tuple[float, float] = (0.0, 0.0)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    model_args: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    weights_sha256: str | None = None
    map: MapRecipe | None = None
    population: Population | None = None

    @property
    def is_plain_timm(self) -> bool:
        """Whether timm and transformers can load and feed it: one network with the linear head, and whole pictures."""
        return self.head == "linear" and not self.members and self.preprocess.crop != LUNGS

    def build(self) -> nn.Module:
        """The network that the weights fit, with random ones."""
        classes = len(self.labels.names)
        if self.members:
            return Ensemble([member.build(classes) for member in self.members], self.members, self.preprocess)
        return build(self.architecture, classes, head=self.head, **self.model_args)

    def with_model_args(self, arguments: Mapping[str, Any]) -> CheckpointConfig:
        """The same with more arguments for `timm.create_model`, those of every member of an ensemble."""
        even = CheckpointConfig.cam_offset  # where cells look is another question for another geometry
        members = tuple(
            replace(member, model_args={**member.model_args, **arguments}, cam_offset=even) for member in self.members
        )
        return replace(self, model_args={**self.model_args, **arguments}, members=members, cam_offset=even)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the network in evaluation mode, its config, and where it came from.

    ``name`` is the repository or the folder's name, ``revision`` the Hub's commit or None, ``path`` the folder here.
    ``density``: of the films that it was trained on, by which others are told apart; None where it was not fitted.
    """

    network: nn.Module
    config: CheckpointConfig
    name: str
    revision: str | None
    path: Path
    density: FilmDensity | None = None

    def altered(self, preprocess: Preprocess | None = None, model_args: Mapping[str, Any] | None = None) -> Checkpoint:
        """The same weights given other cuts of the films, or in a network built otherwise; this one stays as it is.

        ``model_args``: for timm, such as {"output_stride": 16} for a finer last feature map. The operating point is
        still the one fitted without the change; the density, which knows films of the old cut alone, goes with that.
        Raises ValueError where the architecture does not take the arguments or its weights would be others.
        """
        config, network, density = self.config, self.network, self.density
        if model_args:
            config, asked = config.with_model_args(model_args), f"`model_args` {dict(model_args)}"
            try:
                network = config.build().eval()
            except (TypeError, AssertionError, NotImplementedError, RuntimeError) as error:
                raise ValueError(f"{asked} do not suit {config.architecture} ({error}); leave them out") from error
            if problem := state_mismatch(network.state_dict(), self.network.state_dict()):
                raise ValueError(f"{asked} change the weights of {config.architecture}: {problem}; leave them out")
            network.load_state_dict(self.network.state_dict())
            _label(network, config)
        if preprocess not in (None, config.preprocess):
            config, density = replace(config, preprocess=preprocess), None
        return replace(self, network=network, config=config, density=density)


def load(where: str | os.PathLike[str], *, revision: str | None = None, token: str | bool | None = None) -> Checkpoint:
    """Load a checkpoint from a folder, ``user/repo`` or ``user/repo@revision``.

    Weights other than those that the operating point was fitted to are told in a warning and get an unfitted one.
    Raises CheckpointError, in one sentence with the fix, when it cannot be had, is damaged, is of a newer format, or
    does not fit its own config.
    """
    fetched = fetch(where, revision=revision, token=token)
    config = read_config(fetched.path)
    network = config.build()
    path = fetched.path / WEIGHTS
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); download or copy it again") from error
    if problem := state_mismatch(network.state_dict(), weights):
        raise CheckpointError(f"{path} does not fit {path.with_name(CONFIG)}: {problem}; take both from one revision")
    network.load_state_dict(weights, strict=False)
    config = _with_fitting_point(config, path)
    _label(network, config)
    density = FilmDensity.load(fetched.path)
    return Checkpoint(network.eval(), config, fetched.name, fetched.revision, fetched.path, density)


def weights_sha256(path: Path) -> str:
    """SHA-256 of a weights file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _with_fitting_point(config: CheckpointConfig, weights: Path) -> CheckpointConfig:
    """The config with an unfitted operating point where the weights are not those that its own was fitted to."""
    if config.weights_sha256 in (None, weights_sha256(weights)):
        return config
    logger.warning(
        "%s is not the file that the operating point in %s was fitted to: temperature, thresholds and prediction sets "
        "are left out, and verdicts are taken at 0.5; evaluate the weights and fit them anew.",
        weights, CONFIG,
    )  # fmt: skip
    unfitted = OperatingPoint(thresholds=(0.5,) * len(config.labels.score_names))
    return replace(config, operating_point=unfitted, weights_sha256=None)


def _label(network: nn.Module, config: CheckpointConfig) -> None:
    """Let the network itself say its input and its labels, in timm's terms, and so every member of an ensemble."""
    network.pretrained_cfg = dict(network.pretrained_cfg) | _pretrained_cfg(network, config)
    network.default_cfg = network.pretrained_cfg
    for part in network.networks if config.members else ():
        part.pretrained_cfg = dict(part.pretrained_cfg) | {"label_names": list(config.labels.names)}


def save(folder: str | os.PathLike[str], network: nn.Module, config: CheckpointConfig) -> Path:
    """Write config.json and model.safetensors into ``folder``; each appears whole or not at all."""
    folder = Path(folder)
    write_weights(folder / WEIGHTS, network)
    write_config(folder, network, replace(config, weights_sha256=weights_sha256(folder / WEIGHTS)))
    return folder


def write_weights(path: Path, network: nn.Module) -> None:
    """Write the network's state dict to the safetensors file ``path``, whole or not at all."""
    weights = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})


def write_config(folder: str | os.PathLike[str], network: nn.Module, config: CheckpointConfig) -> None:
    """Write config.json alone: what evaluation does after it has fitted the operating point."""
    write_json(Path(folder) / CONFIG, to_hub_config(network, config))


def to_hub_config(network: nn.Module, config: CheckpointConfig) -> dict[str, Any]:
    """config.json as timm 1.0 writes it (save_for_hf), with our block "hf_pneumo".

    ``model_args.num_classes`` is left out: with it, transformers 5.23 passes the number twice and fails.
    """
    labels, point = config.labels, config.operating_point
    return {
        "architecture": config.architecture,
        "num_classes": len(labels.names),
        "num_features": network.num_features,
        "model_args": dict(config.model_args),
        "label_names": list(labels.names),
        "problem_type": _problem_type(labels),
        "pretrained_cfg": _pretrained_cfg(network, config),
        "hf_pneumo": {
            "format_version": FORMAT_VERSION,
            "task": labels.task,
            "labels": list(labels.names),
            "exclusive": labels.exclusive,
            "normal": labels.normal,
            "finding": labels.finding,
            "head": config.head,
            "preprocess": config.preprocess.to_dict(),
            "temperature": point.temperature,
            "thresholds": list(point.thresholds),
            "abstain": [list(band) for band in point.abstain],
            "fitted_on": point.fitted_on,
            **({"evidence": [list(films) for films in point.evidence]} if point.evidence else {}),
            **({"weights_sha256": config.weights_sha256} if config.weights_sha256 else {}),
            **({"prediction_sets": point.sets.to_dict()} if point.sets else {}),
            **({"population": config.population.to_dict()} if config.population else {}),
            "cam_layer": config.cam_layer,
            **({"cam_offset": list(config.cam_offset)} if any(config.cam_offset) else {}),
            **({"map": config.map.to_dict()} if config.map else {}),
            "data": dict(config.data),
            "training": dict(config.training),
        } | ({"members": [asdict(member) for member in config.members]} if config.members else {}),
    }  # fmt: skip


def _problem_type(labels: LabelSet) -> str:
    """What makes transformers' pipeline take a softmax over the labels, or a sigmoid of each."""
    return "single_label_classification" if labels.exclusive else "multi_label_classification"


def complete_config(folder: str | os.PathLike[str]) -> None:
    """Put into config.json what foreign loaders need and versions before 0.2 left out."""
    path = Path(folder) / CONFIG
    stored = read_json(path)
    wanted = _problem_type(read_config(folder).labels)
    if stored.get("problem_type") != wanted:
        write_json(path, {**stored, "problem_type": wanted})


def _pretrained_cfg(network: nn.Module, config: CheckpointConfig) -> dict[str, Any]:
    """What foreign loaders read: input, normalisation and label names, in timm's terms."""
    preprocess, own = config.preprocess, dict(network.pretrained_cfg)
    return {
        "architecture": config.architecture,
        "custom_load": False,
        "num_classes": len(config.labels.names),
        "input_size": [3, *preprocess.size],
        "fixed_input_size": own.get("fixed_input_size", False),
        "pool_size": own.get("pool_size"),
        "first_conv": own.get("first_conv"),
        "classifier": None if config.members else classifier_name(network),
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "interpolation": preprocess.interpolation,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "label_names": list(config.labels.names),
    }


def read_config(folder: str | os.PathLike[str]) -> CheckpointConfig:
    """Read and check config.json; CheckpointError names what is wrong and the fix."""
    path = Path(folder) / CONFIG
    try:
        stored = read_json(path)
        block = stored["hf_pneumo"]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}); take it from the repository again") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'{path} has no block "hf_pneumo"; it is not a checkpoint of this library, load it with timm'
        ) from error
    if (version := block.get("format_version")) != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} is of format {version}, this library reads {FORMAT_VERSION}; upgrade with {install_command()}"
        )
    try:
        parts = [dict(part)["architecture"] for part in block.get("members") or [stored]]
        if stored["num_classes"] != len(block["labels"]) or not all(map(timm.is_model, parts)):
            raise CheckpointError(
                f"{path} names {len(block['labels'])} labels, {stored['num_classes']} classes and the architecture "
                f"{stored['architecture']!r}, which do not fit each other or the installed timm; take it from one "
                "revision"
            )
        config = _parse(stored, block)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not complete: {error}; take it from the repository again") from error
    own = [config.model_args, *(member.model_args for member in config.members)]
    if channels := [arguments["in_chans"] for arguments in own if arguments.get("in_chans", CHANNELS) != CHANNELS]:
        raise CheckpointError(
            f"{path} is of a network with {channels[0]} input channels (in_chans), and films are given to it in "
            f"{CHANNELS}, all alike; train it with {CHANNELS}"
        )
    return config


def _parse(stored: Mapping[str, Any], block: Mapping[str, Any]) -> CheckpointConfig:
    down, right = block.get("cam_offset", CheckpointConfig.cam_offset)
    return CheckpointConfig(
        architecture=stored["architecture"],
        labels=LabelSet(
            block["task"], tuple(block["labels"]), block["exclusive"], block["normal"], block.get("finding")
        ),
        preprocess=Preprocess.from_dict(block["preprocess"]),
        head=block["head"],
        operating_point=OperatingPoint(
            temperature=float(block["temperature"]),
            thresholds=tuple(float(t) for t in block["thresholds"]),
            abstain=tuple((float(low), float(high)) for low, high in block["abstain"]),
            fitted_on=block["fitted_on"],
            sets=PredictionSets.from_dict(block["prediction_sets"]) if block.get("prediction_sets") else None,
            evidence=tuple((int(positive), int(negative)) for positive, negative in block.get("evidence", ())),
        ),
        cam_layer=block.get("cam_layer"),
        cam_offset=(float(down), float(right)),
        data=block.get("data", {}),
        training=block.get("training", {}),
        model_args=stored.get("model_args", {}),
        members=tuple(map(Member.from_dict, block.get("members", ()))),
        weights_sha256=block.get("weights_sha256"),
        map=MapRecipe.from_dict(block["map"]) if block.get("map") else None,
        population=Population.from_dict(block["population"]) if block.get("population") else None,
    )
