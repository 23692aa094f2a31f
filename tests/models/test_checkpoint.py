"""Classifiers and checkpoint folders: every backbone of the paper, exact round trips, one sentence for each bad day."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hf_pneumo.data.labels import AETIOLOGY, PNEUMONIA
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import build_network, load, save
from hf_pneumo.models.classifier import (
    PAPER_BACKBONES,
    build,
    classifier_name,
    freeze_all_but_last,
    load_backbone,
    parameter_count,
    set_training,
    timm_name,
)
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint, read_config
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.training_record import DataRecord, TrainingRecord

# Millions of parameters with the paper's MLP head, as its repository prints them.
PAPER_MILLIONS = {
    "resnet18": 11.51,
    "efficientnet_b0": 4.73,
    "mobilenet_v3": 4.92,
    "vit_b_16": 86.26,
    "mobilenet_v2": 2.95,
    "resnet50": 24.62,
    "densenet121": 7.55,
}


@pytest.mark.parametrize("name", [n for n in PAPER_BACKBONES if n not in ("vit_b_16", "resnet50")])
def test_the_papers_backbones_have_the_papers_size(name):
    network = build(name, 2, head="mlp")
    # Our MobileNet-V3 keeps its last convolution's 1280 features where torchvision's classifier has a hidden layer.
    assert parameter_count(network) / 1e6 == pytest.approx(PAPER_MILLIONS[name], abs=0.006)


def test_a_head_starts_undecided():
    torch.manual_seed(0)
    network = build("mobilenet_v2", 2).eval()
    with torch.no_grad():
        logits = network(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert logits.abs().max() < 2


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_round_trip(tmp_path, head):
    config = CheckpointConfig(
        "test_vit",
        AETIOLOGY,
        Preprocess(size=(160, 160), crop=(0.15, 0.9, 0.2, 0.8)),
        head=head,
        operating_point=OperatingPoint(1.3, (0.4,), ((0.35, 0.45),), "strict/val"),
        cam_layer="blocks.3",
        cam_offset=(-15.5, 0.3),
        data=DataRecord(source="x"),
        training=TrainingRecord(config={"seed": 3}),
    )
    network = build("test_vit", 3, head=head).eval()
    save(tmp_path / "c", network, config)
    checkpoint = load(tmp_path / "c")
    expected = replace(config, weights_sha256=checkpoint.config.weights_sha256)
    assert checkpoint.config == expected and checkpoint.name == "c" and checkpoint.revision is None
    x = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(checkpoint.network(x), network(x))
    assert checkpoint.network.pretrained_cfg["label_names"] == ["NORMAL", "BACTERIA", "VIRUS"]
    assert not checkpoint.network.training


def test_backbone_weights_from_a_file(tmp_path):
    source = timm.create_model("test_resnet", num_classes=1000)
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "w.safetensors")
    network = build("test_resnet", 2, init_weights=tmp_path / "w.safetensors")
    ours, theirs = network.state_dict(), source.state_dict()
    head = classifier_name(network)
    assert all(torch.equal(ours[k], theirs[k]) for k in ours if not k.startswith(head))
    with pytest.raises(OSError, match="does not fit"):
        load_backbone(build("test_efficientnet", 2), tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(OSError, match="safetensors"):
        load_backbone(network, tmp_path / "w.safetensors")


def test_freezing_keeps_weights_and_statistics():
    network = build("test_resnet", 2)
    freeze_all_but_last(network, 1)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.5)
    set_training(network)
    network(torch.randn(4, 3, 64, 64)).sum().backward()
    optimizer.step()
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert frozen and changed and not changed & frozen
    assert "bn1.running_mean" not in changed
    assert any(k.startswith(classifier_name(network)) for k in changed)
    freeze_all_but_last(network, 0)
    assert {n for n, p in network.named_parameters() if p.requires_grad} == {
        f"{classifier_name(network)}.{x}" for x in ("weight", "bias")
    }
    with pytest.raises(ValueError, match="from 0"):
        freeze_all_but_last(network, -1)


def test_wrong_names_are_answered_with_right_ones():
    assert timm_name("vit_b_16") == "vit_base_patch16_224"
    with pytest.raises(ValueError, match="mobilenet_v2"):
        timm_name("mobilnet")
    with pytest.raises(ValueError, match="linear, mlp"):
        build("test_resnet", 2, head="deep")
    with pytest.raises(ValueError, match="one source of weights"):
        build("test_resnet", 2, pretrained=True, init_weights="x")


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "c", build("test_resnet", 2), CheckpointConfig("test_resnet", PNEUMONIA, Preprocess()))
    return tmp_path / "c"


def test_config_is_timms_with_one_block_of_ours(folder):
    stored = json.loads((folder / "config.json").read_text())
    assert stored["architecture"] == "test_resnet" and stored["num_classes"] == 2
    assert "num_classes" not in stored["model_args"]
    assert stored["pretrained_cfg"]["crop_mode"] == "squash" and stored["pretrained_cfg"]["input_size"] == [3, 224, 224]
    assert stored["hf_pneumo"]["format_version"] == 1
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


def change(folder, **block):
    path = folder / "config.json"
    stored = json.loads(path.read_text())
    stored["hf_pneumo"] |= block
    path.write_text(json.dumps(stored))


def test_bad_days(folder):
    change(folder, format_version=2)
    with pytest.raises(CheckpointError, match="upgrade"):
        load(folder)
    change(folder, format_version=1, labels=["A", "B", "C"])
    with pytest.raises(CheckpointError, match="3 labels"):
        load(folder)
    change(folder, labels=["NORMAL", "PNEUMONIA"], preprocess={"size": [224, 224], "zoom": 2})
    with pytest.raises(CheckpointError, match="zoom"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="JSON"):
        read_config(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="timm"):
        read_config(folder)


def test_damaged_and_foreign_weights(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load(folder)
    state = load_file_bytes(whole, folder)
    del state[next(k for k in state if k.endswith(".weight"))]
    save_file(state, weights)
    with pytest.raises(CheckpointError, match="missing"):
        load(folder)


def load_file_bytes(content, folder):
    (folder / "copy.safetensors").write_bytes(content)
    return load_file(folder / "copy.safetensors")


@pytest.mark.parametrize(
    ("change_", "says"),
    [
        ({"size": (0, 5)}, "size"),
        ({"crop": (0.9, 0.1, 0, 1)}, "crop"),
        ({"interpolation": "magic"}, "bilinear, bicubic"),
        ({"std": (1, 0, 1)}, "std"),
    ],
)
def test_preprocess_refuses_nonsense(change_, says):
    with pytest.raises(ValueError, match=says):
        replace(Preprocess(), **change_)


def test_set_training_leaves_free_layers_in_training():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    set_training(network.eval())
    assert network[1].training


def test_foreign_weights_get_an_unfitted_operating_point(tmp_path, caplog):
    point = OperatingPoint(1.3, (0.4,), ((0.35, 0.45),), "strict/val", evidence=((30, 20),))
    config = CheckpointConfig("test_resnet", PNEUMONIA, Preprocess(size=(64, 64)), operating_point=point)
    save(tmp_path, build("test_resnet", 2), config)
    assert load(tmp_path).config.operating_point == point and not caplog.records
    torch.manual_seed(1)
    weights = {name: value.contiguous() for name, value in build("test_resnet", 2).state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert load(tmp_path).config.operating_point == OperatingPoint() and "not the file" in caplog.text
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["hf_pneumo"]["weights_sha256"]  # as before they were recorded
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert load(tmp_path).config.operating_point == point


@pytest.mark.parametrize(
    ("films", "verdict"), [((9, 50), "not judged"), ((50, 9), "not judged"), ((10, 10), "positive")]
)
def test_a_verdict_of_several_needs_ten_films_of_each_kind(films, verdict):
    point = OperatingPoint(1.0, (0.5, 0.5), evidence=((50, 50), films))
    assert [point.decide(i, 0.9) for i in (0, 1)] == ["positive", verdict]
    assert OperatingPoint(1.0, (0.5,), evidence=(films,)).decide(0, 0.9) == "positive"  # of one there is no choice
    assert OperatingPoint(1.0, (0.5, 0.5)).decide(1, 0.9) == "positive"  # nothing was counted


def test_a_network_of_one_channel_is_refused_when_it_is_loaded(tmp_path):
    config = CheckpointConfig("test_resnet", PNEUMONIA, Preprocess(size=(64, 64)), model_args={"in_chans": 1})
    save(tmp_path, build_network(config), config)
    with pytest.raises(CheckpointError, match="1 input channels .in_chans."):
        load(tmp_path)
