"""What a checkpoint says of its films and its training, old records and new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hf_pneumo.models.training_record import DataRecord, TeacherRecord, TrainingRecord

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted({*ROOT.glob("space/checkpoints/*/config.json"), *ROOT.glob("results/**/config.json")})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_every_committed_record_is_read_and_nothing_of_it_is_lost(path):
    block = json.loads(path.read_text(encoding="utf-8"))["hf_pneumo"]
    for kind, stored in ((DataRecord, block["data"]), (TrainingRecord, block["training"])):
        record = kind.from_json(stored)
        assert record.to_json() == {name: value for name, value in stored.items() if value is not None}
        assert kind.from_json(record.to_json()) == record


def test_the_origin_names_the_weights_and_who_taught():
    assert TrainingRecord().origin == "not recorded"
    taught = TrainingRecord(initial_weights="random", teacher=TeacherRecord("big", "resnet50", "ImageNet"))
    assert taught.origin == "random, taught by resnet50 from ImageNet"


def test_facts_are_what_is_there_beside_command_note_and_versions():
    record = TrainingRecord(command="train", note="n", versions={"torch": "2"}, weighting="uniform", parameters=7)
    assert record.facts == {"weighting": "uniform", "parameters": 7}


def test_a_damaged_record_names_the_place():
    with pytest.raises(ValueError, match=r"it is no DataRecord: .*films"):
        DataRecord.from_json({"films": {"train": "many"}})
