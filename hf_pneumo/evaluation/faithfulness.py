"""Does a heatmap show what the network uses? Tests without any truth: covering, randomised weights, borders, agreement.

A `score` is a function from images (B, C, h, w) to scores (B,), usually the target's probability. Heatmaps are float
(h, w) in [0, 1] over the same pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

Score = Callable[[torch.Tensor], torch.Tensor]
Explain = Callable[[nn.Module], np.ndarray]

BORDER = 1 / 24  # of each side: the frame that alone predicts the class of many public films
ROAD_SHARES = (0.2, 0.4, 0.6, 0.8)
ROAD_NOISE = 0.01  # of the image's own spread, so that a filled hole is not betrayed by its smoothness
SIDE, DIAGONAL = 1 / 6, 1 / 12  # weights of the eight neighbours in ROAD's linear filling


def ranking(heatmap: np.ndarray) -> np.ndarray:
    """Pixel indices from the most to the least important; ties keep reading order: int (h*w,)."""
    return np.argsort(-heatmap.ravel(), kind="stable")


def _covered(image: torch.Tensor, cover: torch.Tensor, order: np.ndarray, shares: Sequence[float]) -> torch.Tensor:
    """Copies of an image (C, h, w), in each of which the first share of the ranked pixels shows the cover."""
    pixels = image.flatten(1).expand(len(shares), -1, -1).clone()  # (S, C, h*w)
    for row, share in enumerate(shares):
        first = torch.from_numpy(order[: round(share * order.size)].copy())
        pixels[row][:, first] = cover.flatten(1)[:, first]
    return pixels.view(len(shares), *image.shape)


@torch.no_grad()
def _in_batches(score: Score, images: torch.Tensor, batch_size: int) -> np.ndarray:
    return np.concatenate([score(part).double().cpu().numpy() for part in images.split(batch_size)])


def deletion(
    score: Score,
    image: torch.Tensor,
    heatmap: np.ndarray,
    cover: torch.Tensor,
    *,
    steps: int = 20,
    batch_size: int = 16,
) -> tuple[float, np.ndarray]:
    """Area under the score's curve, and the curve, while the most important pixels vanish first (Petsiuk et al. 2018,
    arXiv 1806.07421). A faithful map falls fast: low is good. `image` and `cover` (C, h, w)."""
    shares = np.linspace(0, 1, steps + 1)
    curve = _in_batches(score, _covered(image, cover, ranking(heatmap), shares), batch_size)
    return float(np.trapezoid(curve, shares)), curve


def insertion(
    score: Score,
    image: torch.Tensor,
    heatmap: np.ndarray,
    cover: torch.Tensor,
    *,
    steps: int = 20,
    batch_size: int = 16,
) -> tuple[float, np.ndarray]:
    """The same while the most important pixels appear first on the cover, often a blurred image: high is good."""
    return deletion(score, cover, heatmap, image, steps=steps, batch_size=batch_size)


def fill(image: torch.Tensor, missing: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
    """ROAD's noisy linear imputation: each missing pixel (h, w bool) the weighted mean of its neighbours, solved at
    once,
    plus a little noise (Rong et al. 2022, section 4.2, arXiv 2202.00449). `image` (C, h, w)."""
    if not missing.any():
        return image.clone()
    height, width = missing.shape
    number = np.full(missing.shape, -1)
    number[missing] = np.arange(missing.sum())
    rows, columns = np.nonzero(missing)
    pixels = image.double().cpu().numpy()
    total, known = np.zeros(len(rows)), np.zeros((len(pixels), len(rows)))
    entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)):
        weight = DIAGONAL if down and right else SIDE
        y, x = rows + down, columns + right
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        total += weight * inside
        at = np.flatnonzero(inside)
        neighbour = number[y[at], x[at]]
        unknown = neighbour >= 0
        entries.append((at[unknown], neighbour[unknown], np.full(unknown.sum(), -weight)))
        seen = at[~unknown]
        known[:, seen] += weight * pixels[:, y[seen], x[seen]]
    i, j, v = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    if not missing.all():
        matrix = sparse.csc_matrix((v, (i, j)), shape=(len(rows), len(rows))) + sparse.diags(total, format="csc")
        solved = spsolve(matrix, known.T).reshape(len(rows), -1).T
    else:
        solved = np.repeat(pixels.mean((1, 2))[:, None], len(rows), axis=1)  # nothing is left to fill from
    noise = generator.normal(0, ROAD_NOISE * pixels.std(), solved.shape)
    filled = pixels.copy()
    filled[:, rows, columns] = solved + noise
    return torch.from_numpy(filled).to(image)


def road(
    score: Score, image: torch.Tensor, heatmap: np.ndarray, *, shares: Sequence[float] = ROAD_SHARES, seed: int = 0
) -> float:
    """ROAD, least minus most relevant first, averaged over shares, halved: in [-1/2, 1/2] for probabilities, high is
    good.

    Removed pixels are filled in from their surroundings, so that what counts is the information and not the hole.
    """
    order = ranking(heatmap)
    images = []
    for ranked in (order[::-1], order):
        for share in shares:
            missing = np.zeros(heatmap.size, dtype=bool)
            missing[ranked[: round(share * order.size)]] = True
            images.append(fill(image, missing.reshape(heatmap.shape), np.random.default_rng(seed)))
    scores = _in_batches(score, torch.stack(images), len(images))
    return float((scores[: len(shares)].mean() - scores[len(shares) :].mean()) / 2)


def drop_and_increase(score: Score, images: torch.Tensor, heatmaps: np.ndarray) -> tuple[float, float]:
    """Average drop (low is good) and rate of increase (high is good), in [0, 1], when each image (B, C, h, w) shows
    only
    what its map (B, h, w) lets through (Chattopadhay et al. 2018, section 5.1, arXiv 1710.11063). Scores must be >=
    0."""
    masks = torch.from_numpy(np.asarray(heatmaps)).to(images)[:, None]
    with torch.no_grad():
        full, shown = score(images).double(), score(images * masks).double()
    if (full < 0).any() or (shown < 0).any():
        raise ValueError("`score` gives negative values; average drop needs probabilities.")
    drop = ((full - shown).clamp_min(0) / full.clamp_min(1e-12)).mean()
    return float(drop), float((shown > full).double().mean())


def border_share(heatmap: np.ndarray, width: float = BORDER) -> float:
    """Share of the map's heat in the film's outer frame, `width` of each side wide; a map without heat has none
    there."""
    rows, columns = (max(1, round(side * width)) for side in heatmap.shape)
    total = float(heatmap.sum())
    return 1 - float(heatmap[rows:-rows, columns:-columns].sum()) / total if total > 0 else 0.0


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation of two maps; 0 where one of them is constant and ranks nothing."""
    if first.max() == first.min() or second.max() == second.min():
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Structural similarity of two maps in [0, 1] (Wang et al. 2004), with the windows of Adebayo et al. 2018."""
    window = min(7, min(first.shape) - 1 + min(first.shape) % 2)
    return float(structural_similarity(first, second, data_range=1.0, win_size=window))


def agreement(maps: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Mean rank correlation over films between each two methods' maps (N, h, w), as a symmetric table."""
    table: dict[str, dict[str, float]] = {name: {name: 1.0} for name in maps}
    for one, other in combinations(maps, 2):
        pairs = zip(maps[one], maps[other], strict=True)
        table[one][other] = table[other][one] = float(np.mean([rank_correlation(a, b) for a, b in pairs]))
    return table


