"""Does a heatmap show what the network uses? Tests without any truth: covering, borders, agreement between methods.

A `score` is a function from images (B, C, h, w) to scores (B,), usually the target's probability. Heatmaps are float
(h, w) in [0, 1] over the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

from hf_pneumo.evaluation.explanations.road import removal_curve

Score = Callable[[torch.Tensor], torch.Tensor]

BORDER = 1 / 24  # of each side: the frame that alone predicts the class of many public films
STEPS = 10  # of the deletion and insertion curves


def ranking(heatmap: np.ndarray) -> np.ndarray:
    """Pixel indices from the most to the least important; ties keep reading order: int (h*w,)."""
    return np.argsort(-heatmap.ravel(), kind="stable")


def _covered(image: torch.Tensor, cover: torch.Tensor, order: np.ndarray, shares: np.ndarray) -> torch.Tensor:
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
    steps: int = STEPS,
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
    steps: int = STEPS,
    batch_size: int = 16,
) -> tuple[float, np.ndarray]:
    """The same while the most important pixels appear first on the cover, often a blurred image: high is good."""
    return deletion(score, cover, heatmap, image, steps=steps, batch_size=batch_size)


def drop_and_increase(score: Score, image: torch.Tensor, heatmap: np.ndarray) -> tuple[float, float]:
    """Relative drop of the score, in [0, 1] (low is good), and whether it rises, 1 or 0 (high is good), when an image
    (C, h, w) shows only what its map (h, w) lets through (Chattopadhay et al. 2018, section 5.1, arXiv 1710.11063).
    Raises ValueError for negative scores."""
    masked = image * torch.from_numpy(np.asarray(heatmap)).to(image)
    full, shown = _in_batches(score, torch.stack([image, masked]), 2)
    if min(full, shown) < 0:
        raise ValueError("`score` gives negative values; average drop needs probabilities.")
    return max(0.0, float(full - shown)) / max(float(full), 1e-12), float(shown > full)


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
    score: Score, images: torch.Tensor, heatmaps: np.ndarray, *, steps: int = STEPS
) -> dict[str, np.ndarray]:
    """All figures of images (N, C, h, w) with maps (N, h, w), by name, one for each image: float (N,).

    deletion and drop are good when low; insertion, road and increase when high; border_share is heat on the frame.
    """
    rows = []
    for image, heatmap in zip(images, heatmaps, strict=True):
        dark = image.amin((1, 2), keepdim=True).expand_as(image)
        drop, increase = drop_and_increase(score, image, heatmap)
        rows.append(
            {
                "deletion": deletion(score, image, heatmap, dark, steps=steps)[0],
                "insertion": insertion(score, image, heatmap, blurred(image), steps=steps)[0],
                "road": removal_curve(score, image, ranking(heatmap)),
                "drop": drop,
                "increase": increase,
                "border_share": border_share(heatmap),
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
