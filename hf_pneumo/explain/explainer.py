"""One call for every method: images in, explanations out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from hf_pneumo.explain.ensemble import explain_members
from hf_pneumo.explain.explanation import EVEN, Explanation, Offset
from hf_pneumo.explain.raw_maps import RawMaps, make_explanations, upsample
from hf_pneumo.explain.registry import Method, find
from hf_pneumo.explain.replica import unwrap
from hf_pneumo.explain.target import Target, Targets, per_image
from hf_pneumo.models.ensemble import Ensemble

SMOOTHINGS = ("none", "flips", "shifts", "flips+shifts")
TINY = 1e-12  # a map below it is zero
SHIFT = 1 / 28  # of the image's side: 8 pixels at 224, a quarter of a 32-pixel cell

Progress = Callable[[float], None]


def explain(
    model: nn.Module,
    images: torch.Tensor,
    *,
    method: str = "gradcam",
    target: Target = None,
    layer: str | None = None,
    smoothing: str = "none",
    sizes: Sequence[int] = (),
    batch_size: int = 32,
    offset: Offset = EVEN,
    progress: Progress | None = None,
    **options: object,
) -> list[Explanation]:
    """Explain what a network sees in preprocessed images (B, C, h, w), float: one Explanation for each.

    method: a name of `methods()`; `options` are that method's own.
    target: None (the predicted class), an index, a label, "not LABEL", a tuple of two for a contrast, or a list with
        one of these for each image. With one logit z, class 1 has the score z and class 0 has -z.
    layer: dotted module name for CAM methods, or "strideN" for the last stage of that stride; None finds the right one.
    smoothing: "flips", "shifts" or "flips+shifts" averages the maps of 2, 5 or 10 mirrored and shifted views, at as
        many times the cost.
    sizes: longer sides in pixels at which the images are shown to the network, which must take them; the map is the
        mean over them, each divided by its maximum. Images of the largest size hold the detail for all. The logits are
        those at the first size.
    offset: pixels (down, right) by which the cells of the layer that is read look beside their even places, as
        `cell_offset` measures it; methods that read no layer take no notice, and of an ensemble each member's record
        says it.
    batch_size: images explained at once. progress: called with the share done, from 0 to 1.

    Each Explanation carries the logits of the pass it was computed from, so a prediction costs nothing more. The
    network is never changed, and may be used by other threads meanwhile. An ensemble's map is the weighted mean of its
    members'.
    Raises ValueError or TypeError for a wrong argument, ZeroGradientError (a ValueError) for a layer without gradient.
    """
    chosen = find(method)
    _check(chosen, images, layer, smoothing, sizes, batch_size, options)
    views = views_of(smoothing, sizes)
    if layer is not None:
        options = {**options, "layer": layer}
    offset = offset if chosen.accepts("layer") else EVEN
    network = unwrap(model)
    with torch.inference_mode(False):  # a caller may be inside inference_mode, whose tensors cannot enter a graph
        images = _like_weights(network, images)
        if isinstance(network, Ensemble):
            share = 1 / len(network.networks)

            def one(number: int, member: nn.Module, inputs: torch.Tensor, wanted: Target) -> list[Explanation]:
                inner = _portion(progress, number * share, share)
                known = chosen.accepts("layer") and layer is None  # of another layer, nobody measured it
                aside = network.records[number].cam_offset if known else EVEN
                return _explain_all(chosen, member, inputs, wanted, views, aside, batch_size, inner, options)

            found = explain_members(one, network, images, target, chosen.name)
        else:
            found = _explain_all(chosen, model, images, target, views, offset, batch_size, progress, options)
    return found if smoothing == "none" else [replace(own, smoothing=smoothing) for own in found]


def _explain_all(
    method: Method,
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    views: Sequence[View],
    offset: Offset,
    batch_size: int,
    progress: Progress | None,
    options: dict,
) -> list[Explanation]:
    targets = target if isinstance(target, (str, int, tuple)) or target is None else per_image(target, len(images))
    found: list[Explanation] = []
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        part_target = targets[start : start + batch_size] if isinstance(targets, list) else targets
        inner = _portion(progress, start / len(images), len(part) / len(images))
        found += _explain_batch(method, model, part, part_target, views, offset, inner, options)
    if progress:
        progress(1.0)
    return found


def _check(
    method: Method,
    images: torch.Tensor,
    layer: str | None,
    smoothing: str,
    sizes: Sequence[int],
    batch_size: int,
    options: dict,
) -> None:
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        raise TypeError(
            "`images` must be a float tensor (B, C, h, w) as Preprocess.to_tensor makes it, not "
            f"{images.dtype if isinstance(images, torch.Tensor) else type(images).__name__}."
        )
    if images.ndim != 4 or not len(images):
        raise ValueError(f"`images` has shape {tuple(images.shape)}; give at least one image as (B, C, h, w).")
    # The sum is finite if every value is, and costs a fraction of looking at each.
    if not torch.isfinite(images.sum(dtype=torch.float32)) and not torch.isfinite(images).all():
        raise ValueError("`images` holds NaN or infinite values; no explanation of them means anything.")
    if smoothing not in SMOOTHINGS:
        raise ValueError(f"`smoothing` {smoothing!r} is unknown; allowed are {', '.join(SMOOTHINGS)}.")
    if any(side < 1 for side in sizes):
        raise ValueError(f"`sizes` is {tuple(sizes)}; give sides in pixels, each at least 1.")
    if batch_size < 1:
        raise ValueError(f"`batch_size` is {batch_size}; give at least 1.")
    if layer is not None and not method.accepts("layer"):
        raise ValueError(f"`layer` has no meaning for {method.name!r}, which reads no single layer; leave it out.")
    unknown = [name for name in options if name not in method.options]
    if unknown:
        allowed = f"its options are {', '.join(method.options)}" if method.options else "it has none"
        raise TypeError(f"`{unknown[0]}` is no option of method {method.name!r}; {allowed}.")


def _like_weights(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Images on the device of the weights and, outside autocast, in their precision."""
    weight = next((value for value in model.parameters() if value.is_floating_point()), None)
    images = images.clone() if images.is_inference() else images
    if weight is None:
        return images
    dtype = images.dtype if torch.is_autocast_enabled(weight.device.type) else weight.dtype
    return images.to(weight.device, dtype)


