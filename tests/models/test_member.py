"""What a config says of a network of an ensemble."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from hf_pneumo.models.member import Member

MEMBER = Member("a", "resnet18", 0.5, 1.2, (0.5,) * 3, (0.25,) * 3, model_args={"in_chans": 3}, cam_offset=(1.0, -2.0))


def test_there_and_back_through_json():
    assert Member.from_dict(json.loads(json.dumps(asdict(MEMBER)))) == MEMBER


def test_a_damaged_one_names_the_place():
    with pytest.raises(ValueError, match="it is no Member: .*weight"):
        Member.from_dict(asdict(MEMBER) | {"weight": "half"})
