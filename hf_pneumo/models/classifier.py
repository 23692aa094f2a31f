"""Classifiers: any timm backbone with a linear or an MLP head, started from ImageNet, from a file or at random.

A classifier is a plain timm module. With the linear head its state dict is timm's own, so that timm and transformers
load a checkpoint unchanged; the MLP head takes the place of timm's classifier layer under the same name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models._manipulate import group_with_matcher
from torch import Tensor, nn

logger = logging.getLogger(__name__)

# The seven of arXiv 2511.00456, by its names.
PAPER_BACKBONES = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "densenet121": "densenet121",
    "efficientnet_b0": "efficientnet_b0",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3": "mobilenetv3_large_100",
    "vit_b_16": "vit_base_patch16_224",
}
# Hidden widths and dropout of the paper's head: features -> 512 -> 128 -> classes.
MLP_WIDTHS, MLP_DROPOUT = (512, 128), 0.3
HEAD_STD = 0.01
HEADS = ("linear", "mlp")


def timm_name(name: str) -> str:
    """The timm architecture for one of the paper's names or for a timm name; ValueError suggests near ones."""
    architecture = PAPER_BACKBONES.get(name, name)
    bare = re.sub(r"^(hf[-_]hub:)?timm/|^hf[-_]hub:", "", name)
    if bare != name and timm.is_model(bare):
        raise ValueError(f"`model` is {name!r}, a place on the Hub; give the architecture, {bare!r}")
    if not timm.is_model(architecture):
        near = timm.list_models(f"*{name[:6]}*")[:5]
        raise ValueError(
            f"`model` is {name!r}; give one of {', '.join(PAPER_BACKBONES)} or a timm name"
            + (f" such as {', '.join(near)}" if near else "")
        )
    return architecture


def build(
    name: str,
    num_classes: int,
    *,
    head: str = "linear",
    pretrained: bool = False,
    init_weights: str | Path | None = None,
    **model_args: Any,
) -> nn.Module:
    """A classifier with ``num_classes`` logits on the backbone ``name``.

    ``head``: "linear" or "mlp" (512-128, ReLU, dropout 0.3). ``pretrained`` takes ImageNet weights from the Hub,
    ``init_weights`` the backbone's from a safetensors file (a classifier in it is left out); neither starts at random.
    ``model_args`` go to ``timm.create_model``. Raises ValueError for names, OSError for weights that cannot be had.
    """
    architecture = timm_name(name)
    if head not in HEADS:
        raise ValueError(f"`head` is {head!r}; choose one of {', '.join(HEADS)}")
    if pretrained and init_weights is not None:
        raise ValueError("`pretrained` and `init_weights` are both set; choose one source of weights")
    try:
        model = timm.create_model(architecture, pretrained=pretrained, num_classes=num_classes, **model_args)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise OSError(
            f"ImageNet weights of {architecture} cannot be had from the Hub ({type(error).__name__}); give the "
            "backbone's weights with `init_weights` (--init-weights FILE.safetensors), or `pretrained` False"
        ) from error
    # timm draws some classifiers for 1000 classes; for a few, its EfficientNet range starts at logits of +-10.
    if isinstance(linear := model.get_submodule(classifier_name(model)), nn.Linear):
        nn.init.normal_(linear.weight, std=HEAD_STD)
        nn.init.zeros_(linear.bias)
    if init_weights is not None:
        load_backbone(model, init_weights)
    if head == "mlp":
        set_mlp_head(model)
    return model


def set_mlp_head(model: nn.Module) -> None:
    """Put the papers' MLP in the place of timm's linear classifier, under the same name, freshly initialised."""
    linear = model.get_classifier()
    if not isinstance(linear, nn.Linear):
        raise ValueError(f"`head` 'mlp' needs a model with one linear classifier; this has {type(linear).__name__}")
    widths = (linear.in_features, *MLP_WIDTHS)
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(MLP_DROPOUT)]
    model.set_submodule(classifier_name(model), nn.Sequential(*layers, nn.Linear(widths[-1], linear.out_features)))


def classifier_name(model: nn.Module) -> str:
    """Dotted name of the layer that makes the logits, such as "fc", "classifier" or "head.fc".

    Raises ValueError for a distilled transformer, whose logits are the mean of two classifiers.
    """
    classifier = model.get_classifier()
    if isinstance(classifier, tuple):
        raise ValueError(
            f"`model` {type(model).__name__} has {len(classifier)} classifiers and a checkpoint holds one; take the "
            "architecture without distillation, such as deit_tiny_patch16_224"
        )
    return next(name for name, module in model.named_modules() if module is classifier)


def load_backbone(model: nn.Module, path: str | Path) -> None:
    """Load every weight but the classifier's from the safetensors file ``path``; OSError if it is not this backbone."""
    path = Path(path)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"`init_weights` {str(path)!r} cannot be read as safetensors: {error}") from error
    prefix = classifier_name(model) + "."
    wanted = {k: v for k, v in model.state_dict().items() if not k.startswith(prefix)}
    have = {k: v for k, v in weights.items() if not k.startswith(prefix)}
    if problem := state_mismatch(wanted, have):
        raise OSError(f"`init_weights` {str(path)!r} does not fit {type(model).__name__}: {problem}")
    model.load_state_dict(have, strict=False)
    logger.info("backbone weights from %s", path.name)


def state_mismatch(wanted: Mapping[str, Tensor], have: Mapping[str, Tensor]) -> str:
    """What keeps the weights ``have`` from filling ``wanted``, in words; empty when nothing does.

    A batch norm's step counter may be missing: it is not a weight, and converters leave it out.
    """
    if missing := [k for k in wanted if k not in have and not k.endswith("num_batches_tracked")]:
        return f"{len(missing)} tensors are missing, the first is {missing[0]}"
    if extra := [k for k in have if k not in wanted]:
        return f"{len(extra)} tensors are unknown, the first is {extra[0]}"
    if shape := [k for k in have if have[k].shape != wanted[k].shape]:
        return f"{shape[0]} is {tuple(have[shape[0]].shape)} instead of {tuple(wanted[shape[0]].shape)}"
    return ""


def freeze_all_but_last(model: nn.Module, layers: int) -> None:
    """Freeze all but the classifier and the last ``layers`` of the backbone, in timm's own order of its layers."""
    if layers < 0:
        raise ValueError(f"`layers` is {layers}; give how many layers before the classifier are to be trained, from 0")
    groups = group_with_matcher(model.named_parameters(), model.group_matcher(coarse=False), reverse=True)
    head = classifier_name(model) + "."
    backbone = sorted({group for name, group in groups.items() if not name.startswith(head)})
    trained = set(backbone[len(backbone) - layers :])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(head) or groups[name] in trained)


def set_training(model: nn.Module) -> None:
    """Training mode, except that a normalisation layer whose weights are frozen keeps its running statistics too."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and hasattr(module, "running_mean") and not any(p.requires_grad for p in own):
            module.eval()


def parameter_count(model: nn.Module) -> int:
    """Number of parameters, frozen ones included."""
    return sum(p.numel() for p in model.parameters())
