"""Evidence: why a network gave an image its score, as a heatmap, by one call for every method and every backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_pneumo.lazy import lazy_face

if TYPE_CHECKING:
    from hf_pneumo.explain.box import Box as Box
    from hf_pneumo.explain.box import boxes as boxes
    from hf_pneumo.explain.cam import CamPass as CamPass
    from hf_pneumo.explain.cam import cam_pass as cam_pass
    from hf_pneumo.explain.explainer import explain as explain
    from hf_pneumo.explain.explanation import Explanation as Explanation
    from hf_pneumo.explain.explanation import ZeroGradientError as ZeroGradientError
    from hf_pneumo.explain.lung_masking import within_lungs as within_lungs
    from hf_pneumo.explain.receptive_field import cell_offset as cell_offset
    from hf_pneumo.explain.registry import Method as Method
    from hf_pneumo.explain.registry import methods as methods

# Boxes need no torch, and who reads the rows of an archive has use for them alone.
_MODULES = {
    "Box": "box",
    "CamPass": "cam",
    "Explanation": "explanation",
    "Method": "registry",
    "ZeroGradientError": "explanation",
    "boxes": "box",
    "cam_pass": "cam",
    "cell_offset": "receptive_field",
    "explain": "explainer",
    "methods": "registry",
    "within_lungs": "lung_masking",
}
__all__ = [
    "Box",
    "CamPass",
    "Explanation",
    "Method",
    "ZeroGradientError",
    "boxes",
    "cam_pass",
    "cell_offset",
    "explain",
    "methods",
    "within_lungs",
]

__getattr__, __dir__ = lazy_face(__name__, _MODULES)
