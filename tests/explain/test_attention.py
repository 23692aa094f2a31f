"""Attention methods against the same transformer written out, attention by attention."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hf_pneumo.explain import explain
from hf_pneumo.explain.attention import AttentionRecorder

SMALL = {"embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 2}
IMAGES = torch.randn(2, 3, 48, 32, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", img_size=(48, 32), **SMALL).eval()


def written_out(vit: nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Attention of each block, each block's output, logits, by plain matrix products."""
    x = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
    attentions, outputs = [], []
    for block in vit.blocks:
        batch, count, width = x.shape
        q, k, v = block.attn.qkv(block.norm1(x)).reshape(batch, count, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-2, -1) * (width // 2) ** -0.5).softmax(-1)
        x = x + block.attn.proj((attention @ v).transpose(1, 2).reshape(batch, count, width))
        x = x + block.mlp(block.norm2(x))
        attentions.append(attention)
        outputs.append(x)
    return attentions, outputs, vit.forward_head(vit.norm(x))


def grids(found) -> torch.Tensor:
    return torch.stack([torch.from_numpy(one.grid) for one in found])


def test_rollout_is_the_product_of_half_attention_half_identity(vit):
    attentions, _, _ = written_out(vit)
    expected = torch.eye(7)
    for attention in attentions:
        expected = (attention.mean(1) + torch.eye(7)) / 2 @ expected
    found = grids(explain(vit, IMAGES, method="rollout"))
    assert torch.allclose(found, expected[:, 0, 1:].reshape(2, 3, 2), atol=1e-6)


def test_relevance_follows_the_papers_equations(vit):
    attentions, _, logits = written_out(vit)
    gradients = torch.autograd.grad(logits[:, 1].sum(), attentions)
    expected = torch.eye(7)
    for attention, gradient in zip(attentions, gradients, strict=True):
        expected = expected + (attention * gradient).clamp_min(0).mean(1) @ expected
    found = grids(explain(vit, IMAGES, method="relevance", target=1))
    assert torch.allclose(found, expected[:, 0, 1:].reshape(2, 3, 2), atol=1e-7, rtol=1e-4)


def test_legrad_reads_the_score_off_every_block(vit):
    attentions, outputs, _ = written_out(vit)
    expected = torch.zeros(2, 7)
    for attention, output in zip(attentions, outputs, strict=True):
        score = vit.forward_head(vit.norm(output))[:, 0].sum()
        gradient = torch.autograd.grad(score, attention, retain_graph=True)[0]
        expected += gradient.clamp_min(0).mean((1, 2)) / len(attentions)
    found = grids(explain(vit, IMAGES, method="legrad", target=0))
    assert torch.allclose(found, expected[:, 1:].reshape(2, 3, 2), atol=1e-8, rtol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "vit_base_patch16_siglip_224",
        "vit_base_patch16_siglip_gap_224",
        "vit_base_patch16_reg4_gap_256",
        "deit_tiny_distilled_patch16_224",
        "beit_base_patch16_224",
    ],
)
@pytest.mark.parametrize("method", ["rollout", "relevance", "legrad"])
def test_every_kind_of_pooling_has_a_map(name, method):
    torch.manual_seed(0)
    network = timm.create_model(name, img_size=(48, 32), **SMALL).eval()
    found = explain(network, IMAGES, method=method, target=1)
    assert [one.grid.shape for one in found] == [(3, 2)] * 2
    assert not any(one.constant for one in found)
    assert found[0].logits == pytest.approx(network(IMAGES)[0].detach().numpy(), abs=1e-5)


def test_the_target_matters_where_it_should(vit):
    for method, matters in (("rollout", False), ("relevance", True), ("legrad", True)):
        first, second = (grids(explain(vit, IMAGES, method=method, target=target)) for target in (0, 1))
        assert torch.allclose(first, second) is not matters


def test_fused_and_open_attention_are_recorded_alike(vit):
    recorded = []
    for fused in (True, False):
        for block in vit.blocks:
            block.attn.fused_attn = fused
        with torch.no_grad(), AttentionRecorder() as recorder:
            vit(IMAGES)
        recorded.append(torch.stack(recorder.matrices))
    assert recorded[0].shape == (3, 2, 2, 7, 7)
    assert torch.allclose(*recorded, atol=1e-6)
    assert torch.allclose(recorded[0].sum(-1), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("mask", [torch.tensor([[True, False], [True, True]]), torch.tensor([[0.0, -1.0], [2.0, 0.0]])])
def test_the_recorder_computes_what_the_fused_kernel_computes(mask):
    q, k, v = torch.randn(3, 1, 2, 2, 4, generator=torch.Generator().manual_seed(2))
    attend = nn.functional.scaled_dot_product_attention
    for options in ({"attn_mask": mask}, {"is_causal": True}, {"scale": 0.3}):
        expected = attend(q, k, v, **options)
        with AttentionRecorder():
            assert torch.allclose(attend(q, k, v, **options), expected, atol=1e-6)


def test_a_windowed_transformer_is_refused_with_a_way_out():
    swin = timm.create_model("swin_tiny_patch4_window7_224", img_size=64, embed_dim=24, depths=(1, 1, 1, 1))
    with pytest.raises(ValueError, match="plain vision transformer.*SwinTransformer.*'gradcam'"):
        explain(swin, torch.randn(1, 3, 64, 64), method="rollout")
    with pytest.raises(ValueError, match="plain vision transformer"):
        explain(timm.create_model("resnet18"), torch.randn(1, 3, 64, 64), method="legrad")
