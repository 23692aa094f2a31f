"""The segmenter: a U-Net (arXiv 1505.04597) on the first four stages of a timm backbone, and its export to ONNX."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from hf_pneumo.imaging.lungs import GRID, INPUT, SIDE

BACKBONE = "mobilenetv2_100"
WIDTHS = (32, 32, 32)  # channels of the decoder's steps, from stride 8 to 2: a last one at stride 1 doubles the time
STAGES = (0, 1, 2, 3)  # strides 2, 4, 8 and 16


class _Step(nn.Sequential):
    """One step up: upsample, join the encoder's features of that stride, 3 x 3 convolution."""

    def __init__(self, inner: int, skip: int, outer: int):
        super().__init__(
            nn.Conv2d(inner + skip, outer, 3, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return super().forward(torch.cat([x, skip], dim=1))


class LungUNet(nn.Module):
    """Standardised films (B, 1, S, S) to logits (B, 1, S/2, S/2) of being lung."""

    def __init__(self, backbone: str = BACKBONE, widths: Sequence[int] = WIDTHS):
        super().__init__()
        self.encoder = timm.create_model(backbone, features_only=True, out_indices=STAGES, in_chans=1, pretrained=False)
        *skips, deepest = self.encoder.feature_info.channels()
        inner = (deepest, *widths)
        self.decoder = nn.ModuleList(_Step(*sizes) for sizes in zip(inner, reversed(skips), widths, strict=False))
        self.head = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, films: Tensor) -> Tensor:
        *skips, x = self.encoder(films)
        for step, skip in zip(self.decoder, reversed(skips), strict=True):
            x = step(x, skip)
        return self.head(x)  # (B, 1, S/2, S/2)


class _Exported(nn.Module):
    """What the ONNX file holds: probabilities instead of logits."""

    def __init__(self, network: LungUNet):
        super().__init__()
        self.network = network

    def forward(self, films: Tensor) -> Tensor:
        return self.network(films)[:, 0].sigmoid()


def load_encoder(network: LungUNet, path: str | os.PathLike[str]) -> None:
    """Start the encoder from a safetensors file of the whole backbone for colour pictures; its later stages are unused.

    Raises OSError for a file that cannot be read, ValueError for one of another backbone.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"`init_weights` {path} cannot be read ({error}); give a .safetensors file") from error
    wanted = network.encoder.state_dict()
    first = next(iter(wanted))
    if first in weights:
        weights[first] = adapt_input_conv(1, weights[first])
    wrong = [key for key, value in wanted.items() if key not in weights or weights[key].shape != value.shape]
    if wrong:
        raise ValueError(f"`init_weights` {path} lacks {len(wrong)} of {BACKBONE}'s weights, such as {wrong[0]}")
    network.encoder.load_state_dict({key: weights[key] for key in wanted})


def export_onnx(network: LungUNet, path: str | os.PathLike[str]) -> Path:
    """Write the graph that `imaging.lungs` runs: float32 (1, 1, SIDE, SIDE) to probabilities (1, GRID, GRID)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    program = torch.onnx.export(
        _Exported(network).eval(),
        (torch.zeros(1, 1, SIDE, SIDE),),
        input_names=[INPUT],
        output_names=["probability"],
        dynamo=True,
        verbose=False,
    )
    assert tuple(program.model.graph.outputs[0].shape) == (1, GRID, GRID)
    program.save(part)
    os.replace(part, path)
    return path


def parameters(path: str | os.PathLike[str]) -> int:
    """Numbers that an ONNX file holds: without the backbone's later stages, which are never run."""
    return sum(int(np.prod(tensor.dims)) for tensor in onnx.load(path).graph.initializer)
