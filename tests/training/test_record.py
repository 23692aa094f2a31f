"""What a run says of the weights that it begins with."""

from __future__ import annotations

import hashlib

import timm

from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.record import initial_weights


def config(**settings) -> TrainConfig:
    return TrainConfig(dataset="d", output="o", **{"pretrained": False, **settings})


def test_random_weights_and_those_of_imagenet():
    network = timm.create_model("test_resnet")
    assert initial_weights(config(), network).origin == "random"
    record = initial_weights(config(pretrained=True), network)
    assert record.initial_weights == "ImageNet" and record.base_model == network.pretrained_cfg["hf_hub_id"]


def test_a_file_is_what_its_content_is(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"weights")
    record = initial_weights(
        config(init_weights=str(path), init_source="timm/x.in1k"), timm.create_model("test_resnet")
    )
    assert record.initial_weights_sha256 == hashlib.sha256(b"weights").hexdigest()
    assert (record.initial_weights, record.base_model) == ("w.safetensors", "timm/x.in1k")
