"""Pneumonia screening and weakly supervised localization from chest X-rays, on the Hugging Face stack."""

from hf_pneumo.data.sources import load_xrays
from hf_pneumo.explain import explain
from hf_pneumo.imaging.reader import Xray, XrayReadError, read_xray
from hf_pneumo.models.checkpoint import Checkpoint, load
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.serving.outcome import Finding, NotJudged
from hf_pneumo.serving.predictor import Predictor

__version__ = "0.1.0"
__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Finding",
    "NotJudged",
    "Predictor",
    "Xray",
    "XrayReadError",
    "explain",
    "load",
    "load_xrays",
    "read_xray",
]
