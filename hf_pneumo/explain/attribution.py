"""Pixel attribution through Captum: which pixels, changed, would change the score.

Every method runs on a replica of the network, with bounded work and memory, and gives maps of the input's own size: the
sum over the colour channels, of which the positive part, the evidence for the target, is shown.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import timm.layers
import torch
import torch.nn.functional as F
from captum.attr import (
    DeepLift,
    GradientShap,
    IntegratedGradients,
    NoiseTunnel,
    Saliency,
)
from torch import nn

from hf_pneumo.explain.raw_maps import RawMaps
from hf_pneumo.explain.replica import replicate, unwrap
from hf_pneumo.explain.target import Target, Targets, label_names, resolve

Progress = Callable[[float], None]
BASELINES = ("dark", "mean", "blur", "zero")
MOST = 10_000  # more passes than this is a slip of the finger

# Elementwise activations that Captum's DeepLIFT does not know by type.
_ACTIVATIONS = tuple(
    {
        nn.ReLU6,
        nn.Hardtanh,
        nn.SiLU,
        nn.GELU,
        nn.Hardswish,
        nn.Hardsigmoid,
        nn.Mish,
        nn.SELU,
        nn.CELU,
        *(
            getattr(timm.layers, name)
            for name in (
                "Swish",
                "Mish",
                "Sigmoid",
                "Tanh",
                "HardSwish",
                "HardSigmoid",
                "HardMish",
                "GELU",
                "GELUTanh",
                "QuickGELU",
            )
            if hasattr(timm.layers, name)
        ),
    }
)
warnings.filterwarnings(
    "ignore", message=r"(?s).*Setting forward, backward hooks and attributes on non-linear", module=r"captum\..*"
)
_GLOBAL_RANDOM = threading.Lock()  # Captum draws from the process-wide generators


class Score(nn.Module):
    """Images (B, C, h, w) and target weights (B, K) to scores (B,), reporting progress by the images that went
    through."""

    def __init__(self, model: nn.Module, total: int, progress: Progress | None) -> None:
        super().__init__()
        self.model, self.total, self.progress, self.done = model, total, progress, 0

    def forward(self, images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        scores = (self.model(images).float() * weights).sum(1)
        self.done += len(images)
        if self.progress:
            self.progress(min(1.0, self.done / self.total))
        return scores


def prepare(
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    total: int,
    progress: Progress | None,
    change: Callable | None = None,
) -> tuple[Score, torch.Tensor, torch.Tensor, Targets]:
    """The score as a function, plain images, the logits and the targets; `total` passes an image are expected."""
    model = replicate(unwrap(model), change)
    images = images.detach().clone()
    with torch.no_grad():
        logits = model(images).float()
    targets = resolve(target, logits, label_names(model, logits.shape[1]))
    return Score(model, max(1, total * len(images)), progress), images, logits, targets


def baseline_images(images: torch.Tensor, kind: str | torch.Tensor) -> torch.Tensor:
    """What "nothing there" looks like: each film's darkest value, its mean, its blur (sigma 1/16 of the side), or
    zero."""
    if isinstance(kind, torch.Tensor):
        return kind.to(images).expand_as(images)
    if kind == "dark":
        return images.amin((2, 3), keepdim=True).expand_as(images)
    if kind == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if kind == "zero":
        return torch.zeros_like(images)
    if kind == "blur":
        return _blur(images, max(images.shape[-2:]) / 16)
    raise ValueError(f"`baseline` {kind!r} is unknown; allowed are {', '.join(BASELINES)} or a tensor.")


def _blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    for axis in (2, 3):
        radius = min(int(3 * sigma), images.shape[axis] - 1)
        offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        kernel = (
            (kernel / kernel.sum()).view(1, 1, *((-1, 1) if axis == 2 else (1, -1))).repeat(images.shape[1], 1, 1, 1)
        )
        padding = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        images = F.conv2d(F.pad(images, padding, mode="reflect"), kernel, groups=images.shape[1])
    return images


def bounded(name: str, value: int) -> int:
    if not 1 <= value <= MOST:
        raise ValueError(f"`{name}` is {value}; give 1 to {MOST}.")
    return int(value)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The process-wide generators of torch and numpy set to a seed for one block, then put back."""
    with _GLOBAL_RANDOM, torch.random.fork_rng():
        state = np.random.get_state()
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)


def positive_maps(
    attributions: torch.Tensor, logits: torch.Tensor, targets: Targets, deltas: torch.Tensor | None = None
) -> RawMaps:
    return RawMaps(attributions.detach().sum(1).relu(), logits, targets, deltas=deltas)


def run_integrated_gradients(
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    *,
    progress: Progress | None = None,
    steps: int = 32,
    internal_batch_size: int = 16,
    baseline: str | torch.Tensor = "dark",
) -> RawMaps:
    """Integrated Gradients (Sundararajan et al. 2017, eq. 1, arXiv 1703.01365), `steps` Gauss-Legendre points."""
    score, images, logits, targets = prepare(model, images, target, bounded("steps", steps) + 2, progress)
    with torch.enable_grad():
        found, delta = IntegratedGradients(score).attribute(
            images.requires_grad_(),
            baseline_images(images.detach(), baseline),
            additional_forward_args=targets.weights,
            n_steps=steps,
            internal_batch_size=max(internal_batch_size, len(images)),
            return_convergence_delta=True,
        )
    return positive_maps(found, logits, targets, delta)


