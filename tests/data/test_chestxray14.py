"""What ChestX-ray14's findings say about CheXpert's observations."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.data.chestxray14 import NIH_FINDINGS, nih_labels, parse_findings
from hf_pneumo.data.observations import CHEXPERT_14


def value(name: str, *findings: str) -> float:
    return float(nih_labels(findings)[CHEXPERT_14.index(name)])


def test_a_list_is_taken_apart():
    assert parse_findings(" Mass | Nodule ") == ("Mass", "Nodule") and parse_findings("") == ()


def test_a_part_of_an_observation_carries_over():
    assert value("Lung Lesion", "Nodule") == 1 and value("Lung Lesion", "Effusion") == 0
    assert value("Pleural Effusion", "effusion") == 1


def test_what_nih_never_labelled_is_unknown_and_so_is_the_opacity_of_a_consolidation():
    assert np.isnan(value("Fracture", "Mass")) and np.isnan(value("Lung Opacity", "Consolidation"))
    assert value("Lung Opacity", "Consolidation", "Infiltration") == 1 and value("Lung Opacity", "Effusion") == 0


def test_another_word_is_refused_with_those_that_there_are():
    assert len(NIH_FINDINGS) == 15
    with pytest.raises(ValueError, match="Cough.*Atelectasis"):
        nih_labels(("Cough",))
