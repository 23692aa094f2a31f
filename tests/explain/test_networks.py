"""Every backbone: the layer, the grid and the gradient are right, checked against independent computations."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import timm
import torch
from captum.attr import LayerGradCam
from torch import nn

from hf_pneumo.explain import ZeroGradientError, cam_pass, explain
from hf_pneumo.explain.class_token import class_token_block
from hf_pneumo.models.classifier import set_head

CNNS = ["resnet18", "resnet50", "densenet121", "efficientnet_b0", "mobilenetv2_100", "mobilenetv3_large_100"]
VIT = "vit_base_patch16_224"
SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3}  # of the plain transformers: width and depth change no geometry

# name, arguments, input size (h, w), the layer it is to be read at, the grid
FAMILIES = [
    ("resnet18", {}, (64, 96), "layer4", (2, 3)),
    ("densenet121", {}, (64, 64), "features", (2, 2)),
    ("efficientnet_b0", {}, (96, 64), "bn2", (3, 2)),
    ("mobilenetv2_100", {}, (64, 64), "bn2", (2, 2)),
    ("mobilenetv3_large_100", {}, (64, 96), "blocks", (2, 3)),
    ("tf_efficientnet_lite0", {}, (64, 64), "bn2", (2, 2)),
    ("convnext_atto", {}, (64, 96), "norm_pre", (2, 3)),
    ("regnetx_002", {}, (96, 64), "final_conv", (3, 2)),
    ("vit_base_patch16_224", SMALL, (64, 64), "blocks.1.norm1", (4, 4)),
    ("vit_base_patch16_224", SMALL, (96, 64), "blocks.1.norm1", (6, 4)),
    ("vit_small_patch14_reg4_dinov2", SMALL, (70, 56), "blocks.1.norm1", (5, 4)),
    ("vit_base_patch16_siglip_224", SMALL, (64, 96), "norm", (4, 6)),
    ("vit_base_patch16_siglip_gap_224", SMALL, (64, 64), "norm", (4, 4)),
    ("vit_base_patch16_reg4_gap_256", SMALL, (96, 64), "norm", (6, 4)),
    ("deit_tiny_distilled_patch16_224", SMALL, (64, 96), "blocks.1.norm1", (4, 6)),
    ("beit_base_patch16_224", SMALL, (96, 64), "norm", (6, 4)),
    ("eva02_tiny_patch14_224", SMALL, (56, 70), "norm", (4, 5)),
    ("swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": (1, 1, 1, 1)}, (64, 96), "norm", (2, 3)),
    ("swinv2_tiny_window8_256", {"embed_dim": 24, "depths": (1, 1, 1, 1)}, (64, 64), "norm", (2, 2)),
    ("maxvit_rmlp_pico_rw_256", {}, (64, 64), "norm", (2, 2)),
    ("davit_tiny", {"embed_dims": (24, 48, 96, 192), "depths": (1, 1, 1, 1)}, (64, 96), "norm_pre", (2, 3)),
    ("pit_ti_224", {}, (96, 64), "transformers.2.blocks.3.norm1", (3, 2)),
    ("cait_xxs24_224", {"depth": 2}, (64, 64), "blocks_token_only.1.norm1", (4, 4)),
    ("mobilevit_xxs", {}, (64, 64), "final_conv", (2, 2)),
    ("efficientformer_l1", {}, (224, 224), "norm", (7, 7)),  # its attention bias fixes the input size
]


def build(name: str, size: tuple[int, int], **arguments) -> nn.Module:
    torch.manual_seed(0)
    arguments = {"num_classes": 2, **arguments}
    try:
        network = timm.create_model(name, img_size=size, **arguments).eval()
    except TypeError:  # a convolutional network takes any size
        network = timm.create_model(name, **arguments).eval()
    for key, value in network.named_parameters():
        if "gamma" in key or key.endswith(("ls1", "ls2")):
            value.data.fill_(0.5)  # LayerScale starts so small that nothing but the pooling's bias would be seen
    return network


@pytest.mark.parametrize(
    ("name", "arguments", "size", "layer", "grid"), FAMILIES, ids=[f"{f[0]}-{f[2][0]}x{f[2][1]}" for f in FAMILIES]
)
def test_layer_and_grid_of_a_family(name, arguments, size, layer, grid):
    network, images = (
        build(name, size, **arguments),
        torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1)),
    )
    oracle = network.forward_intermediates(images, indices=1, output_fmt="NCHW", intermediates_only=True)[-1]
    # The last block may come before the network's final widening; its grid is the same.
    found = cam_pass(network, images, (1, 0))
    assert found.layer == layer
    assert tuple(found.activations.shape[2:]) == tuple(oracle.shape[2:]) == grid
    assert found.logits.numpy() == pytest.approx(network(images).detach().numpy(), abs=1e-4, rel=1e-4)
    assert torch.isfinite(found.gradients).all()
    both = [explain(network, images[:1], target=target)[0] for target in ((1, 0), (0, 1))]
    assert both[0].heatmap.shape == size
    # With random weights all evidence may lie on one side, but never nowhere.
    assert not all(one.constant for one in both)


@pytest.fixture(scope="module", params=CNNS)
def cnn(request) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model(request.param, num_classes=2).eval(), torch.randn(2, 3, 64, 64)


def gradcam_by_autograd(features: torch.Tensor, score: torch.Tensor) -> np.ndarray:
    gradient = torch.autograd.grad(score.sum(), features)[0]
    return torch.relu((gradient.mean((2, 3), keepdim=True) * features).sum(1)).detach().numpy()


def test_cnn_equals_one_whole_backward_pass(cnn):
    network, images = cnn
    features = network.forward_features(images)
    logits = network.forward_head(features)
    for target in (0, 1):
        expected = gradcam_by_autograd(features, network.forward_head(features)[:, target])
        found = explain(network, images, target=target)
        assert np.stack([one.grid for one in found]) == pytest.approx(expected, abs=1e-5, rel=1e-5)
    assert np.stack([one.logits for one in found]) == pytest.approx(logits.detach().numpy(), abs=1e-5)


def test_cnn_equals_captum(cnn):
    network, images = cnn
    layer = network.get_submodule(cam_pass(network, images, 0).layer)
    for target in (0, 1):
        expected = LayerGradCam(network, layer).attribute(images, target=target, relu_attributions=True)
        found = explain(network, images, target=target)
        assert np.stack([one.grid for one in found]) == pytest.approx(
            expected[:, 0].detach().numpy(), abs=1e-5, rel=1e-4
        )


@pytest.mark.parametrize("method", ["GradCAM", "HiResCAM", "LayerCAM"])
def test_cnn_equals_the_grad_cam_package(cnn, method):
    package = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network, images = cnn
    layer = network.get_submodule(cam_pass(network, images, 0).layer)
    with getattr(package, method)(network, [layer]) as theirs:
        theirs(images, [ClassifierOutputTarget(1)] * len(images))
        held = theirs.activations_and_grads
        raw = theirs.get_cam_image(
            images, layer, None, held.activations[0].detach().numpy(), held.gradients[0].detach().numpy(), False
        )
    found = explain(network, images, method=method.lower(), target=1)
    assert np.stack([one.grid for one in found]) == pytest.approx(np.maximum(raw, 0), abs=1e-5, rel=1e-4)


def test_vit_equals_a_transformer_written_out():
    torch.manual_seed(0)
    network, images = timm.create_model(VIT, num_classes=2, img_size=64, depth=3).eval(), torch.randn(2, 3, 64, 64)
    x = network.norm_pre(network._pos_embed(network.patch_embed(images)))
    for block in network.blocks[:-1]:
        x = block(x)
    last = network.blocks[-1]
    tokens = last.norm1(x).detach().requires_grad_()
    attention = last.attn
    q, k, v = attention.qkv(tokens).reshape(2, 17, 3, 12, 64).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1) / 8).softmax(-1)
    x = x + attention.proj((weights @ v).transpose(1, 2).reshape(2, 17, 768))
    x = x + last.mlp(last.norm2(x))
    logits = network.head(network.norm(x)[:, 0])
    gradient = torch.autograd.grad(logits[:, 1].sum(), tokens)[0][:, 1:]
    expected = torch.relu((gradient.mean(1, keepdim=True) * tokens[:, 1:]).sum(2)).reshape(2, 4, 4)
    found = explain(network, images, target=1)
    assert np.stack([one.grid for one in found]) == pytest.approx(expected.detach().numpy(), abs=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_large_100", VIT])
def test_an_mlp_head_is_differentiated_too(name):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=2, **({**SMALL, "img_size": 64} if name == VIT else {})).eval()
    set_head(network, "mlp")
    network.eval()
    images = torch.randn(1, 3, 64, 64)
    found = cam_pass(network, images, 1)
    assert found.logits.numpy() == pytest.approx(network(images).detach().numpy(), abs=1e-6)
    assert found.gradients.any()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vit_base_patch16_224", {}),
        ("vit_base_patch16_224", {"qk_norm": True, "qkv_bias": False}),
        ("deit_tiny_distilled_patch16_224", {}),
        ("vit_small_patch14_reg4_dinov2", {}),
    ],
)
def test_leaving_out_what_no_logit_reads_changes_nothing(name, arguments):
    network = build(name, (56, 56) if "dinov2" in name else (64, 64), **SMALL, **arguments)
    images = torch.randn(2, 3, *network.patch_embed.img_size)
    assert class_token_block(network, "blocks.1.norm1") is not None
    short = cam_pass(network, images, 1)
    handle = network.blocks[1].attn.register_forward_hook(lambda module, inputs, output: None)
    assert class_token_block(network, "blocks.1.norm1") is None  # somebody is watching: the whole block runs
    whole = cam_pass(network, images, 1)
    handle.remove()
    assert torch.allclose(short.logits, whole.logits, atol=1e-6)
    assert torch.allclose(short.activations, whole.activations, atol=1e-6)
    assert torch.allclose(short.gradients, whole.gradients, atol=1e-7, rtol=1e-4)


def test_the_output_of_the_last_block_of_a_class_token_network_is_refused_with_advice():
    network = build(VIT, (64, 64), **SMALL)
    with pytest.raises(ZeroGradientError, match=r"`layer` 'blocks.1': .*take `layer`='blocks.1.norm1'"):
        explain(network, torch.randn(1, 3, 64, 64), target=1, layer="blocks.1")


def test_an_earlier_layer_of_any_layout_can_be_named():
    swin = build("swin_tiny_patch4_window7_224", (64, 96), embed_dim=24, depths=(1, 1, 1, 1))
    assert explain(swin, torch.randn(1, 3, 64, 96), layer="layers.2")[0].grid.shape == (4, 6)
    vit = build(VIT, (96, 64), **SMALL)
    assert explain(vit, torch.randn(1, 3, 96, 64), layer="blocks.0")[0].grid.shape == (6, 4)
    resnet = build("resnet18", (64, 96))
    assert explain(resnet, torch.randn(1, 3, 64, 96), layer="layer3")[0].grid.shape == (4, 6)


def test_no_warning_is_raised(cnn):
    network, images = cnn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(network, images, target=1)
