"""Classifiers: any timm backbone with a linear or an MLP head, started from ImageNet, from a file or at random.

A classifier is a plain timm module. With the linear head its state dict is timm's own, so that timm and transformers
load a checkpoint unchanged; another head takes the place of timm's classifier layer under the same name.
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

from hf_pneumo.models.torchvision_weights import IMAGENET, NETWORKS, TorchvisionNetwork, in_timm_layout, network_of

logger = logging.getLogger(__name__)

# The seven of arXiv 2511.00456, by its names.
PAPER_BACKBONES = {name: network.architecture for name, network in NETWORKS.items()}
HIDDEN = (512, 128)  # widths of that paper's head: features -> 512 -> 128 -> classes
HEAD_STD = 0.01
HEADS = ("linear", "mlp", "paper")
WEIGHTS_OF = ("timm", "torchvision")


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
    weights_of: str = "timm",
    **model_args: Any,
) -> nn.Module:
    """A classifier with ``num_classes`` logits on the backbone ``name``.

    ``head``: "linear", "mlp" or "paper" (see `head_of`). ``pretrained`` takes ImageNet weights from the Hub: timm's
    default ones, or with ``weights_of`` "torchvision" those that torchvision calls DEFAULT, for the paper's seven.
    ``init_weights`` takes the backbone's from a safetensors file in timm's or torchvision's layout (a classifier in it
    is left out); neither starts at random. ``model_args`` go to ``timm.create_model``. Raises ValueError for names,
    OSError for weights that cannot be had.
    """
    architecture = timm_name(name)
    if head not in HEADS:
        raise ValueError(f"`head` is {head!r}; choose one of {', '.join(HEADS)}")
    if pretrained and init_weights is not None:
        raise ValueError("`pretrained` and `init_weights` are both set; choose one source of weights")
    theirs = torchvision_network(name) if weights_of == "torchvision" else None
    tagged = pretrained and theirs is not None and theirs.hub_tag
    from_timm = pretrained and (theirs is None or bool(tagged))
    try:
        model = timm.create_model(tagged or architecture, pretrained=from_timm, num_classes=num_classes, **model_args)
    except (OSError, RuntimeError) as error:
        if not from_timm:
            raise
        raise _no_weights(tagged or architecture, "the Hub", error) from error
    # timm draws some classifiers for 1000 classes; for a few, its EfficientNet range starts at logits of +-10.
    if isinstance(linear := model.get_submodule(classifier_name(model)), nn.Linear):
        nn.init.normal_(linear.weight, std=HEAD_STD)
        nn.init.zeros_(linear.bias)
    if theirs is not None:
        model.pretrained_cfg = dict(model.pretrained_cfg) | IMAGENET
        if pretrained and not tagged:
            _download(model, theirs)
    if init_weights is not None:
        load_backbone(model, init_weights, network_of(architecture))
    if head != "linear":
        set_head(model, head)
    return model


def torchvision_network(name: str) -> TorchvisionNetwork:
    """torchvision's counterpart of the backbone ``name``; ValueError where it has none of the paper's."""
    network = network_of(name)
    if network is None:
        raise ValueError(
            f"`weights_of` torchvision: {name!r} is none of {', '.join(PAPER_BACKBONES)}; take timm's weights"
        )
    return network


def _no_weights(what: str, where: str, error: Exception) -> OSError:
    return OSError(
        f"ImageNet weights of {what} cannot be had from {where} ({type(error).__name__}); give the backbone's weights "
        "with `init_weights` (--init-weights FILE.safetensors), or `pretrained` False"
    )


def _download(model: nn.Module, network: TorchvisionNetwork) -> None:
    try:
        state = network.download()
    except (OSError, RuntimeError) as error:
        raise _no_weights(network.architecture, f"{network.default.url} or torch's cache of it", error) from error
    _fill_backbone(model, in_timm_layout(state, network, model.state_dict(), classifier_name(model)), "torchvision")


def head_of(kind: str, features: int, classes: int) -> nn.Sequential:
    """A head of two hidden layers of 512 and 128: "paper" is that of arXiv 2511.00456, with batch norm after the first
    and dropout .3 and .2; "mlp" has no batch norm and dropout .3 twice, as checkpoints of this library's 0.1 may."""
    first, second = HIDDEN
    if kind == "paper":
        return nn.Sequential(
            nn.Linear(features, first), nn.BatchNorm1d(first), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(first, second), nn.ReLU(), nn.Dropout(0.2), nn.Linear(second, classes),
        )  # fmt: skip
    return nn.Sequential(
        nn.Linear(features, first), nn.ReLU(), nn.Dropout(0.3), nn.Linear(first, second), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(second, classes),
    )  # fmt: skip


def set_head(model: nn.Module, kind: str) -> None:
    """Put `head_of` in the place of timm's linear classifier, under the same name, freshly initialised."""
    linear = model.get_classifier()
    if not isinstance(linear, nn.Linear):
        raise ValueError(f"`head` {kind!r} needs a model with one linear classifier; this has {type(linear).__name__}")
    model.set_submodule(classifier_name(model), head_of(kind, linear.in_features, linear.out_features))


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


def load_backbone(model: nn.Module, path: str | Path, theirs: TorchvisionNetwork | None = None) -> None:
    """Load every weight but the classifier's from the safetensors file ``path``; OSError if it is not this backbone.

    A file in the layout of ``theirs``, torchvision's counterpart of the network, is put into timm's first.
    """
    path = Path(path)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"`init_weights` {str(path)!r} cannot be read as safetensors: {error}") from error
    if theirs is not None:
        weights = in_timm_layout(weights, theirs, model.state_dict(), classifier_name(model))
    _fill_backbone(model, weights, f"`init_weights` {str(path)!r}")
    logger.info("backbone weights from %s", path.name)


def _fill_backbone(model: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    prefix = classifier_name(model) + "."
    wanted = {k: v for k, v in model.state_dict().items() if not k.startswith(prefix)}
    have = {k: v for k, v in weights.items() if not k.startswith(prefix)}
    if problem := state_mismatch(wanted, have):
        raise OSError(f"{origin} does not fit {type(model).__name__}: {problem}")
    model.load_state_dict(have, strict=False)


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