def run_gradient_shap(
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    *,
    progress: Progress | None = None,
    samples: int = 16,
    stdev: float = 0.1,
    internal_batch_size: int = 16,
    baseline: str | torch.Tensor = "dark",
    seed: int = 0,
) -> RawMaps:
    """GradientSHAP (Lundberg and Lee 2017, arXiv 1705.07874; as in Erion et al. 2019): gradients at random points
    between the baseline and the noisy image, `stdev` in the image's own units."""
    score, images, logits, targets = prepare(model, images, target, 3 * bounded("samples", samples), progress)
    references = baseline_images(images, baseline)
    total, deltas = torch.zeros_like(images), torch.zeros(len(images), device=images.device)
    with seeded(seed), torch.enable_grad():
        for index in range(len(images)):
            one = slice(index, index + 1)
            for start in range(0, samples, internal_batch_size):
                count = min(internal_batch_size, samples - start)
                found, delta = GradientShap(score).attribute(
                    images[one].requires_grad_(),
                    references[one],
                    n_samples=count,
                    stdevs=float(stdev),
                    additional_forward_args=targets.weights[one],
                    return_convergence_delta=True,
                )
                total[one] += found.detach() * (count / samples)
                deltas[index] += float(delta.mean()) * (count / samples)
    return positive_maps(total, logits, targets, deltas)


class MaxByReLU(nn.Module):
    """Max pooling as max(a, b) = b + ReLU(a - b), row-wise then column-wise.

    Captum's own rule for max pooling loses contributions where windows overlap, as in ResNet's stem; this form is
    exact.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = (
            _pair(value) for value in (pool.kernel_size, pool.stride, pool.padding)
        )
        self.larger = nn.ModuleList(nn.ReLU() for _ in range(sum(self.kernel) - 2))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        (top, left), larger = self.padding, iter(self.larger)
        maps = F.pad(
            maps, (left, left, top, top), mode="replicate"
        )  # an edge's copies never exceed their window's maximum
        for axis in (2, 3):
            kernel, stride = self.kernel[axis - 2], self.stride[axis - 2]
            count = (maps.shape[axis] - kernel) // stride + 1
            shifted = [maps.narrow(axis, offset, (count - 1) * stride + 1) for offset in range(kernel)]
            shifted = [part[:, :, ::stride] if axis == 2 else part[:, :, :, ::stride] for part in shifted]
            maps = shifted[0]
            for part in shifted[1:]:
                maps = maps + next(larger)(part - maps)
        return maps


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second


def _for_deeplift(name: str, module: nn.Module) -> nn.Module | None:
    """DeepLIFT needs every activation's input intact, and knows elementwise activations by their exact type."""
    if getattr(module, "inplace", False) is True:
        module.inplace = False
    if type(module) is nn.MaxPool2d and not module.ceil_mode and _pair(module.dilation) == (1, 1):
        return MaxByReLU(module).eval()
    if isinstance(module, _ACTIVATIONS):
        stand_in = nn.Tanh()
        stand_in.forward = (
            module.forward
        )  # the rescale rule of any elementwise function, at the type that Captum looks for
        return stand_in.eval()
    return None


def run_deeplift(
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    *,
    progress: Progress | None = None,
    baseline: str | torch.Tensor = "dark",
) -> RawMaps:
    """DeepLIFT, rescale rule (Shrikumar et al. 2017, section 3.5.1, arXiv 1704.02685)."""
    score, images, logits, targets = prepare(model, images, target, 6, progress, _for_deeplift)
    with torch.enable_grad():
        found, delta = DeepLift(score).attribute(
            images.requires_grad_(),
            baseline_images(images.detach(), baseline).clone(),
            additional_forward_args=targets.weights,
            return_convergence_delta=True,
        )
    return positive_maps(found, logits, targets, delta)


def run_smoothgrad(
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    *,
    progress: Progress | None = None,
    samples: int = 16,
    noise: float = 0.15,
    internal_batch_size: int = 16,
    seed: int = 0,
) -> RawMaps:
    """SmoothGrad: magnitude of the gradient averaged over noisy images, the noise's deviation a share of the batch's
    range (Smilkov et al. 2017, eq. 1, arXiv 1706.03825)."""
    score, images, logits, targets = prepare(model, images, target, bounded("samples", samples), progress)
    deviation = float(noise * (images.amax() - images.amin()))
    with seeded(seed), torch.enable_grad():
        found = NoiseTunnel(Saliency(score)).attribute(
            images.requires_grad_(),
            nt_samples=samples,
            nt_samples_batch_size=max(1, internal_batch_size // len(images)),
            stdevs=deviation,
            abs=False,
            additional_forward_args=targets.weights,
        )
    return RawMaps(found.detach().sum(1).abs(), logits, targets)
