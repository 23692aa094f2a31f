"""The paper's weights (arXiv 2511.00456), torchvision backbones with an MLP head, as a checkpoint folder of ours.

Its files hold model_state, arch, class_to_idx and img_size. They are pickles, so reading one is left to the caller, who
must do it with weights_only=True (hf-pneumo convert); here only tensors and plain values are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import HIDDEN, build, classifier_name, head_of, set_head
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.torchvision_weights import NETWORKS, TorchvisionNetwork, in_timm_layout
from hf_pneumo.models.training_record import DataRecord, TrainingRecord

# Both networks add the same numbers in another order; measured differences stay below 2e-6 of the largest logit.
TOLERANCE = 1e-4
PROBE_SEED = 0


@dataclass(frozen=True)
class _Head:
    """The head of a file: its kind (see `classifier.head_of`), "linear" included, and its tensors in order."""

    kind: str
    features: int
    classes: int
    tensors: tuple[Tensor, ...]

    def module(self) -> nn.Module:
        """torch's own layers with these weights."""
        linear = self.kind == "linear"
        empty = nn.Linear(self.features, self.classes) if linear else head_of(self.kind, self.features, self.classes)
        names = [name for name in empty.state_dict() if not name.endswith("num_batches_tracked")]
        empty.load_state_dict(dict(zip(names, self.tensors, strict=True)), strict=False)
        return empty


def convert_weights(stored: Mapping[str, Any], folder: str | Path, *, arch: str | None = None) -> Path:
    """Write the checkpoint folder for what a .pth file of the paper holds; gives the folder.

    `stored` has model_state (or is the state dict itself), and may have arch, class_to_idx and img_size; `arch` names
    the backbone when it does not. The result is compared with torchvision's own model on random input, logits within
    1e-4 of their largest. Raises CheckpointError for anything that is not one of the paper's seven networks.
    """
    arch = _arch(stored["arch"] if isinstance(stored.get("arch"), str) else arch, arch)
    network = NETWORKS[arch]
    state = _state(stored.get("model_state", stored))
    labels = _labels(stored.get("class_to_idx"))
    size = int(stored.get("img_size", 224))
    trunk, head = _divide(state, network, len(labels.names))
    theirs = _torchvision_model(network, trunk, head)
    ours = _timm_model(arch, network, trunk, head)
    _verify(theirs, ours, size, arch)
    config = CheckpointConfig(
        architecture=network.architecture,
        labels=labels,
        preprocess=Preprocess(size=(size, size)),
        head=head.kind,
        data=DataRecord(source="arXiv 2511.00456", protocol="paper"),
        training=TrainingRecord(converted_from="the paper's torchvision weights, trained on films resized by OpenCV"),
        model_args=network.model_args,
    )
    return save(folder, ours, config)


def _arch(stored: object, given: str | None) -> str:
    known = ", ".join(NETWORKS)
    if stored not in NETWORKS:
        raise CheckpointError(f"`arch` is {stored!r}; the paper's networks are {known}.")
    if given is not None and given != stored:
        raise ValueError(f"`arch` is {given!r} but the file says {stored!r}; leave `arch` out.")
    return str(stored)


def _state(stored: object) -> dict[str, Tensor]:
    if not isinstance(stored, Mapping) or not stored or not all(isinstance(v, Tensor) for v in stored.values()):
        raise CheckpointError("`model_state` must map names to tensors; take a file of the paper's training script.")
    return {re.sub(r"^(module\.)?(backbone\.)?", "", name): tensor.detach() for name, tensor in stored.items()}


def _labels(class_to_idx: Mapping[str, int] | None) -> LabelSet:
    indices = dict(class_to_idx or {"NORMAL": 0, "PNEUMONIA": 1})
    names = tuple(str(name).upper() for name, _ in sorted(indices.items(), key=lambda item: item[1]))
    if set(names) != {"NORMAL", "PNEUMONIA"} or sorted(indices.values()) != [0, 1]:
        raise CheckpointError(f"`class_to_idx` is {indices}; the paper's classes are NORMAL and PNEUMONIA.")
    return LabelSet("pneumonia", names, normal="NORMAL", finding="PNEUMONIA")


