"""Where a network's evidence is still a map: the layer that class activation maps read, found by its structure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import nn

from hf_pneumo.explain.class_token import class_token_block
from hf_pneumo.explain.replica import Tap, with_replaced

# Children of timm networks that belong to forward_head: the child before the first of them gives the last map.
_HEAD = {
    "global_pool",
    "avgpool",
    "head",
    "head_dist",
    "head_drop",
    "fc",
    "fc_norm",
    "attn_pool",
    "classifier",
    "flatten",
    "pre_logits",
    "last_linear",
    "dropout",
}


_STRIDE = re.compile(r"stride(\d+)")


@dataclass(frozen=True)
class Layer:
    """A place in a network. `seam` is the place between forward_features and forward_head, which needs no tap."""

    name: str
    seam: bool


def default_layer(model: nn.Module) -> Layer:
    """The last place where the class score depends on image positions.

    That is what forward_features returns, except where a class token is pooled: there the last block's output has
    exactly zero gradient at every patch, and the norm before the last attention is the place.
    """
    if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
        raise ValueError(
            "`model` has no forward_features and forward_head as timm networks have; pass `layer`, the dotted name of "
            "the module whose maps are wanted."
        )
    if getattr(model, "global_pool", None) == "token":
        name = _before_last_attention(model)
        if name is not None:
            return Layer(name, seam=False)
    return Layer(_last_map_name(model), seam=True)


def named_layer(model: nn.Module, name: str) -> Layer:
    """The layer of a dotted module name, or "strideN": the last one of a timm network whose cells lie N pixels apart.

    Raises ValueError, listing the names near it, when there is none such.
    """
    if stride := _STRIDE.fullmatch(name):
        return Layer(_of_stride(model, int(stride[1])), seam=False)
    names = [known for known, _ in model.named_modules() if known]
    if name not in names:
        depth = name.count(".")
        near = [known for known in names if known.split(".")[0] == name.split(".")[0] and known.count(".") <= depth + 1]
        near = near or [known for known in names if "." not in known]
        raise ValueError(
            f"`layer` {name!r} is no module of this {type(model).__name__}; near it are {', '.join(near[:20])}."
        )
    return Layer(name, seam=False)


def _of_stride(model: nn.Module, stride: int) -> str:
    stages = {entry["reduction"]: entry["module"] for entry in getattr(model, "feature_info", None) or ()}
    if stride not in stages:
        known = ", ".join(f"stride{number}" for number in stages) or "none, as it tells of no stages"
        raise ValueError(f"`layer` 'stride{stride}': {type(model).__name__} has {known}; take one, or a module's name.")
    return stages[stride]


def _before_last_attention(model: nn.Module) -> str | None:
    stack, prefix = getattr(model, "blocks", None), "blocks"
    if stack is None and hasattr(model, "transformers"):  # PiT keeps its class token beside the maps, stage by stage
        last = len(model.transformers) - 1
        stack, prefix = model.transformers[last].blocks, f"transformers.{last}.blocks"
    if hasattr(model, "blocks_token_only"):  # CaiT: only these last blocks let the class token look at the patches
        stack, prefix = model.blocks_token_only, "blocks_token_only"
    if stack is None or not len(stack):
        return None
    names = [name for name, _ in stack[-1].named_children()]
    if "norm1" in names and "attn" in names and names.index("norm1") < names.index("attn"):
        return f"{prefix}.{len(stack) - 1}.norm1"
    return f"{prefix}.{len(stack) - 2}" if len(stack) > 1 else None  # norms after the attention: the last block's input


def _last_map_name(model: nn.Module) -> str:
    last = ""
    for name, _ in model.named_children():
        if name in _HEAD:
            break
        last = name
    return last or "forward_features"


def run_from(model: nn.Module, images: torch.Tensor, layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward pass, recorded by autograd only from `layer` on: (logits (B, K), the layer's output, a leaf)."""
    if layer.seam:
        with torch.inference_mode():
            output = model.forward_features(images)
        if not isinstance(output, torch.Tensor):
            raise ValueError(
                f"`model`: forward_features of {type(model).__name__} gives a {type(output).__name__}; pass `layer`."
            )
        output = output.clone().requires_grad_()  # a plain tensor again, which may enter a graph
        with torch.enable_grad():
            return model.forward_head(output.clone()), output  # an in-place activation must not meet the leaf
    short = class_token_block(model, layer.name)
    name, part = short or (layer.name, Tap(model.get_submodule(layer.name)))
    tap = short[1].tap if short else part
    with torch.no_grad():
        logits = with_replaced(model, {name: part})(images)
    if tap.output is None:
        raise ValueError(f"`layer` {layer.name!r} takes no part in this network's forward pass; take another.")
    return logits, tap.output
