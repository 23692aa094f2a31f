"""torchvision's networks and ImageNet weights in timm's layout: the seven backbones of arXiv 2511.00456."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True, eq=False)
class TorchvisionNetwork:
    """One of torchvision's classifiers beside timm's ``architecture`` that computes the same.

    ``default``: its DEFAULT weights; ``hub_tag``: timm's repository of the same file on the Hub, where there is one.
    ``last_layer``: dotted name of the layer that makes the logits. ``model_args`` make timm's network compute the same
    in evaluation, ``training_args`` beside them in training; ``dropout`` is what torchvision has before that layer.
    """

    architecture: str
    constructor: Callable[..., nn.Module]
    default: WeightsEnum
    last_layer: str
    hub_tag: str | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    training_args: Mapping[str, Any] = field(default_factory=dict)
    dropout: float = 0.0

    @property
    def weights_name(self) -> str:
        """What records call the weights: the Hub's repository, or torchvision's own name for them."""
        return f"timm/{self.hub_tag}" if self.hub_tag else f"torchvision {self.default}"

    def empty(self) -> nn.Module:
        """The network without memory for its weights, for the names and shapes of its tensors."""
        with torch.device("meta"):
            return self.constructor(weights=None)

    def download(self) -> dict[str, Tensor]:
        """torchvision's own file, from its cache or its server; only tensors are unpickled. OSError without network."""
        return self.default.get_state_dict(progress=False, check_hash=True, weights_only=True, map_location="cpu")


# By the paper's names; how strongly torchvision's training differs from timm's stands in `training_args`.
NETWORKS = {
    "resnet18": TorchvisionNetwork(
        "resnet18", models.resnet18, models.ResNet18_Weights.DEFAULT, "fc", "resnet18.tv_in1k"
    ),
    "resnet50": TorchvisionNetwork(
        "resnet50", models.resnet50, models.ResNet50_Weights.DEFAULT, "fc", "resnet50.tv2_in1k"
    ),
    "densenet121": TorchvisionNetwork(
        "densenet121", models.densenet121, models.DenseNet121_Weights.DEFAULT, "classifier", "densenet121.tv_in1k"
    ),
    "efficientnet_b0": TorchvisionNetwork(
        "efficientnet_b0", models.efficientnet_b0, models.EfficientNet_B0_Weights.DEFAULT, "classifier.1",
        training_args={"drop_path_rate": 0.2}, dropout=0.2,
    ),
    "mobilenet_v2": TorchvisionNetwork(
        "mobilenetv2_100", models.mobilenet_v2, models.MobileNet_V2_Weights.DEFAULT, "classifier.1", dropout=0.2
    ),
    "mobilenet_v3": TorchvisionNetwork(
        "mobilenetv3_large_100", models.mobilenet_v3_large, models.MobileNet_V3_Large_Weights.DEFAULT, "classifier.3",
        model_args={"bn_eps": 1e-3}, training_args={"bn_momentum": 0.01}, dropout=0.2,
    ),
    "vit_b_16": TorchvisionNetwork(
        "vit_base_patch16_224", models.vit_b_16, models.ViT_B_16_Weights.DEFAULT, "heads.head"
    ),
}  # fmt: skip

# torchvision's published DenseNet files split the layers' names once more than its code does.
_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
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
)


def network_of(name: str) -> TorchvisionNetwork | None:
    """torchvision's counterpart of one of the paper's names or of a timm architecture, None where there is none."""
    return NETWORKS.get(name) or next((own for own in NETWORKS.values() if own.architecture == name), None)


def in_timm_layout(
    state: Mapping[str, Tensor], network: TorchvisionNetwork, wanted: Mapping[str, Tensor], classifier: str
) -> dict[str, Tensor]:
    """``state`` without its last layer, under timm's names and in timm's shapes; as it is where it is timm's already.

    ``wanted`` is the state dict of timm's network, ``classifier`` the name of its last layer. A tensor that neither
    knows keeps its name, so that a check of the result names it.
    """
    names = _timm_names(network, tuple(name for name in wanted if not name.startswith(f"{classifier}.")))
    plain = {_DENSE_LAYER.sub(r"\1\2.", name): tensor for name, tensor in state.items()}
    if network.architecture.startswith("vit"):
        plain = {_vit_name(name): tensor for name, tensor in plain.items()}
    if not any(name in names for name in plain):
        return dict(state)
    last = f"{network.last_layer}."
    # An ImageNet file names its last layer as torchvision does, which can be the name of a trunk's layer in timm.
    mapped = {names.get(name, name): tensor for name, tensor in plain.items() if not name.startswith(last)}
    return {name: _shaped(tensor, wanted.get(name)) for name, tensor in mapped.items()}


def _shaped(tensor: Tensor, like: Tensor | None) -> Tensor:
    """timm writes MobileNet-V3's layer after pooling as a 1x1 convolution: the same numbers in another shape."""
    return tensor.reshape(like.shape) if like is not None and like.numel() == tensor.numel() else tensor


@cache
def _timm_names(network: TorchvisionNetwork, own: tuple[str, ...]) -> Mapping[str, str]:
    """timm's name of every tensor before torchvision's last layer."""
    if network.architecture.startswith("vit"):
        return {name: name for name in own}
    trunk = [name for name in network.empty().state_dict() if not name.startswith(f"{network.last_layer}.")]
    return dict(zip(trunk, own, strict=True))  # both libraries define the layers of these networks in the same order


def _vit_name(name: str) -> str:
    for pattern, replacement in _VIT_NAMES:
        name, changed = re.subn(f"^{pattern}", replacement, name)
        if changed:
            break
    return name
