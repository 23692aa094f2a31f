"""What is changed in an exported graph: inputs that may be left out, weights that lie in another file; needs onnx."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

SMALLEST = 256  # bytes below which a tensor stays in the graph
COUNT = "number of maps"


def make_target_optional(model: onnx.ModelProto, row: np.ndarray, *, may_be_empty: bool) -> None:
    """Make the input "target" optional and one row enough: its default is ``row`` (1, K), spread over the films.

    ``may_be_empty``: no row at all asks for no map.
    """
    graph = model.graph
    _rename(graph, "target", "target of each film")
    graph.initializer.extend([_integers("number of labels", row.shape[1]), numpy_helper.from_array(row, "target")])
    _describe(graph, "target", ["T", row.shape[1]])
    _put_first(graph, [
        *(_count_of_maps() if may_be_empty else _count(COUNT)),
        helper.make_node("Concat", [COUNT, "number of labels"], ["films and labels"], axis=0),
        helper.make_node("Expand", ["target", "films and labels"], ["target of each film"]),
    ])  # fmt: skip
    if may_be_empty:
        graph.initializer.append(_integers("one", 1))


def make_fine_optional(model: onnx.ModelProto, plain: Sequence[int], fine: Sequence[int]) -> None:
    """Make the input "fine" (N, 1, H, W) optional: without it, "image" (N, 1, h, w) is enlarged.

    What is 0 in "image", as all is outside the lungs, stays 0.
    """
    graph = model.graph
    _rename(graph, "fine", "fine film of each")
    nothing = np.zeros((0, 1, *fine), dtype=np.float32)
    scales = np.array([1, 1, *(new / old for old, new in zip(plain, fine, strict=True))], dtype=np.float32)
    graph.initializer.extend([
        numpy_helper.from_array(nothing, "fine"), numpy_helper.from_array(scales, "enlargement"),
        numpy_helper.from_array(np.zeros(1, dtype=np.float32), "black"), _integers("first", 0), _integers("along", 0),
    ])  # fmt: skip
    _describe(graph, "fine", ["F", 1, *fine])
    _put_first(graph, [
        helper.make_node("Resize", ["image", "", "enlargement"], ["enlarged"], mode="linear"),
        helper.make_node("Resize", ["image", "", "enlargement"], ["blocks"], mode="nearest"),
        helper.make_node("Greater", ["blocks", "black"], ["within"]),
        helper.make_node("Where", ["within", "enlarged", "black"], ["enlarged within"]),
        helper.make_node("Concat", ["fine", "enlarged within"], ["given and enlarged"], axis=0),
        helper.make_node("Slice", ["given and enlarged", "first", COUNT, "along"],
                         ["fine film of each"]),
    ])  # fmt: skip


def refer_to_weights(model: onnx.ModelProto, path: Path) -> None:
    """Take out of the graph every tensor that the safetensors file ``path`` holds, and refer to its place there."""
    places = _places(path)
    for tensor in model.graph.initializer:
        content = numpy_helper.to_array(tensor)
        place = places.get(_key(content.tobytes())) if content.nbytes >= SMALLEST else None
        if place:
            tensor.raw_data = content.tobytes()
            set_external_data(tensor, path.name, offset=place[0], length=place[1])
            tensor.ClearField("raw_data")
            for own in ("float_data", "int64_data"):
                tensor.ClearField(own)


def _places(path: Path) -> dict[bytes, tuple[int, int]]:
    """Offset and length in a safetensors file of each tensor, by the digest of its bytes."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    spans = (tuple(own["data_offsets"]) for name, own in header.items() if name != "__metadata__")
    return {_key(content[start + low : start + high]): (start + low, high - low) for low, high in spans}


def _key(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _describe(graph: onnx.GraphProto, name: str, shape: Sequence[int | str]) -> None:
    (described,) = (value for value in graph.input if value.name == name)
    described.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _put_first(graph: onnx.GraphProto, nodes: Sequence[NodeProto]) -> None:
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)


def _count(name: str) -> list[NodeProto]:
    return [helper.make_node("Shape", ["image"], [name], start=0, end=1)]


def _count_of_maps() -> list[NodeProto]:
    """As many as films, or none where there is no target."""
    return [
        *_count("number of films"),
        helper.make_node("Shape", ["target"], ["number of targets"], start=0, end=1),
        helper.make_node("Min", ["number of targets", "one"], ["whether"]),
        helper.make_node("Mul", ["number of films", "whether"], [COUNT]),
    ]


def _integers(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)
