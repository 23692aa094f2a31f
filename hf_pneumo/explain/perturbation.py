"""Attribution by covering parts of the image: occlusion, superpixel ablation, LIME, through Captum.

What is covered is replaced by the film's mean (or another baseline of `attribution.baseline_images`); the score's fall
is the evidence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import FeatureAblation, LimeBase, Occlusion
from skimage.segmentation import slic
from torch import nn

from hf_pneumo.explain.attribution import Progress, Score, baseline_images, bounded, positive_maps, prepare, seeded
from hf_pneumo.explain.raw_maps import RawMaps
from hf_pneumo.explain.target import Target

LIME_WIDTH = 0.25  # of the exponential kernel on the cosine distance, as in the authors' image explainer


@torch.no_grad()
def run_occlusion(
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    *,
    progress: Progress | None = None,
    window: int | None = None,
    stride: int | None = None,
    internal_batch_size: int = 16,
    baseline: str | torch.Tensor = "mean",
) -> RawMaps:
    """Occlusion: the score's fall when a square is covered (Zeiler and Fergus 2014, section 4.2, arXiv 1311.2901).

    `window` pixels wide (1/8 of the longer side), moved by `stride` (half a window); overlapping squares are averaged.
    """
    channels, height, width = images.shape[1:]
    window = min(window or max(2, max(height, width) // 8), height, width)
    stride = min(stride or max(1, window // 2), window)
    places = bounded("window", -(-(height - window) // stride) + 1) * (-(-(width - window) // stride) + 1) + 1
    score, images, logits, targets = prepare(model, images, target, places, progress)
    found = Occlusion(score).attribute(
        images,
        sliding_window_shapes=(channels, window, window),
        strides=(channels, stride, stride),
        baselines=baseline_images(images, baseline),
        additional_forward_args=targets.weights,
        perturbations_per_eval=max(1, internal_batch_size // len(images)),
    )
    return positive_maps(found / channels, logits, targets)


def superpixels(image: torch.Tensor, segments: int) -> torch.Tensor:
    """About `segments` SLIC superpixels of one image (C, h, w), numbered from 0: int64 (h, w) (Achanta et al. 2012)."""
    gray = image.float().mean(0)
    gray = ((gray - gray.amin()) / (gray.amax() - gray.amin()).clamp_min(1e-8)).cpu().numpy()
    labels = slic(gray, n_segments=segments, compactness=0.1, channel_axis=None, start_label=0)
    _, numbers = np.unique(labels, return_inverse=True)
    return torch.from_numpy(numbers.reshape(labels.shape)).long().to(image.device)


@torch.no_grad()
def run_superpixels(
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    *,
    progress: Progress | None = None,
    segments: int = 50,
    internal_batch_size: int = 16,
    baseline: str | torch.Tensor = "mean",
) -> RawMaps:
    """Feature ablation: the score's fall when one superpixel is covered."""
    score, images, logits, targets = prepare(model, images, target, bounded("segments", segments) + 1, progress)
    covers, maps = baseline_images(images, baseline), []
    for index in range(len(images)):
        mask = superpixels(images[index], segments)
        found = FeatureAblation(score).attribute(
            images[index : index + 1],
            covers[index : index + 1],
            feature_mask=mask[None, None],
            additional_forward_args=targets.weights[index : index + 1],
            perturbations_per_eval=internal_batch_size,
        )
        maps.append(found / images.shape[1])
    return positive_maps(torch.cat(maps), logits, targets)


@torch.no_grad()
def run_lime(
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    *,
    progress: Progress | None = None,
    segments: int = 50,
    samples: int = 256,
    internal_batch_size: int = 16,
    baseline: str | torch.Tensor = "mean",
    seed: int = 0,
) -> RawMaps:
    """LIME: a ridge regression of the score on which superpixels are there (Ribeiro et al. 2016, eq. 1, arXiv
    1602.04938)."""
    bounded("segments", segments)
    score, images, logits, targets = prepare(model, images, target, bounded("samples", samples) + 1, progress)
    covers, maps = baseline_images(images, baseline), []
    for index in range(len(images)):
        image, cover, mask = images[index : index + 1], covers[index : index + 1], superpixels(images[index], segments)
        coefficients = _lime(
            score, image, cover, mask, targets.weights[index : index + 1], samples, internal_batch_size, seed
        )
        maps.append(coefficients.to(image)[mask])  # (h, w)
    return RawMaps(torch.stack(maps).relu(), logits, targets)


def _lime(
    score: Score,
    image: torch.Tensor,
    cover: torch.Tensor,
    mask: torch.Tensor,
    weights: torch.Tensor,
    samples: int,
    at_once: int,
    seed: int,
) -> torch.Tensor:
    """One coefficient for each superpixel of one image, by Captum's LimeBase with an explicit generator."""
    count, generator = int(mask.max()) + 1, torch.Generator().manual_seed(seed)

    def draw(*_: object, **__: object) -> Iterator[torch.Tensor]:
        while True:
            yield (torch.rand(1, count, generator=generator) < 0.5).float()

    def show(present: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return torch.where(present[0].bool().to(mask.device)[mask], image, cover)

    def similarity(_: torch.Tensor, __: torch.Tensor, present: torch.Tensor, **___: object) -> torch.Tensor:
        distance = 1 - present.mean().sqrt()  # the cosine distance from the vector of ones
        return torch.exp(-((distance / LIME_WIDTH) ** 2))

    lime = LimeBase(lambda shown: score(shown, weights), SkLearnRidge(alpha=1.0), similarity, draw, True, show, None)
    with seeded(seed):  # Captum's data loader draws from torch's own generator
        found = lime.attribute(image, n_samples=samples, perturbations_per_eval=at_once)
    return torch.as_tensor(found).flatten().float()
