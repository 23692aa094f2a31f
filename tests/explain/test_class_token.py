"""The short form of a block of which only the class token is read on."""

from __future__ import annotations

import timm
import torch

from hf_pneumo.explain.class_token import class_token_block


def test_the_short_form_gives_the_same_class_token():
    network = timm.create_model("test_vit", num_classes=2).eval()
    last = f"blocks.{len(network.blocks) - 1}"
    name, short = class_token_block(network, f"{last}.norm1")
    tokens = torch.randn(2, 5, network.embed_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(short(tokens), network.blocks[-1](tokens)[:, : network.num_prefix_tokens])
    assert name == last


def test_elsewhere_and_in_other_networks_there_is_none():
    network = timm.create_model("test_vit", num_classes=2).eval()
    assert class_token_block(network, "blocks.0.norm1") is None
    assert class_token_block(timm.create_model("test_resnet"), "layer4") is None
    network.norm.register_forward_hook(lambda *_: None)  # somebody watches
    assert class_token_block(network, f"blocks.{len(network.blocks) - 1}.norm1") is None
