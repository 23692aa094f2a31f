"""Where a checkpoint's graph is: in its folder, or in the user's cache, where it is made when it is first asked for."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from huggingface_hub import cached_assets_path

from hf_pneumo.models.folder import CheckpointFolder
from hf_pneumo.serving.graph import LIGHT, Graph, graph_path, said_of

logger = logging.getLogger(__name__)

DIGITS = 16  # of a digest in the name of a folder


def open_graph(folder: CheckpointFolder, *, threads: int = 1, make: bool = False) -> Graph | None:
    """The graph of exactly these weights, this preprocessing and this way to maps; None where there is none.

    It is looked for in the checkpoint's folder (graph.onnx, onnx/model.onnx), then in the cache. ``make``: export it
    into the cache where it is nowhere, which takes torch and a minute. Raises ExportError where it cannot be made.
    """
    cached = _cached(folder)
    for path in (folder.path / LIGHT, graph_path(folder.path), cached):
        graph = _opened(path, threads) if path.is_file() else None
        if graph is not None and fits(graph, folder):
            return graph
    if not make:
        return None
    from hf_pneumo.models.checkpoint import with_network
    from hf_pneumo.serving.export_graph import write_graph

    write_graph(with_network(folder), cached)
    return Graph(cached, threads=threads)


def _opened(path: Path, threads: int) -> Graph | None:
    """The graph of a file; None where it is damaged, or where the weights beside it are not the ones that it names."""
    try:
        return Graph(path, threads=threads)
    except Exception as error:  # onnxruntime raises many kinds of its own
        logger.warning("%s cannot be opened (%s) and is left out; export it anew", path, type(error).__name__)
        return None


def fits(graph: Graph, folder: CheckpointFolder) -> bool:
    """Whether a graph was exported from these weights, and from a config that says the same of input and map."""
    said = {"weights": folder.sha256, **said_of(folder.config)}
    return all(graph.about.get(name) == value for name, value in said.items())


def _cached(folder: CheckpointFolder) -> Path:
    said = json.dumps(said_of(folder.config), sort_keys=True)
    name = f"{folder.sha256[:DIGITS]}-{hashlib.sha256(said.encode()).hexdigest()[:DIGITS]}"
    return Path(cached_assets_path("hf_pneumo", namespace="graphs", subfolder=name)) / "model.onnx"
