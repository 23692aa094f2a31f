"""The last block of a vision transformer, computed only for the tokens that the classifier reads.

Where a class token is pooled, what the patches become after the last attention reaches no logit. Leaving it out gives
the same logits and the same gradient, and saves three quarters of the block going forward and of its backward pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from hf_pneumo.explain.replica import Tap


class ClassTokenBlock(nn.Module):
    """A timm `Block`, from all tokens (B, N, C) to its first `kept` ones (B, kept, C), tapped at its first norm."""

    def __init__(self, block: Block, kept: int) -> None:
        super().__init__()
        self.block, self.kept, self.tap = block, kept, Tap(block.norm1)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        block = self.block
        x = x[:, : self.kept] + block.drop_path1(block.ls1(self._attend(self.tap(x))))  # (B, kept, C)
        return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))

    def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
        attention = self.block.attn
        width, heads = attention.attn_dim, attention.num_heads
        bias = attention.qkv.bias
        of_query, of_rest = (None, None) if bias is None else (bias[:width], bias[width:])
        query = F.linear(tokens[:, : self.kept], attention.qkv.weight[:width], of_query)  # (B, kept, heads * d)
        rest = F.linear(tokens, attention.qkv.weight[width:], of_rest)  # (B, N, 2 * heads * d)
        query = query.unflatten(2, (heads, -1)).transpose(1, 2)  # (B, heads, kept, d)
        key, value = rest.unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, d) each
        found = F.scaled_dot_product_attention(attention.q_norm(query), attention.k_norm(key), value)
        found = attention.norm(found.transpose(1, 2).flatten(2))  # (B, kept, heads * d)
        return attention.proj_drop(attention.proj(found))


def class_token_block(model: nn.Module, layer: str) -> tuple[str, ClassTokenBlock] | None:
    """The name and the short form of the block whose `layer` is wanted, or None where leaving out would not be exact.

    Only timm's own plain transformer qualifies, at the first norm of its last block, with nobody watching inside.
    """
    if not isinstance(model, VisionTransformer) or model.global_pool != "token" or not model.num_prefix_tokens:
        return None
    name = f"blocks.{len(model.blocks) - 1}"
    block = model.blocks[-1]
    plain = type(block) is Block and type(block.attn) is Attention and type(block.attn.qkv) is nn.Linear
    if not plain or layer != f"{name}.norm1" or block.attn.gate is not None:
        return None
    watched = (block, *block.modules(), model.norm)
    if any(module._forward_hooks or module._forward_pre_hooks for module in watched):
        return None
    return name, ClassTokenBlock(block, model.num_prefix_tokens)
