"""Export a checkpoint as one ONNX graph that gives logits, probabilities and heatmaps; checked against torch.

    hf-pneumo export --checkpoint space/checkpoints/pneumonia-paper --output runs/exported

Writes OUTPUT/onnx/model.onnx, where the loaders of the Hub look. The input "image" is float32 (N, 1, height, width),
grey from 0 to 255 at the model's size; normalisation and temperature are in the graph; the optional input "target" says
which weights over the logits the map explains. A checkpoint whose map is made at several sizes takes the films at the
largest of them as "fine". The metadata holds labels, thresholds and preprocessing. With --light OUTPUT/graph.onnx is
written instead, whose weights are those of model.safetensors beside it: the library takes it where there is no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.models.checkpoint import load
from hf_pneumo.serving.export_graph import export_checkpoint


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    output: str = field(metadata={"help": "folder to write onnx/model.onnx into; may be the checkpoint's own"})
    light: bool = field(
        default=False, metadata={"help": "write graph.onnx beside model.safetensors, without weights of its own"}
    )


def run(arguments: Arguments) -> None:
    checkpoint, output = load(arguments.checkpoint), Path(arguments.output)
    if arguments.light and output.resolve() != checkpoint.path.resolve():
        raise ValueError(f"`output` is {arguments.output!r}, and a light graph must lie beside its weights; give "
                         f"{str(checkpoint.path)!r}")  # fmt: skip
    path, differences = export_checkpoint(checkpoint, output, light=arguments.light)
    said = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; differences from torch: {said}")
