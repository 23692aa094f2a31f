"""Weights of a graph that lie in another file."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

from hf_pneumo.serving.onnx_edits import refer_to_weights  # noqa: E402


def test_a_large_tensor_is_referred_to_and_a_small_one_stays(tmp_path):
    large, small = np.arange(256, dtype=np.float32), np.ones(2, dtype=np.float32)
    save_file({"large": large, "small": small}, tmp_path / "model.safetensors")
    tensors = [numpy_helper.from_array(large, "a"), numpy_helper.from_array(small, "b")]
    nodes = [helper.make_node("Identity", ["a"], ["y"])]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [256])
    model = helper.make_model(helper.make_graph(nodes, "g", [], [result], tensors))
    refer_to_weights(model, tmp_path / "model.safetensors")
    first, second = model.graph.initializer
    assert first.data_location == TensorProto.EXTERNAL and second.data_location != TensorProto.EXTERNAL
    onnx.save(model, str(tmp_path / "graph.onnx"))
    again = onnx.load(str(tmp_path / "graph.onnx"))
    np.testing.assert_array_equal(numpy_helper.to_array(again.graph.initializer[0]), large)
