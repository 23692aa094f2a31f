"""Tokens and grids: the one place where features, in whatever layout, become maps (B, C, gh, gw), and back."""

from __future__ import annotations

import math

import torch
from torch import nn

MAX_STRETCH = (
    1.5  # how far a guessed grid's aspect ratio may lie from the image's: rounding at a 3-cell side moves it by a third
)


def prefix_tokens(model: nn.Module) -> int:
    """Number of class, distillation and register tokens before the patches: 1 ViT, 2 distilled DeiT, 5 DINOv2-reg."""
    declared = getattr(model, "num_prefix_tokens", None)
    if isinstance(declared, int):
        return declared
    tokens = (getattr(model, name, None) for name in ("cls_token", "dist_token"))
    return sum(token.shape[-2] for token in tokens if isinstance(token, torch.Tensor) and token.ndim == 3)


def tokens_to_maps(tokens: torch.Tensor, grid: tuple[int, int], prefix: int = 0) -> torch.Tensor:
    """Tokens (B, prefix + gh*gw, C), row by row, to maps (B, C, gh, gw); the prefix tokens are dropped.

    Raises ValueError when the number of tokens is not prefix + gh*gw.
    """
    batch, count, channels = tokens.shape
    if count != prefix + grid[0] * grid[1]:
        raise ValueError(
            f"`tokens` has {count} tokens, but {prefix} prefix tokens and a grid of {grid[0]}x{grid[1]} make "
            f"{prefix + grid[0] * grid[1]}; pass the grid that the network's patch embedding reports."
        )
    patches = tokens[:, prefix:].transpose(1, 2)  # (B, C, gh*gw)
    return patches.reshape(batch, channels, *grid)  # (B, C, gh, gw)


def grid_size(model: nn.Module, image_size: tuple[int, int], tokens: int) -> tuple[int, int]:
    """Grid (gh, gw) of `tokens` patch tokens for an image of `image_size` (h, w) pixels.

    The patch embedding is asked first (it knows dynamic and non-square inputs); where it does not fit, as after the
    poolings of a hierarchical transformer, the factorisation of `tokens` nearest to the image's aspect ratio is taken.
    Raises ValueError when no factorisation comes near that ratio.
    """
    embed = getattr(model, "patch_embed", None)
    dynamic = getattr(embed, "dynamic_feat_size", None)
    candidates = [dynamic(image_size)] if callable(dynamic) else []
    candidates.append(getattr(embed, "grid_size", None))
    for candidate in candidates:
        if candidate is not None and candidate[0] * candidate[1] == tokens:
            return int(candidate[0]), int(candidate[1])
    return _nearest_grid(tokens, image_size)


def _nearest_grid(tokens: int, image_size: tuple[int, int]) -> tuple[int, int]:
    ratio = image_size[0] / image_size[1]
    pairs = [(rows, tokens // rows) for rows in range(1, tokens + 1) if tokens % rows == 0]
    best = min(pairs, key=lambda pair: abs(math.log(pair[0] / pair[1] / ratio)), default=None)
    if best is None or not 1 / MAX_STRETCH <= best[0] / best[1] / ratio <= MAX_STRETCH:
        raise ValueError(
            f"`tokens`: {tokens} patch tokens form no grid with the aspect ratio of an image of "
            f"{image_size[0]}x{image_size[1]} pixels; take a layer whose tokens are image patches."
        )
    return best


def to_maps(features: torch.Tensor, model: nn.Module, image_size: tuple[int, int]) -> torch.Tensor:
    """Features of any layer as maps (B, C, gh, gw), whatever the layout: NCHW, NHWC (Swin), or tokens NLC (ViT).

    `image_size` is the input's (h, w) in pixels. A gradient has its feature's layout, so this serves both.
    Raises ValueError when the features have no spatial layout.
    """
    if features.ndim == 4:
        return features.permute(0, 3, 1, 2) if _channels_last(features, model, image_size) else features
    if features.ndim != 3:
        raise ValueError(
            f"`features` of shape {tuple(features.shape)} are neither maps (B, C, h, w), (B, h, w, C) nor tokens "
            "(B, N, C); take a layer before the global pooling."
        )
    prefix = prefix_tokens(model)
    if features.shape[1] <= prefix:
        raise ValueError(
            f"`features` of shape {tuple(features.shape)} hold only the {prefix} prefix tokens, no image patches; "
            "take a layer inside the last transformer block."
        )
    try:
        grid = grid_size(model, image_size, features.shape[1] - prefix)
    except ValueError:
        if not prefix:
            raise
        grid, prefix = grid_size(model, image_size, features.shape[1]), 0  # stages of hybrids carry no prefix tokens
    return tokens_to_maps(features, grid, prefix)


def _channels_last(features: torch.Tensor, model: nn.Module, image_size: tuple[int, int]) -> bool:
    _, first, second, last = features.shape
    channels = getattr(model, "num_features", None)
    if channels in (first, last) and first != last:
        return channels == last
    declared = getattr(model, "output_fmt", None)
    if declared is not None:
        return str(getattr(declared, "value", declared)).upper() == "NHWC"
    # Neither is the network's width (an inner layer): a grid has the image's aspect ratio.
    ratio = image_size[0] / image_size[1]
    return abs(math.log(first / second / ratio)) < abs(math.log(second / last / ratio))
