"""The U-Net: its start from ImageNet, and the graph that is exported."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from safetensors.torch import save_file

from hf_pneumo.segmentation.network import BACKBONE, LungUNet, export_onnx, load_encoder


def test_the_exported_graph_gives_what_the_network_gives(tmp_path):
    torch.manual_seed(0)
    network = LungUNet().eval()
    path = export_onnx(network, tmp_path / "net.onnx")
    film = torch.randn(1, 1, 160, 160)
    (theirs,) = onnxruntime.InferenceSession(path.read_bytes()).run(None, {"film": film.numpy()})
    with torch.no_grad():
        ours = network(film)[:, 0].sigmoid()
    assert np.abs(theirs - ours.numpy()).max() < 1e-4


def test_imagenet_weights_start_the_encoder_and_others_are_refused(tmp_path):
    whole = timm.create_model(BACKBONE, pretrained=False)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    network = LungUNet()
    load_encoder(network, tmp_path / "whole.safetensors")
    ours, theirs = network.encoder.state_dict(), whole.state_dict()
    assert torch.equal(ours["blocks.0.0.conv_dw.weight"], theirs["blocks.0.0.conv_dw.weight"])
    assert torch.allclose(ours["conv_stem.weight"], theirs["conv_stem.weight"].sum(1, keepdim=True), atol=1e-6)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="lacks"):
        load_encoder(network, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(OSError, match="cannot be read"):
        load_encoder(network, tmp_path / "broken.safetensors")
