"""What a vision transformer's attention says about place: rollout, gradient-weighted relevance, LeGrad.

Attention probabilities never leave fused kernels, so a torch-function mode, which belongs to one thread and one `with`
block, computes them openly and keeps them. The network and its fused-attention switches stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from hf_pneumo.explain.raw_maps import RawMaps
from hf_pneumo.explain.replica import replicate, unwrap, with_replaced
from hf_pneumo.explain.target import Target, Targets, label_names, resolve
from hf_pneumo.models.tokens import grid_size, prefix_tokens, tokens_to_maps


class AttentionRecorder(TorchFunctionMode):
    """Keeps every attention matrix (B, heads, queries, keys) that is computed within its `with` block, in order.

    With `gradient`, each is part of the autograd graph, also where the network's parameters are frozen.
    """

    def __init__(self, gradient: bool = False) -> None:
        super().__init__()
        self.gradient = gradient
        self.matrices: list[torch.Tensor] = []

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> object:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            return self._attend(*args, **kwargs)
        result = func(*args, **kwargs)
        return self._keep(result) if name == "softmax" and result.ndim == 4 else result

    def _keep(self, matrix: torch.Tensor) -> torch.Tensor:
        if self.gradient and not matrix.requires_grad:
            matrix = matrix.detach().requires_grad_()
        self.matrices.append(matrix)
        return matrix

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **_: object,
    ) -> torch.Tensor:
        scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -math.inf)
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        return self._keep(scores.softmax(-1)) @ value


class _Cut(nn.Module):
    """A block whose output is kept with its graph, while the next block starts from a new one."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.output: torch.Tensor | None = None

    def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
        self.output = self.block(*args, **kwargs)
        return self.output.detach()


def run_rollout(model: nn.Module, images: torch.Tensor, target: Target) -> RawMaps:
    """Attention rollout: the product over blocks of half attention, half identity (Abnar and Zuidema 2020, arXiv
    2005.00928).

    It looks at no class; the target is only named.
    """
    model = replicate(unwrap(model))
    with torch.inference_mode(False), torch.no_grad(), AttentionRecorder() as recorder:
        logits = model(images)
    blocks, pool = _blocks(model, recorder.matrices, len(images))
    flow = _identity(blocks[0])
    for matrix in blocks:
        flow = (0.5 * matrix.float().mean(1) + 0.5 * _identity(matrix)) @ flow
    pooled = None if pool is None else pool.float().mean(1)
    return _raw(model, images, _read(model, flow, pooled), logits, target)


def run_relevance(model: nn.Module, images: torch.Tensor, target: Target) -> RawMaps:
    """Gradient-weighted attention: R += E_h[(grad A * A)+] R, block by block (Chefer et al. 2021, eq. 5-6, arXiv
    2103.15679).

    Where patches are mean-pooled, the identity's share, the same for every patch, is left out.
    """
    model = replicate(unwrap(model))
    with torch.inference_mode(False), torch.enable_grad():
        with AttentionRecorder(gradient=True) as recorder:
            logits = model(images.detach())
        blocks, pool = _blocks(model, recorder.matrices, len(images))
        targets = resolve(target, logits.detach(), label_names(model, logits.shape[1]))
        kept = blocks if pool is None else [*blocks, pool]
        gradients = torch.autograd.grad(targets.score(logits).sum(), kept)
    weighted = [
        (gradient * matrix.detach()).float().relu().mean(1) for gradient, matrix in zip(gradients, kept, strict=True)
    ]
    flow = torch.zeros_like(weighted[0])  # R - I: small relevance would drown beside the identity in float32
    for matrix in weighted[: len(blocks)]:
        flow = flow + matrix + matrix @ flow
    relevance = _read(model, flow, None) if pool is None else (weighted[-1] + weighted[-1] @ flow).mean(1)
    return _raw(model, images, relevance, logits, targets)


def run_legrad(model: nn.Module, images: torch.Tensor, target: Target) -> RawMaps:
    """LeGrad: positive gradients, with respect to each block's attention, of the score read off that block, averaged
    over heads, queries and blocks (Bousselham et al. 2024, eq. 5-9, arXiv 2404.03214). Attention pooling: the pool's
    attention."""
    model = replicate(unwrap(model))
    with torch.inference_mode(False), torch.enable_grad():
        cuts = {f"blocks.{index}": _Cut(block) for index, block in enumerate(getattr(model, "blocks", ()))}
        with AttentionRecorder(gradient=True) as recorder:
            logits = with_replaced(model, cuts)(images.detach())
        blocks, pool = _blocks(model, recorder.matrices, len(images))
        targets = resolve(target, logits.detach(), label_names(model, logits.shape[1]))
        relevance = torch.zeros(len(images), blocks[0].shape[-1], device=images.device)
        for matrix, cut in zip(blocks, cuts.values(), strict=True):
            with AttentionRecorder(gradient=True) as head:
                score = targets.score(model.forward_head(model.norm(cut.output))).sum()
            wanted = matrix if pool is None else head.matrices[-1]
            relevance += torch.autograd.grad(score, wanted)[0].float().relu().mean((1, 2)) / len(blocks)
    return _raw(model, images, relevance, logits.detach(), targets)


def _identity(matrix: torch.Tensor) -> torch.Tensor:
    return torch.eye(matrix.shape[-1], device=matrix.device).expand(len(matrix), -1, -1)


def _blocks(
    model: nn.Module, matrices: list[torch.Tensor], count: int
) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    """The blocks' self-attention matrices and the pooling's, or ValueError for other architectures than plain ones."""
    depth = len(getattr(model, "blocks", ()))
    blocks = matrices[:depth]
    plain = (
        depth
        and len(blocks) == depth
        and hasattr(model, "norm")
        and all(
            len(matrix) == count and matrix.shape[-2] == matrix.shape[-1] == blocks[0].shape[-1] for matrix in blocks
        )
    )
    if not plain or len(matrices) > depth + 1:
        raise ValueError(
            f"`method`: attention maps need a plain vision transformer, whose blocks all attend over all patches; this "
            f"{type(model).__name__} is none. Take 'gradcam'."
        )
    return blocks, matrices[depth] if len(matrices) > depth else None


def _read(model: nn.Module, flow: torch.Tensor, pool: torch.Tensor | None) -> torch.Tensor:
    """The rows of the flow (B, N, N) that the classifier reads: class (and distillation) token, pooled patches, or
    the pool's."""
    if pool is not None:
        return (pool @ flow).mean(1)
    if getattr(model, "global_pool", "token") == "token":
        return flow[:, : 2 if hasattr(model, "head_dist") else 1].mean(1)
    return flow[:, prefix_tokens(model) :].mean(1)


def _raw(
    model: nn.Module, images: torch.Tensor, relevance: torch.Tensor, logits: torch.Tensor, target: Target | Targets
) -> RawMaps:
    """Relevance of each token (B, N) as maps (B, gh, gw)."""
    prefix = prefix_tokens(model)
    grid = grid_size(model, tuple(images.shape[-2:]), relevance.shape[1] - prefix)
    logits = logits.detach().float()
    targets = resolve(target, logits, label_names(model, logits.shape[1]))
    return RawMaps(tokens_to_maps(relevance[:, :, None], grid, prefix)[:, 0], logits, targets)