def _divide(state: Mapping[str, Tensor], network: TorchvisionNetwork, classes: int) -> tuple[dict[str, Tensor], _Head]:
    """The trunk's tensors by name, and the head, whatever its layers are numbered."""
    prefix = network.last_layer
    parent = prefix.rpartition(".")[0]
    if not any(name.startswith(f"{prefix}.") for name in state) and parent == "heads":
        prefix = parent  # a vision transformer whose `heads` was replaced as a whole
    dotted = f"{prefix}."
    inside = {name.removeprefix(dotted): tensor for name, tensor in state.items() if name.startswith(dotted)}
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith(dotted)}
    return trunk, _head(inside, prefix, classes)


def _head(inside: Mapping[str, Tensor], prefix: str, classes: int) -> _Head:
    """The head whose layers' tensors are ``inside``, by their numbers in its Sequential; CheckpointError if unknown."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in inside.items():
        number, _, role = name.rpartition(".")
        layers.setdefault(number, {})[role] = tensor
    ordered = [layers[number] for number in sorted(layers, key=_natural)]
    shapes = [tuple(layer["weight"].shape) if "weight" in layer else () for layer in ordered]
    first, second = HIDDEN
    features = shapes[0][-1] if shapes and shapes[0] else 0
    hidden = (first, features), (second, first), (classes, second)
    known = {
        "paper": [hidden[0], (first,), *hidden[1:]],
        "mlp": list(hidden),
        "linear": [(classes, features)],
    }
    kind = next((name for name, own in known.items() if own == shapes), None)
    roles = [("weight", "bias", "running_mean", "running_var") if len(shape) == 1 else ("weight", "bias")
             for shape in shapes]  # fmt: skip
    counters = {"num_batches_tracked"}
    if kind is None or any(set(layer) - counters != set(own) for layer, own in zip(ordered, roles, strict=True)):
        raise CheckpointError(
            f"The head {prefix!r} holds layers of the shapes {shapes}; the paper's are {known['paper']}, with batch "
            f"norm second, and {known['mlp']} or one layer to {classes} classes can be read too."
        )
    tensors = [layer[role] for layer, own in zip(ordered, roles, strict=True) for role in own]
    return _Head(kind, features, classes, tuple(tensors))


def _natural(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _torchvision_model(network: TorchvisionNetwork, trunk: Mapping[str, Tensor], head: _Head) -> nn.Module:
    model = network.constructor(weights=None)
    model.set_submodule(network.last_layer, head.module())
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(f"{network.last_layer}.")}
    try:
        model.load_state_dict({**trunk, **own})
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise CheckpointError(f"`model_state` does not fit torchvision's network: {reason}") from error
    return model.eval()


def _timm_model(arch: str, network: TorchvisionNetwork, trunk: Mapping[str, Tensor], head: _Head) -> nn.Module:
    model = build(arch, head.classes, **network.model_args)
    if head.kind != "linear":
        set_head(model, head.kind)
    classifier = classifier_name(model)
    weights = in_timm_layout(trunk, network, model.state_dict(), classifier)
    own = head.module().state_dict(prefix=f"{classifier}.")
    model.load_state_dict({**weights, **own})
    return model.eval()


@torch.no_grad()
def _verify(theirs: nn.Module, ours: nn.Module, size: int, arch: str) -> None:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(PROBE_SEED))
    expected, found = theirs(images), ours(images)
    difference = (expected - found).abs().max() / expected.abs().max().clamp_min(1e-6)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"The converted {arch} gives other logits than torchvision's (relative difference {difference:.2g}); "
            "the file is not of the paper's network, or holds values that are not numbers."
        )
