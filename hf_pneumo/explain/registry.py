"""The methods by name: what each costs, what it needs, and the function that computes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hf_pneumo.explain.raw_maps import RawMaps

PIXELS = 0.99  # pixel-level maps are shown up to this quantile: a few hot pixels would blacken the rest
_COMMON = {"formula", "model", "images", "target", "layer", "offset", "progress"}


@dataclass(frozen=True)
class Method:
    """One way to explain.

    cost: "quick" (about one prediction), "moderate" (tens of them), "slow" (hundreds).
    family: "cam", "attention" (plain vision transformers only) or "attribution".
    class_specific: whether the map depends on the target at all.
    signed: the map has negative evidence and is min-max scaled. quantile: see `explanation.scale`.
    where: "module.function" of this package that computes it, imported with torch when it is first run: the names,
    titles and costs are there without. formula: of the gradient-based ones, the function of that module.
    """

    name: str
    title: str
    cost: str
    family: str
    where: str
    formula: str = ""
    class_specific: bool = True
    signed: bool = False
    quantile: float = 1.0

    @cached_property
    def run(self) -> Callable[..., RawMaps]:
        """What computes the maps."""
        module, _, function = self.where.partition(".")
        found = import_module(f"hf_pneumo.explain.{module}")
        run = getattr(found, function)
        return partial(run, getattr(found, self.formula)) if self.formula else run

    @cached_property
    def _parameters(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.run).parameters)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the method's own keyword options."""
        return tuple(name for name in self._parameters if name not in _COMMON)

    def accepts(self, name: str) -> bool:
        """Whether the method takes a keyword of this name, such as "layer", "offset" or "progress"."""
        return name in self._parameters


def _gradient_cam(name: str, title: str, formula: str) -> Method:
    return Method(name, title, "quick", "cam", "cam.run_gradient_cam", formula)


_METHODS = (
    _gradient_cam("gradcam", "Grad-CAM", "gradcam"),
    _gradient_cam("gradcam++", "Grad-CAM++", "gradcam_plus_plus"),
    _gradient_cam("hirescam", "HiResCAM", "hirescam"),
    _gradient_cam("layercam", "LayerCAM", "layercam"),
    _gradient_cam("xgradcam", "XGrad-CAM", "xgradcam"),
    Method("eigencam", "Eigen-CAM", "quick", "cam", "cam.run_eigencam", class_specific=False),
    Method("cam", "CAM", "quick", "cam", "cam.run_cam", signed=True),
    Method("rollout", "Attention rollout", "quick", "attention", "attention.run_rollout", class_specific=False),
    Method("relevance", "Gradient-weighted attention", "quick", "attention", "attention.run_relevance"),
    Method("legrad", "LeGrad", "quick", "attention", "attention.run_legrad"),
    Method("deeplift", "DeepLIFT", "quick", "attribution", "attribution.run_deeplift", quantile=PIXELS),
    Method("smoothgrad", "SmoothGrad", "moderate", "attribution", "attribution.run_smoothgrad", quantile=PIXELS),
    Method(
        "integrated_gradients",
        "Integrated Gradients",
        "moderate",
        "attribution",
        "attribution.run_integrated_gradients",
        quantile=PIXELS,
    ),
    Method(
        "gradient_shap", "GradientSHAP", "moderate", "attribution", "attribution.run_gradient_shap", quantile=PIXELS
    ),
    Method("superpixels", "Superpixel ablation", "moderate", "attribution", "perturbation.run_superpixels"),
    Method("occlusion", "Occlusion", "slow", "attribution", "perturbation.run_occlusion"),
    Method("lime", "LIME", "slow", "attribution", "perturbation.run_lime"),
    Method("scorecam", "Score-CAM", "slow", "cam", "cam.run_scorecam"),
)


def methods() -> dict[str, Method]:
    """Every method by name, quick ones first; `Method.cost` is its cost class."""
    return {method.name: method for method in _METHODS}


def find(name: str) -> Method:
    """The method of that name. Raises ValueError listing the names there are."""
    known = methods()
    if name not in known:
        raise ValueError(f"`method` {name!r} is unknown; allowed are {', '.join(known)}.")
    return known[name]