def _portion(progress: Progress | None, start: float, share: float) -> Progress | None:
    return None if progress is None else lambda done: progress(start + share * done)


def _explain_batch(
    method: Method,
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    views: Sequence[View],
    offset: Offset,
    progress: Progress | None,
    options: dict,
) -> list[Explanation]:
    size = tuple(images.shape[-2:])
    options = {**options, "offset": offset} if method.accepts("offset") else options

    def maps_of(number: int, target: Target | Targets) -> RawMaps:
        steps = _portion(progress, number / len(views), 1 / len(views))
        inner = {"progress": steps} if method.accepts("progress") else {}
        return method.run(model, views[number].of(images), target, **inner, **options)

    raw, pixels = maps_of(0, target), None
    if len(views) > 1 or views[0].side:
        # The first view's targets are all views': the class that it predicts, say.
        maps = [raw.maps, *(maps_of(number, raw.targets).maps for number in range(1, len(views)))]
        laid = [view.laid_back(grid.detach().float(), size, offset) for view, grid in zip(views, maps, strict=True)]
        pixels = torch.stack(laid).mean(0)
        grid = F.adaptive_avg_pool2d(pixels[:, None], raw.maps.shape[-2:])[:, 0]
        raw = replace(raw, maps=grid)
    return make_explanations(
        raw, size, method.name, signed=method.signed, quantile=method.quantile, pixels=pixels, offset=offset
    )


@dataclass(frozen=True)
class View:
    """One way to show the images: at a ``side`` (None: their own), mirrored, and shifted by shares of the side."""

    side: int | None = None
    flip: bool = False
    down: float = 0.0
    right: float = 0.0

    def shape(self, size: tuple[int, int]) -> tuple[int, int]:
        """The height and width of images of ``size`` as they are shown."""
        scale = self.side / max(size) if self.side else 1
        return max(1, round(scale * size[0])), max(1, round(scale * size[1]))

    def steps(self, size: tuple[int, int]) -> tuple[int, int]:
        """The shift in whole pixels of images of ``size``, at least one where there is any."""
        return _pixels(self.down, size[0]), _pixels(self.right, size[1])

    def of(self, images: torch.Tensor) -> torch.Tensor:
        """The images (B, C, h, w) as they are shown."""
        size = self.shape(tuple(images.shape[-2:]))
        if size != tuple(images.shape[-2:]):
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        return shifted(images.flip(-1) if self.flip else images, *self.steps(size))

    def laid_back(self, maps: torch.Tensor, size: tuple[int, int], offset: Offset) -> torch.Tensor:
        """Raw maps (B, gh, gw) of this view over the images themselves (B, h, w); of a side, its maximum is 1."""
        shown = self.shape(size)
        pixels = upsample(maps, shown, offset)
        pixels = shifted(pixels, *(-step for step in self.steps(shown)))
        pixels = upsample(pixels.flip(-1) if self.flip else pixels, size)
        return pixels / pixels.amax((1, 2), keepdim=True).clamp_min(TINY) if self.side else pixels


def _pixels(share: float, side: int) -> int:
    """A share of a side in whole pixels, at least one in its direction."""
    return round(share * side) or (share > 0) - (share < 0)


def views_of(smoothing: str, sizes: Sequence[int]) -> list[View]:
    """All views of a smoothing at all sizes; the plain one at the first size comes first."""
    shifts = [(0, 0), (SHIFT, 0), (-SHIFT, 0), (0, SHIFT), (0, -SHIFT)] if "shifts" in smoothing else [(0, 0)]
    flips = (False, True) if "flips" in smoothing else (False,)
    return [View(side, flip, *shift) for side in (sizes or (None,)) for flip in flips for shift in shifts]


def shifted(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Move (..., h, w) by whole pixels, the edge repeated behind it."""
    if not down and not right:
        return images
    rows = (torch.arange(images.shape[-2], device=images.device) - down).clamp(0, images.shape[-2] - 1)
    columns = (torch.arange(images.shape[-1], device=images.device) - right).clamp(0, images.shape[-1] - 1)
    return images.index_select(-2, rows).index_select(-1, columns)
