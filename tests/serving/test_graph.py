"""Where a checkpoint's graph lies."""

from __future__ import annotations

from hf_pneumo.serving.graph import graph_path


def test_every_precision_has_its_file(tmp_path):
    paths = {graph_path(tmp_path, precision) for precision in ("fp32", "fp16", "int8")}
    assert len(paths) == 3 and all(path.is_relative_to(tmp_path) and path.suffix == ".onnx" for path in paths)
