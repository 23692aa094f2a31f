"""A checkpoint as one ONNX graph: grey films in, logits, probabilities and heatmaps out; needs torch, onnx, onnxscript.

    image        float32 (N, 1, h, w)   grey films from 0 to 255 at the model's size; normalisation is in the graph
    target       float32 (T, K)         optional, T = 1 or N: the score to explain, a row of weights over the logits
    logits       float32 (N, K)         of the film, or the mean over the film and its mirror image
    probability  float32 (N, K)         calibrated: the temperature is in the graph
    heatmap      float32 (N, h, w)      the checkpoint's map over the model's input, in [0, 1], zeros where it is flat

`torch.onnx.export` takes no gradient in a forward pass. So the pass and the gradient of what follows the map's layer
are traced together by `make_fx` first, for a symbolic number of films, and what is exported is plain operations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from hf_pneumo.explain import explain
from hf_pneumo.explain.cam import gradcam, hirescam
from hf_pneumo.explain.explanation import FLAT, interpolation_matrix
from hf_pneumo.explain.layer import Layer, default_layer, named_layer
from hf_pneumo.explain.replica import replicate, with_replaced
from hf_pneumo.files import read_json, replacing
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.models.checkpoint import CONFIG, Checkpoint
from hf_pneumo.models.inference import answer
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.models.tokens import to_maps
from hf_pneumo.serving.graph import FULL, METADATA, Graph, graph_path

FORMULAS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"gradcam": gradcam, "hirescam": hirescam}
FILMS = 5  # in the traced batch: a number that is no other side of any tensor, or it would become that side
SMALLEST = 1e-12  # a map whose maximum is below it is zero
TOLERANCE = 1e-4  # between the graph and torch: of probabilities and of heatmaps, both in [0, 1]
aten = torch.ops.aten


class ExportError(ValueError):
    """A checkpoint that cannot be exported; the message is one sentence with what to do."""


class FilmsToMaps(nn.Module):
    """What the graph computes, in torch: images (N, 1, h, w) and targets (N, K) to logits, probabilities, heatmaps."""

    def __init__(self, checkpoint: Checkpoint):
        super().__init__()
        config = checkpoint.config
        self.network = replicate(checkpoint.network, _plain_attention)
        self.preprocess, self.exclusive = config.preprocess, config.labels.exclusive
        self.temperature = config.operating_point.temperature
        method, layer, offset = "gradcam", None, config.cam_offset
        if method not in FORMULAS:
            raise ExportError(f"maps by {method!r} have no graph; those by {' and '.join(FORMULAS)} have")
        self.formula = FORMULAS[method]
        self.layer = default_layer(self.network) if layer is None else named_layer(self.network, layer)
        self.offset = offset

    def forward(self, image: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        height, width = self.preprocess.size
        gray = image.reshape(image.shape[0], height, width)  # from here on only the number of films is symbolic
        x = to_tensor(self.preprocess, gray / 255)  # (N, 3, h, w)
        activations, rest = _split(self.network, x, self.layer)
        logits, pull_back = torch.func.vjp(rest, activations)
        (gradients,) = pull_back(target)
        size = (height, width)
        raw = self.formula(to_maps(activations, self.network, size), to_maps(gradients, self.network, size))
        logits = (logits + self.network(x.flip(-1))) / 2 if self.preprocess.mirror else logits
        scaled = logits / self.temperature
        probability = scaled.softmax(1) if self.exclusive else scaled.sigmoid()
        return logits, probability, self._heatmap(raw, size)

    def _heatmap(self, raw: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Raw maps (N, gh, gw) to (N, h, w) in [0, 1]; see `explanation.upsample` and `scale`."""
        down, right = (interpolation_matrix(*side) for side in zip(size, raw.shape[-2:], self.offset, strict=True))
        fine = down @ raw @ right.T
        low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
        flat = (high - low) <= FLAT * raw.abs().amax((1, 2), keepdim=True)
        heat = fine / fine.amax((1, 2), keepdim=True).clamp_min(SMALLEST)
        return torch.where(flat, torch.zeros_like(heat), heat)


def _split(
    network: nn.Module, x: torch.Tensor, layer: Layer
) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """The layer's output for x, and what the network makes of such an output.

    Within the network the trunk is traced once more for the second, to no effect: nothing depends on it, and unused
    operations are left out of the graph.
    """
    if layer.seam:
        return network.forward_features(x), network.forward_head
    recorder = _Recorder(network.get_submodule(layer.name))
    with_replaced(network, {layer.name: recorder})(x)
    return recorder.output, lambda output: with_replaced(network, {layer.name: _Constant(output)})(x)


class _Recorder(nn.Module):
    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        self.output = self.module(*inputs)
        return self.output


class _Constant(nn.Module):
    def __init__(self, output: torch.Tensor):
        super().__init__()
        self.output = output

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.output


def export_graph(checkpoint: Checkpoint, folder: Path) -> tuple[Path, Mapping[str, float]]:
    """Write ``folder``/onnx/model.onnx, whole or not at all, after `check`; returns it and the figures of that.

    Raises ExportError for an ensemble, for a method whose maps have no graph, and where graph and torch disagree.
    """
    if checkpoint.config.members:
        raise ExportError(f"{checkpoint.name} is an ensemble, which has no graph; export its members one by one")
    path = graph_path(folder, FULL)
    with replacing(path) as temporary:
        onnx.save(to_onnx(checkpoint), temporary)
        differences = check(checkpoint, temporary)
    return path, differences


