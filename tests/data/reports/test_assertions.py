"""Groups of cues: negation, doubt and what reaches how far."""

from __future__ import annotations

from hf_pneumo.data.observations import NEGATIVE, UNCERTAIN
from hf_pneumo.data.reports.assertions import assertion_groups


def test_groups_say_absent_uncertain_or_nothing():
    groups = assertion_groups()
    assert {NEGATIVE, UNCERTAIN} <= {group.says for group in groups.values()}
    assert all(group.within >= 0 for group in groups.values())


def test_no_cue_of_a_group_stands_twice():
    for name, group in assertion_groups().items():
        for kind, cues in group.termset.items():
            assert len(cues) == len(set(cues)), (name, kind)
