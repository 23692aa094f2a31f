"""The settings of a run: what does not fit is refused before anything is read."""

from __future__ import annotations

import pytest

from hf_pneumo.training.config import RENAMED, TrainConfig, present_names, weights_name


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"choose_by": "luck"}, "`choose_by` is 'luck'"),
        ({"task": "multilabel", "choose_by": "accuracy"}, "`choose_by` accuracy is for labels that exclude each other"),
        ({"task": "plumbing"}, "plumbing"),
        ({"schedule": "zigzag"}, "`schedule` is 'zigzag'"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, says):
    with pytest.raises(ValueError, match=says):
        TrainConfig(dataset="d", output="o", **settings)


def test_names_of_the_version_before_are_taken():
    assert present_names({"ema": 0.5, "seed": 1}) == {"ema_decay": 0.5, "seed": 1}
    assert set(RENAMED.values()) <= set(TrainConfig.__dataclass_fields__)


def test_a_record_names_no_path():
    config = TrainConfig(dataset="/data/films", output="/runs/a", pretrained=False, init_weights="/w/a.safetensors")
    assert "/" not in str(config.record()["dataset"]) and "/data" not in config.command()


def test_weights_are_called_by_their_file_or_their_checkpoint():
    assert weights_name("/w/a.safetensors") == "a.safetensors"
    assert weights_name("/runs/teacher/model.safetensors") == "teacher/model.safetensors"