def to_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    """The graph of a checkpoint, with its metadata."""
    module = FilmsToMaps(checkpoint)
    classes = len(checkpoint.config.labels.names)
    image = torch.rand(FILMS, 1, *checkpoint.config.preprocess.size) * 255
    inputs = (image, torch.ones(FILMS, classes) / classes)
    with torch.no_grad():
        traced = make_fx(
            module, decomposition_table=_backward_in_plain_operations(), tracing_mode="symbolic",
            _allow_non_fake_inputs=True,
        )(*inputs)  # fmt: skip
    traced.eval().graph.eliminate_dead_code()
    traced.recompile()
    films = torch.export.Dim("N", min=1, max=65536)
    program = torch.onnx.export(
        traced, inputs, dynamo=True, dynamic_shapes=({0: films}, {0: films}), input_names=["image", "target"],
        output_names=["logits", "probability", "heatmap"], verbose=False,
    )  # fmt: skip
    model = program.model_proto
    _give_default_target(model, default_target(checkpoint))
    for key, value in metadata(checkpoint).items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    return model


def default_target(checkpoint: Checkpoint) -> np.ndarray:
    """The weights (1, K) over the logits of what is explained when nothing is asked for: the finding, or the mean."""
    labels = checkpoint.config.labels
    row = np.array([[name == labels.finding for name in labels.names]], dtype=np.float32)
    within = np.array([[name != labels.normal for name in labels.names]], dtype=np.float32)
    return row if row.any() else within / within.sum()


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What a program needs beside the graph, as JSON texts by name: everything of config.json's own block."""
    stored = read_json(checkpoint.path / CONFIG)["hf_pneumo"]
    about = {"name": checkpoint.name, "revision": checkpoint.revision, **stored}
    return {METADATA: json.dumps(about, ensure_ascii=False)}


def check(checkpoint: Checkpoint, path: Path) -> Mapping[str, float]:
    """Largest differences of "probability" and "heatmap" between the graph at ``path`` and `explain`, on phantoms.

    Raises ExportError above 1e-4.
    """
    config = checkpoint.config
    phantoms = (make_phantom(seed, opacities=seed % 3).film.gray8 for seed in range(3))
    films = np.stack([config.preprocess.to_gray(phantom) for phantom in phantoms])
    label = int(default_target(checkpoint)[0].argmax())
    result = Graph(path).run(films, np.eye(len(config.labels.names), dtype=np.float32)[label])
    x = to_tensor(config.preprocess, films)
    with torch.inference_mode():
        logits = answer(checkpoint.network, x, mirror=config.preprocess.mirror).numpy()
    probability = config.labels.probabilities(logits, config.operating_point.temperature)
    explanations = explain(checkpoint.network, x, target=config.labels.names[label], offset=config.cam_offset)
    heatmaps = np.stack([explanation.heatmap for explanation in explanations])
    differences = {
        "probability": float(np.abs(result.probability - probability).max()),
        "heatmap": float(np.abs(result.heatmap - heatmaps).max()),
    }
    if wrong := {name: value for name, value in differences.items() if not value <= TOLERANCE}:
        raise ExportError(f"the graph of {checkpoint.name} differs from torch by {wrong}; it was not written")
    return differences


def _give_default_target(model: onnx.ModelProto, row: np.ndarray) -> None:
    """Make the input "target" optional and one row enough: its default is ``row``, spread over the films."""
    graph = model.graph
    for node in graph.node:
        node.input[:] = ["target of each film" if name == "target" else name for name in node.input]
    batch = helper.make_node("Shape", ["image"], ["number of films"], start=0, end=1)
    width = numpy_helper.from_array(np.array([row.shape[1]], dtype=np.int64), "number of labels")
    shape = helper.make_node("Concat", ["number of films", "number of labels"], ["films and labels"], axis=0)
    spread = helper.make_node("Expand", ["target", "films and labels"], ["target of each film"])
    for place, node in enumerate((batch, shape, spread)):
        graph.node.insert(place, node)
    graph.initializer.extend([width, numpy_helper.from_array(row, "target")])
    (described,) = (value for value in graph.input if value.name == "target")
    described.CopyFrom(helper.make_tensor_value_info("target", TensorProto.FLOAT, ["T", row.shape[1]]))


def _backward_in_plain_operations() -> dict[Any, Callable[..., Any]]:
    """Decompositions of every backward operation that a head may need into operations that ONNX has."""
    backward = (getattr(aten, name) for name in dir(aten) if "backward" in name)
    table = dict(get_decompositions([one for one in backward if one is not aten.convolution_backward]))
    return table | {aten.convolution_backward.default: _convolution_backward}


def _convolution_backward(
    gradient: torch.Tensor, image: torch.Tensor, weight: torch.Tensor, bias_sizes: Any, stride: list[int],
    padding: list[int], dilation: list[int], transposed: bool, output_padding: list[int], groups: int, mask: Any,
) -> tuple[torch.Tensor, None, None]:  # fmt: skip
    """The gradient by the image of a 2-D convolution: a transposed one. None by weights, which are constants here."""
    covered = [
        (gradient.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (weight.shape[2 + i] - 1) + 1
        for i in range(2)
    ]
    extra = [int(image.shape[2 + i]) - int(covered[i]) for i in range(2)]
    return nn.functional.conv_transpose2d(gradient, weight, None, stride, padding, extra, groups, dilation), None, None


def _plain_attention(name: str, module: nn.Module) -> None:
    """Attention written out, as ONNX has it."""
    if getattr(module, "fused_attn", False):
        module.fused_attn = False
