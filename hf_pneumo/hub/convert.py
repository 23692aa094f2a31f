"""The paper's weights (arXiv 2511.00456), torchvision backbones with an MLP head, as a checkpoint folder of ours.

Its files hold model_state, arch, class_to_idx and img_size. They are pickles, so reading one is left to the caller, who
must do it with weights_only=True (hf-pneumo convert); here only tensors and plain values are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import CheckpointConfig, save
from hf_pneumo.models.classifier import MLP_WIDTHS, PAPER_BACKBONES, build, classifier_name, set_mlp_head
from hf_pneumo.models.hub_download import CheckpointError

# Both networks add the same numbers in another order; measured differences stay below 2e-6 of the largest logit.
TOLERANCE = 1e-4
PROBE_SEED = 0


@dataclass(frozen=True)
class _Torchvision:
    """Where torchvision keeps the last layer, in dots; what timm must be told to compute the same."""

    constructor: Callable[..., nn.Module]
    last_layer: str
    model_args: Mapping[str, Any]


_MODELS = torchvision.models
_LAYOUTS = {
    "resnet18": _Torchvision(_MODELS.resnet18, "fc", {}),
    "resnet50": _Torchvision(_MODELS.resnet50, "fc", {}),
    "densenet121": _Torchvision(_MODELS.densenet121, "classifier", {}),
    "efficientnet_b0": _Torchvision(_MODELS.efficientnet_b0, "classifier.1", {}),
    "mobilenet_v2": _Torchvision(_MODELS.mobilenet_v2, "classifier.1", {}),
    "mobilenet_v3": _Torchvision(_MODELS.mobilenet_v3_large, "classifier.3", {"bn_eps": 1e-3}),
    "vit_b_16": _Torchvision(_MODELS.vit_b_16, "heads.head", {}),
}
_VIT_NAMES = (
    (r"class_token", "cls_token"),
    (r"conv_proj\.", "patch_embed.proj."),
    (r"encoder\.pos_embedding", "pos_embed"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.", r"blocks.\1.norm\2."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_", r"blocks.\1.attn.qkv."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.", r"blocks.\1.attn.proj."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:linear_1|0)\.", r"blocks.\1.mlp.fc1."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:linear_2|3)\.", r"blocks.\1.mlp.fc2."),
    (r"encoder\.ln\.", "norm."),
)  # fmt: skip


def convert(stored: Mapping[str, Any], folder: str | Path, *, arch: str | None = None) -> Path:
    """Write the checkpoint folder for what a .pth file of the paper holds; gives the folder.

    `stored` has model_state (or is the state dict itself), and may have arch, class_to_idx and img_size; `arch` names
    the backbone when it does not. The result is compared with torchvision's own model on random input, logits within
    1e-4 of their largest. Raises CheckpointError for anything that is not one of the paper's seven networks.
    """
    arch = _arch(stored["arch"] if isinstance(stored.get("arch"), str) else arch, arch)
    layout = _LAYOUTS[arch]
    state = _state(stored.get("model_state", stored))
    labels = _labels(stored.get("class_to_idx"))
    size = int(stored.get("img_size", 224))
    trunk, head = _divide(state, layout, len(labels.names))
    theirs = _torchvision_model(layout, trunk, head)
    ours = _timm_model(arch, layout, trunk, head)
    _verify(theirs, ours, size, arch)
    config = CheckpointConfig(
        architecture=PAPER_BACKBONES[arch],
        labels=labels,
        preprocess=Preprocess(size=(size, size)),
        head="mlp" if len(head) > 1 else "linear",
        data={"source": "arXiv 2511.00456", "protocol": "paper"},
        training={"converted_from": "the paper's torchvision weights, trained on films resized by OpenCV"},
        model_args=layout.model_args,
    )
    return save(folder, ours, config)


def _arch(stored: object, given: str | None) -> str:
    known = ", ".join(_LAYOUTS)
    if stored not in _LAYOUTS:
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


def _divide(
    state: Mapping[str, Tensor], layout: _Torchvision, classes: int
) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
    """The trunk's tensors by name, and the head's linear layers (weight, bias) in order, whatever their names."""
    prefix = layout.last_layer
    parent = prefix.rpartition(".")[0]
    if not any(name.startswith(f"{prefix}.") for name in state) and parent == "heads":
        prefix = parent  # a vision transformer whose `heads` was replaced as a whole
    dotted = f"{prefix}."
    inside = {name.removeprefix(dotted): tensor for name, tensor in state.items() if name.startswith(dotted)}
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith(dotted)}
    order = sorted((name.removesuffix("weight") for name in inside if name.endswith("weight")), key=_natural)
    head = [(inside[f"{name}weight"], inside.get(f"{name}bias")) for name in order]
    widths = [tuple(weight.shape)[::-1] for weight, _ in head]
    first = widths[0][0] if widths and len(widths[0]) == 2 else 0
    mlp = list(zip((first, *MLP_WIDTHS), (*MLP_WIDTHS, classes), strict=True))
    if len(inside) != 2 * len(head) or widths not in (mlp, [(first, classes)]):
        raise CheckpointError(
            f"The head {prefix!r} holds layers {widths}; known are {mlp} and one layer to {classes} classes."
        )
    return trunk, head


def _natural(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _torchvision_model(
    layout: _Torchvision, trunk: Mapping[str, Tensor], head: list[tuple[Tensor, Tensor]]
) -> nn.Module:
    model = layout.constructor(weights=None)
    layers: list[nn.Module] = []
    for weight, bias in head:
        linear = nn.Linear(*weight.shape[::-1])
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers += [linear, nn.ReLU()]
    model.set_submodule(layout.last_layer, nn.Sequential(*layers[:-1]))
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(f"{layout.last_layer}.")}
    try:
        model.load_state_dict({**trunk, **own})
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise CheckpointError(f"`model_state` does not fit torchvision's network: {reason}") from error
    return model.eval()


def _timm_model(
    arch: str, layout: _Torchvision, trunk: Mapping[str, Tensor], head: list[tuple[Tensor, Tensor]]
) -> nn.Module:
    model = build(arch, head[-1][0].shape[0], **layout.model_args)
    if len(head) > 1:
        set_mlp_head(model)
    prefix = classifier_name(model) + "."
    wanted = model.state_dict()
    own = [name for name in wanted if not name.startswith(prefix)]
    if arch == "vit_b_16":
        weights = {_vit_name(name): tensor for name, tensor in trunk.items()}
    else:  # both libraries define the layers of these networks in the same order
        weights = dict(zip(own, trunk.values(), strict=True))
    linears = [name for name in wanted if name.startswith(prefix)]
    weights |= dict(zip(linears, (tensor for pair in head for tensor in pair), strict=True))
    # timm writes mobilenet_v3's layer after pooling as a 1x1 convolution: the same numbers in another shape.
    model.load_state_dict({name: tensor.reshape(wanted[name].shape) for name, tensor in weights.items()})
    return model.eval()


def _vit_name(name: str) -> str:
    for pattern, replacement in _VIT_NAMES:
        name, changed = re.subn(f"^{pattern}", replacement, name)
        if changed:
            break
    return name


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
