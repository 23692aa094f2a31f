"""Pneumonia screening and weakly supervised localization from chest X-rays, on the Hugging Face stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_pneumo.lazy import lazy_face

if TYPE_CHECKING:
    from hf_pneumo.data.sources import load_xrays as load_xrays
    from hf_pneumo.imaging.reader import Xray as Xray
    from hf_pneumo.imaging.reader import XrayReadError as XrayReadError
    from hf_pneumo.imaging.reader import read_xray as read_xray
    from hf_pneumo.models.checkpoint import Checkpoint as Checkpoint
    from hf_pneumo.models.checkpoint import load as load
    from hf_pneumo.models.hub_download import CheckpointError as CheckpointError
    from hf_pneumo.serving.outcome import Finding as Finding
    from hf_pneumo.serving.outcome import NotJudged as NotJudged
    from hf_pneumo.serving.predictor import Predictor as Predictor

__version__ = "0.2.0"

# The public face: each name and the module that holds it, imported when the name is first asked for (PEP 562). The
# methods' own call is `hf_pneumo.explain.explain`: a name here must not hide a subpackage.
_MODULES = {
    "Checkpoint": "models.checkpoint",
    "CheckpointError": "models.hub_download",
    "Finding": "serving.outcome",
    "NotJudged": "serving.outcome",
    "Predictor": "serving.predictor",
    "Xray": "imaging.reader",
    "XrayReadError": "imaging.reader",
    "load": "models.checkpoint",
    "load_xrays": "data.sources",
    "read_xray": "imaging.reader",
}
__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Finding",
    "NotJudged",
    "Predictor",
    "Xray",
    "XrayReadError",
    "load",
    "load_xrays",
    "read_xray",
]


__getattr__, __dir__ = lazy_face(__name__, _MODULES)
