"""Checkpoint folders: config.json in timm's Hub format with one block of ours, and model.safetensors.

The same folder is what training writes, what the Hub stores, what the Space loads and what a card describes. The other
files (README.md, results/, predictions/, figures/, training.jsonl) are written by the rooms that make them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.files import read_json, replacing, write_json
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.classifier import build, classifier_name, state_mismatch
from hf_pneumo.models.config import CONFIG, FORMAT_VERSION, WEIGHTS, CheckpointConfig, read_config, weights_sha256
from hf_pneumo.models.ensemble import Ensemble
from hf_pneumo.models.folder import CheckpointFolder, open_folder
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.project import install_command


@dataclass(frozen=True)
class Checkpoint(CheckpointFolder):
    """A loaded checkpoint: its folder, and the network in evaluation mode."""

    network: nn.Module = field(kw_only=True)

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
                network = build_network(config).eval()
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
    """Load a checkpoint from a folder, ``user/repo`` or ``user/repo@revision``; see `folder.open_folder`.

    Raises CheckpointError, in one sentence with the fix, when it cannot be had, is damaged, is of a newer format, or
    does not fit its own config.
    """
    return with_network(open_folder(where, revision=revision, token=token))


def with_network(folder: CheckpointFolder) -> Checkpoint:
    """The checkpoint with the network that its weights make. Raises CheckpointError where they do not fit."""
    path, config = folder.path / WEIGHTS, folder.config
    unknown = [name for name in _architectures(config) if not timm.is_model(name)]
    if unknown:
        raise CheckpointError(
            f"{folder.path / CONFIG} names the architecture {unknown[0]!r}, which the installed timm does not have; "
            f"upgrade with {install_command()}"
        )
    network = build_network(config)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); download or copy it again") from error
    if problem := state_mismatch(network.state_dict(), weights):
        raise CheckpointError(f"{path} does not fit {path.with_name(CONFIG)}: {problem}; take both from one revision")
    network.load_state_dict(weights, strict=False)
    _label(network, config)
    own = {part.name: getattr(folder, part.name) for part in fields(folder)}
    return Checkpoint(**own, network=network.eval())


def _architectures(config: CheckpointConfig) -> list[str]:
    return [member.architecture for member in config.members] or [config.architecture]


def build_network(config: CheckpointConfig) -> nn.Module:
    """The network that the weights fit, with random ones."""
    classes = len(config.labels.names)
    if config.members:
        parts = [build(own.architecture, classes, head=own.head, **own.model_args) for own in config.members]
        return Ensemble(parts, config.members, config.preprocess)
    return build(config.architecture, classes, head=config.head, **config.model_args)


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
            "data": config.data.to_json(),
            "training": config.training.to_json(),
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
