"""The paper's seven start from torchvision's ImageNet files: published layouts in, torchvision's own logits out."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hf_pneumo.models.classifier import PAPER_BACKBONES, build, classifier_name
from hf_pneumo.models.torchvision_weights import IMAGENET, NETWORKS, network_of
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.run import make_network, make_preprocess

DROPOUTS = {"efficientnet_b0": 0.2, "mobilenet_v2": 0.2, "mobilenet_v3": 0.2}


def published(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """torchvision's network with random weights, and its state as torchvision's DEFAULT file of it is laid out."""
    torch.manual_seed(0)
    model = NETWORKS[name].constructor(weights=None)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    if norms:  # statistics of real activations, or the deep networks answer the same to every image
        with torch.no_grad():
            model.train()(torch.randn(4, 3, 64, 64))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    if name == "densenet121":  # norm1, conv1, norm2, conv2 are norm.1, conv.1, ... in the file
        layers = [f"{kind}{number}" for kind in ("norm", "conv") for number in (1, 2)]
        dotted = {layer: f"{layer[:-1]}.{layer[-1]}" for layer in layers}
        state = {".".join(dotted.get(part, part) if "denselayer" in k else part for part in k.split(".")): v
                 for k, v in state.items()}  # fmt: skip
    if name == "vit_b_16":
        state = {k.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): v for k, v in state.items()}
    return model.eval(), state


@torch.no_grad()
def assert_same(theirs: nn.Module, ours: nn.Module, name: str) -> None:
    """Logits of both, with the head of ours in both."""
    ours.eval()  # its head, too, that both share
    theirs.set_submodule(NETWORKS[name].last_layer, ours.get_submodule(classifier_name(ours)))
    side = 224 if name == "vit_b_16" else 64
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    expected = theirs(images)
    assert expected.shape == (2, 2) and (expected[0] - expected[1]).abs().max() > 0
    torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", PAPER_BACKBONES)
def test_all_seven_start_from_a_file_of_torchvisions_layout(name: str, tmp_path: Path) -> None:
    theirs, state = published(name)
    save_file(state, tmp_path / "imagenet.safetensors")
    config = TrainConfig(
        model=name, head="paper", weights_of="torchvision", init_weights=str(tmp_path / "imagenet.safetensors"),
        dropout=DROPOUTS.get(name, 0.0),
    )  # fmt: skip
    ours = make_network(config, 2)
    assert_same(theirs, ours, name)
    preprocess = make_preprocess(config, ours)
    assert {"mean": preprocess.mean, "std": preprocess.std} == IMAGENET


def test_a_file_of_torchvisions_layout_will_do_for_timms_network_too(tmp_path: Path) -> None:
    theirs, state = published("mobilenet_v2")
    save_file(state, tmp_path / "imagenet.safetensors")
    assert_same(theirs, build("mobilenetv2_100", 2, init_weights=tmp_path / "imagenet.safetensors"), "mobilenet_v2")


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.hub_tag is None][:2])
def test_torchvisions_own_download_is_read_where_timm_has_no_copy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, state = published(name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(state, tmp_path / "hub/checkpoints" / NETWORKS[name].default.url.rpartition("/")[2])
    network = NETWORKS[name]
    arguments = {**network.model_args, **network.training_args}
    assert_same(theirs, build(name, 2, pretrained=True, weights_of="torchvision", **arguments), name)


def test_without_network_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def down(*_: object, **__: object) -> None:
        raise OSError("down")

    monkeypatch.setattr(torch.hub, "download_url_to_file", down)
    with pytest.raises(
        OSError, match="mobilenetv2_100 cannot be had from https://download.pytorch.org/.*--init-weights"
    ):
        build("mobilenet_v2", 2, pretrained=True, weights_of="torchvision")


@pytest.mark.parametrize("name", PAPER_BACKBONES)
def test_the_hubs_copies_are_of_the_default_files(name: str) -> None:
    network = NETWORKS[name]
    if network.hub_tag is None:
        assert not timm.list_pretrained(f"{network.architecture}.tv*")
        return
    copy = timm.get_pretrained_cfg(network.hub_tag)
    assert copy.hf_hub_id == network.weights_name
    assert copy.url in (None, "", network.default.url)  # timm gives the origin of two of the three


def test_what_torchvision_trains_otherwise_is_so_here_too() -> None:
    dropped = make_network(TrainConfig(model="efficientnet_b0", weights_of="torchvision"), 2)
    rates = [block.drop_path.drop_prob for block in dropped.modules() if hasattr(block, "drop_path")
             and hasattr(block.drop_path, "drop_prob")]  # fmt: skip
    theirs = [module.p for module in NETWORKS["efficientnet_b0"].constructor(weights=None).modules()
              if type(module).__name__ == "StochasticDepth" and module.p]  # fmt: skip
    assert len(rates) == len(theirs) and rates == pytest.approx(theirs)
    norm = make_network(TrainConfig(model="mobilenet_v3", weights_of="torchvision"), 2).bn1
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)


def test_a_network_without_a_counterpart_is_refused() -> None:
    assert network_of("tf_efficientnet_lite0") is None
    with pytest.raises(ValueError, match="`weights_of` torchvision: 'tf_efficientnet_lite0' is none of resnet18"):
        TrainConfig(model="tf_efficientnet_lite0", weights_of="torchvision")
