"""The fourteen observations of CheXpert and the values a report or a label file gives them.

Irvin et al. 2019, "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison"
(arXiv 1901.07031), table 1 and figure 1.
"""

from __future__ import annotations

from hf_pneumo.data.labels import CHEXPERT as CHEXPERT_14

__all__ = ["CHEXPERT_14", "NEGATIVE", "NO_FINDING", "PARENT", "POSITIVE", "SUPPORT_DEVICES", "UNCERTAIN"]

NO_FINDING = "No Finding"
SUPPORT_DEVICES = "Support Devices"

POSITIVE = 1
NEGATIVE = 0
UNCERTAIN = -1
# A blank, "not mentioned", is NaN in arrays and an empty cell in files.

# Figure 1 of the paper: a present child implies its parent. Consolidation is itself the parent of Pneumonia.
PARENT: dict[str, str] = {
    "Cardiomegaly": "Enlarged Cardiomediastinum",
    "Lung Lesion": "Lung Opacity",
    "Edema": "Lung Opacity",
    "Consolidation": "Lung Opacity",
    "Pneumonia": "Consolidation",
    "Atelectasis": "Lung Opacity",
}
