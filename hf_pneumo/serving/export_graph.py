"""A checkpoint as one ONNX graph: grey films in, logits, probabilities and heatmaps out; needs torch, onnx, onnxscript.

    image        float32 (N, 1, h, w)   grey films from 0 to 255 at the model's size; normalisation is in the graph
    target       float32 (T, K)         optional, T = 1 or N: the score to explain, a row of weights over the logits;
                                        T = 0 leaves the maps out where there is `fine`
    fine         float32 (F, 1, H, W)   of a checkpoint whose map is made at several sizes: the films at the largest of
                                        them, F = N; optional, F = 0: then `image` is enlarged, and the map is coarser
    logits       float32 (N, K)         of the film, or the mean over the film and its mirror image
    probability  float32 (N, K)         calibrated: the temperature is in the graph
    heatmap      float32 (N, H, W)      the checkpoint's map over the model's input, in [0, 1], zeros where it is flat

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
from torch import nn
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from hf_pneumo.explain import explain
from hf_pneumo.explain.target import weigh
from hf_pneumo.files import read_json, replacing
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.config import CONFIG, WEIGHTS, CheckpointConfig
from hf_pneumo.models.inference import answer
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.serving.films_to_maps import FORMULAS, FilmsToMaps
from hf_pneumo.serving.graph import FULL, LIGHT, METADATA, Graph, graph_path, said_of
from hf_pneumo.serving.onnx_edits import make_fine_optional, make_target_optional, refer_to_weights

# Films in the traced batch, and of those the ones with a map where that is made of finer films: numbers that are no
# other side of any tensor, or they would become that side.
FILMS, MAPPED = 5, 13
TOLERANCE = 1e-4  # between the probabilities of graph and torch
# Between their heatmaps, on average and at a pixel. A rectified unit within rounding of 0 lets its gradient pass in one
# of the two alone: maps of layers with many such units after them differ where torch in single precision differs from
# torch in double, too.
AVERAGE, LARGEST = 5e-4, 5e-2
aten = torch.ops.aten


class ExportError(ValueError):
    """A checkpoint that cannot be exported; the message is one sentence with what to do."""


def export_checkpoint(checkpoint: Checkpoint, folder: Path, *, light: bool = False) -> tuple[Path, Mapping[str, float]]:
    """Write ``folder``/onnx/model.onnx, whole or not at all, after `check`; returns it and the figures of that.

    ``light``: write ``folder``/graph.onnx instead, which has its weights in model.safetensors beside it; ``folder`` is
    the checkpoint's own then. Raises ExportError for an ensemble, for a method whose maps have no graph, and where
    graph and torch disagree.
    """
    path = folder / LIGHT if light else graph_path(folder, FULL)
    return path, write_graph(checkpoint, path, light=light)


def write_graph(checkpoint: Checkpoint, path: Path, *, light: bool = False) -> Mapping[str, float]:
    """Write the graph to ``path``, whole or not at all, after `check`; returns the figures of that."""
    model = to_onnx(checkpoint)
    if light:
        refer_to_weights(model, path.with_name(WEIGHTS))
    with replacing(path) as temporary:
        onnx.save(model, temporary)
        return check(checkpoint, temporary)


def to_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    """The graph of a checkpoint, with its metadata. Raises ExportError where there is none."""
    config = checkpoint.config
    if config.members:
        raise ExportError(f"{checkpoint.name} is an ensemble, which has no graph; export its members one by one")
    if config.recipe.method not in FORMULAS:
        raise ExportError(f"maps by {config.recipe.method!r} have no graph; those by {', '.join(FORMULAS)} have")
    module = FilmsToMaps(checkpoint)
    target = default_target(config)
    mapped = MAPPED if module.takes_fine else FILMS
    inputs = [torch.rand(FILMS, 1, *module.plain.size) * 255, torch.from_numpy(target).expand(mapped, -1).clone()]
    names = ["image", "target"]
    if module.takes_fine:
        inputs.append(torch.rand(mapped, 1, *module.fine.size) * 255)
        names.append("fine")
    with torch.no_grad():
        traced = make_fx(
            module, decomposition_table=_backward_in_plain_operations(), tracing_mode="symbolic",
            _allow_non_fake_inputs=True,
        )(*inputs)  # fmt: skip
    traced.eval().graph.eliminate_dead_code()
    traced.recompile()
    counts = {count: torch.export.Dim(f"films{count}", min=0, max=65536) for count in {FILMS, mapped}}
    program = torch.onnx.export(
        traced, tuple(inputs), dynamo=True, dynamic_shapes=tuple({0: counts[len(own)]} for own in inputs),
        input_names=names, output_names=["logits", "probability", "heatmap"], verbose=False, optimize=False,
    )  # fmt: skip
    model = program.model_proto
    if module.takes_fine:
        make_fine_optional(model, module.plain.size, module.fine.size)
    make_target_optional(model, target, may_be_empty=module.takes_fine)
    for key, value in metadata(checkpoint, module).items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    return model


def default_target(config: CheckpointConfig) -> np.ndarray:
    """The weights (1, K) over the logits of what is explained when nothing is asked for.

    What the checkpoint's own map explains, else the finding, else the mean of all labels but the normal one.
    """
    labels = config.labels
    asked = config.recipe.target or (labels.finding if labels.finding in labels.names else None)
    if asked is not None:
        return np.array(weigh(asked, np.zeros((1, len(labels.names))), labels.names)[0], dtype=np.float32)
    within = np.array([[name != labels.normal for name in labels.names]], dtype=np.float32)
    return within / within.sum()


def metadata(checkpoint: Checkpoint, module: FilmsToMaps) -> dict[str, str]:
    """What a program needs beside the graph, as JSON texts by name: everything of config.json's own block.

    "weights": the SHA-256 of the weights' file; "layer": the one that the map is read at; "grid": its cells (gh, gw);
    and all by which `graph_store.fits` tells the graph of another computation.
    """
    stored = read_json(checkpoint.path / CONFIG)["hf_pneumo"]
    here = {"name": checkpoint.name, "revision": checkpoint.revision, "weights": checkpoint.sha256}
    read = {"layer": module.layer.name, "grid": list(module.cells)}
    return {METADATA: json.dumps({**stored, **here, **read, **said_of(checkpoint.config)}, ensure_ascii=False)}


def check(checkpoint: Checkpoint, path: Path) -> Mapping[str, float]:
    """How far the graph at ``path`` lies from `explain` on phantoms.

    The largest difference of a "probability", and the mean and the largest one of a "heatmap". Raises ExportError where
    they are more than rounding.
    """
    config, recipe = checkpoint.config, checkpoint.config.recipe
    phantoms = [make_phantom(seed, opacities=seed % 3).film.gray8 for seed in range(3)]
    finer = recipe.preprocess(config.preprocess)
    films, fine = (np.stack([own.to_gray(film) for film in phantoms]) for own in (config.preprocess, finer))
    labels = config.labels
    target = labels.names[int(default_target(config)[0].argmax())]
    row = weigh(target, np.zeros((1, len(labels.names))), labels.names)[0]
    result = Graph(path).run(films, row, fine=fine)
    with torch.inference_mode():
        x = to_tensor(config.preprocess, films)
        logits = answer(checkpoint.network, x, mirror=config.preprocess.mirror).numpy()
    probability = labels.probabilities(logits, config.operating_point.temperature)
    explanations = explain(
        checkpoint.network, to_tensor(finer, fine), method=recipe.method, target=target, **recipe.options
    )
    apart = np.abs(np.stack([explanation.heatmap for explanation in explanations]) - result.heatmap)
    differences = {
        "probability": float(np.abs(result.probability - probability).max()),
        "heatmap": float(apart.mean((1, 2)).max()),
        "heatmap's pixel": float(apart.max()),
    }
    bounds = (TOLERANCE, AVERAGE, LARGEST)
    if wrong := {name: own for (name, own), top in zip(differences.items(), bounds, strict=True) if not own <= top}:
        raise ExportError(f"the graph of {checkpoint.name} differs from torch by {wrong}; it was not written")
    return differences


def _backward_in_plain_operations() -> dict[Any, Callable[..., Any]]:
    """Decompositions of every backward operation that a head may need into operations that ONNX has."""
    backward = (getattr(aten, name) for name in dir(aten) if "backward" in name)
    table = dict(get_decompositions([one for one in backward if one is not aten.convolution_backward]))
    return table | {
        aten.convolution_backward.default: _convolution_backward,
        aten.avg_pool2d_backward.default: _average_backward,
    }


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


def _average_backward(
    gradient: torch.Tensor, image: torch.Tensor, kernel: list[int], stride: list[int], padding: list[int],
    ceil_mode: bool, count_include_pad: bool, divisor: int | None,
) -> torch.Tensor:  # fmt: skip
    """The gradient by the image of average pooling: a convolution with equal weights the other way round."""
    channels = image.shape[1]
    share = torch.full((channels, 1, *kernel), 1 / (divisor or kernel[0] * kernel[1]))
    args = [stride or kernel, padding, [0, 0], channels, [1, 1]]
    covered = [(gradient.shape[2 + i] - 1) * args[0][i] - 2 * padding[i] + kernel[i] for i in range(2)]
    args[2] = [int(image.shape[2 + i]) - int(covered[i]) for i in range(2)]
    return nn.functional.conv_transpose2d(gradient, share, None, *args)