def layer_groups(model: nn.Module) -> list[str]:
    """Modules with weights, from the output to the input: the network's children, stacks of blocks taken apart."""
    names = []
    for name, child in model.named_children():
        parts = list(child.named_children()) if isinstance(child, (nn.Sequential, nn.ModuleList)) else []
        names += [f"{name}.{part}" for part, _ in parts] if len(parts) > 1 else [name]
    return [name for name in reversed(names) if any(True for _ in model.get_submodule(name).parameters())]


@torch.no_grad()
def randomise(model: nn.Module, name: str, generator: torch.Generator) -> None:
    """Draw a module's weights anew, each tensor from a normal distribution with its own mean and deviation, in
    place."""
    for value in model.get_submodule(name).parameters():
        spread = value.float().std(correction=0)
        drawn = torch.randn(value.shape, generator=generator).to(value.device) * spread + value.float().mean()
        value.copy_(drawn.to(value.dtype))


def randomisation(explain: Explain, model: nn.Module, *, levels: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """Cascading parameter randomisation (Adebayo et al. 2018, section 3.1, arXiv 1810.03292).

    `explain(network)` gives maps (N, h, w). A copy of the network loses its trained weights from the output to the
    input;
    at `levels` depths, the first being the head alone, its maps are compared to the trained network's: "similarity" and
    "rank_correlation", means over films. A map that stays the same does not show what was learnt.
    """
    generator, network = torch.Generator().manual_seed(seed), copy.deepcopy(model)
    before, groups, found = explain(model), layer_groups(model), []
    stops = set(np.unique(np.round(np.linspace(0, len(groups) - 1, max(1, min(levels, len(groups)))))).astype(int))
    for depth, name in enumerate(groups):
        randomise(network, name, generator)
        if depth not in stops:
            continue
        after = explain(network)
        pairs = list(zip(before, after, strict=True))
        found.append(
            {
                "down_to": name,
                "similarity": float(np.mean([similarity(a, b) for a, b in pairs])),
                "rank_correlation": float(np.mean([rank_correlation(a, b) for a, b in pairs])),
            }
        )
    return found


def passes_randomisation(levels: Sequence[Mapping[str, Any]], most: float = 0.5) -> bool:
    """Whether the maps of the fully randomised network no longer rank the pixels as the trained one's did."""
    return abs(levels[-1]["rank_correlation"]) < most


def blurred(image: torch.Tensor, sigma: float | None = None) -> torch.Tensor:
    """A cover for insertion: the image (C, h, w) blurred by `sigma` pixels, 1/16 of its longer side unless said."""
    sigma = max(image.shape[-2:]) / 16 if sigma is None else sigma
    return torch.from_numpy(ndimage.gaussian_filter(image.cpu().numpy(), (0, sigma, sigma))).to(image)


def probability(model: nn.Module, index: int) -> Score:
    """The softmax probability of one class as a score; of a network with one logit, the sigmoid's (index 1) or its
    complement (index 0)."""

    def score(images: torch.Tensor) -> torch.Tensor:
        logits = model(images).float()
        if logits.shape[1] == 1:
            return (logits[:, 0] if index else -logits[:, 0]).sigmoid()
        return logits.softmax(1)[:, index]

    return score


def measure_faithfulness(
    score: Score, images: torch.Tensor, heatmaps: np.ndarray, *, steps: int = 20
) -> dict[str, float]:
    """All figures that need no other network, as means over images (B, C, h, w) with maps (B, h, w)."""
    rows: dict[str, list[float]] = {"deletion": [], "insertion": [], "road": [], "border_share": []}
    for image, heatmap in zip(images, heatmaps, strict=True):
        dark = image.amin((1, 2), keepdim=True).expand_as(image)
        rows["deletion"].append(deletion(score, image, heatmap, dark, steps=steps)[0])
        rows["insertion"].append(insertion(score, image, heatmap, blurred(image), steps=steps)[0])
        rows["road"].append(road(score, image, heatmap))
        rows["border_share"].append(border_share(heatmap))
    drop, increase = drop_and_increase(score, images, heatmaps)
    return {name: float(np.mean(values)) for name, values in rows.items()} | {"drop": drop, "increase": increase}
