"""CheXpert's fourteen observations."""

from __future__ import annotations

from hf_pneumo.data.observations import CHEXPERT_14, NO_FINDING, PARENT, SUPPORT_DEVICES


def test_there_are_fourteen_each_once():
    assert len(CHEXPERT_14) == len(set(CHEXPERT_14)) == 14 and {NO_FINDING, SUPPORT_DEVICES} <= set(CHEXPERT_14)


def test_parents_are_observations_and_lead_to_a_root():
    for child in PARENT:
        way = [child]
        while way[-1] in PARENT:
            assert PARENT[way[-1]] in CHEXPERT_14 and PARENT[way[-1]] not in way
            way.append(PARENT[way[-1]])
