"""Evidence: why a network gave an image its score, as a heatmap, by one call for every method and every backbone."""

from hf_pneumo.explain.box import Box, boxes
from hf_pneumo.explain.cam import CamPass, cam_pass
from hf_pneumo.explain.explainer import explain
from hf_pneumo.explain.explanation import Explanation
from hf_pneumo.explain.layer import ZeroGradientError
from hf_pneumo.explain.lung_masking import within_lungs
from hf_pneumo.explain.receptive_field import cell_offset
from hf_pneumo.explain.registry import Method, methods

__all__ = [
    "Box", "CamPass", "Explanation", "Method", "ZeroGradientError", "boxes", "cam_pass", "cell_offset", "explain",
    "methods", "within_lungs",
]  # fmt: skip
