"""Evidence: why a network gave an image its score, as a heatmap, by one call for every method and every backbone."""

from hf_pneumo.explain.anatomy import within_lungs
from hf_pneumo.explain.boxes import Box, boxes
from hf_pneumo.explain.cam import CamPass, cam_pass
from hf_pneumo.explain.catalogue import Method, methods
from hf_pneumo.explain.explainer import explain
from hf_pneumo.explain.explanation import Explanation
from hf_pneumo.explain.layer import ZeroGradientError
from hf_pneumo.explain.placement import cell_offset

__all__ = [
    "Box", "CamPass", "Explanation", "Method", "ZeroGradientError", "boxes", "cam_pass", "cell_offset", "explain",
    "methods", "within_lungs",
]  # fmt: skip
