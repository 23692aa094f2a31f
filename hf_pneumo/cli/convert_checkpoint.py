"""Turn a .pth file of the paper's repository (arXiv 2511.00456) into a checkpoint folder.

    hf-pneumo convert --weights best_resnet18.pt --output converted/resnet18

The file is a pickle; only tensors and plain values are taken from it, a file with anything else is refused and nothing
in it is executed. The result is compared with torchvision's own network before it is written.
"""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_pneumo.hub.convert import convert_weights
from hf_pneumo.models.hub_download import CheckpointError

# The paper's script stores its validation scores as numpy floats; what rebuilds a float runs nothing.
_SCALAR = np.float64(0).__reduce__()[0]
HARMLESS = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
]

# Keras' ResNet-50 is the first version, which strides in the first convolution of a block (1x1), torchvision's and
# timm's in the second (3x3): with equal tensors they compute different maps.
KERAS = (".h5", ".hdf5", ".keras")


@dataclass(frozen=True)
class Arguments:
    weights: str = field(metadata={"help": "the .pth or .pt file"})
    output: str = field(metadata={"help": "the checkpoint folder to write"})
    arch: str | None = field(default=None, metadata={"help": "the paper's name of the network, if the file has none"})


def read(path: Path) -> dict[str, Any]:
    """The tensors and plain values of a .pth file; CheckpointError when it holds, or is, anything else."""
    if path.suffix.lower() in KERAS:
        raise CheckpointError(
            f"`weights` {str(path)!r} is a Keras file: its ResNet-50 strides in another layer than timm's, so that no "
            "checkpoint here can give its logits; train anew with scripts/configs/fordham.yaml."
        )
    if not path.is_file():
        raise CheckpointError(f"`weights` {str(path)!r} does not exist; give a .pth file.")
    try:
        with torch.serialization.safe_globals(HARMLESS):
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_reason(path, str(error))) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"`weights` {str(path)!r} is damaged or no .pth file; download it again.") from error
    if not isinstance(stored, dict):
        raise CheckpointError(f"`weights` {str(path)!r} holds a {type(stored).__name__}; a dictionary is needed.")
    return stored


def _reason(path: Path, error: str) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", error)
    what = f"holds more than tensors and plain values ({found[1]})" if found else "is damaged, or no file of tensors"
    fix = "it is refused and nothing in it was executed: take it from the paper's own page."
    return f"`weights` {str(path)!r} {what}; {fix}"


def run(arguments: Arguments) -> None:
    folder = convert_weights(read(Path(arguments.weights)), arguments.output, arch=arguments.arch)
    print(f"{folder}: its logits equal torchvision's; next: hf-pneumo evaluate --checkpoint {folder} ...")
