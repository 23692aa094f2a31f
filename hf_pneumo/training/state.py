"""The state of an unfinished run, in one safetensors file that is replaced whole: no pickle, never half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from hf_pneumo.files import replacing

STATE = "state.safetensors"


def save_state(folder: Path, modules: dict[str, nn.Module], optimizer: Optimizer, progress: dict[str, Any]) -> None:
    """Write the weights of ``modules``, the optimizer and the JSON-ready ``progress`` to ``folder``."""
    tensors = {f"{name}/{k}": v for name, module in modules.items() for k, v in module.state_dict().items()}
    stored = optimizer.state_dict()
    scalars: dict[str, dict[str, Any]] = {}
    for index, values in stored["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                scalars.setdefault(str(index), {})[name] = value
    extra = {"groups": stored["param_groups"], "scalars": scalars, "progress": progress}
    contiguous = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    with replacing(folder / STATE) as temporary:
        save_file(contiguous, temporary, metadata={"state": json.dumps(extra)})
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())


def read_progress(folder: Path) -> dict[str, Any]:
    """The progress that was saved in ``folder``, without the tensors."""
    with safe_open(folder / STATE, framework="pt") as stored:
        return json.loads(stored.metadata()["state"])["progress"]


def load_state(folder: Path, modules: dict[str, nn.Module], optimizer: Optimizer) -> dict[str, Any]:
    """Restore ``modules`` and ``optimizer`` in place from ``folder``; returns the progress that was saved."""
    with safe_open(folder / STATE, framework="pt") as stored:
        extra = json.loads(stored.metadata()["state"])
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
    for name, module in modules.items():
        prefix = f"{name}/"
        module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    state: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in extra["scalars"].items()}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": extra["groups"]})
    return extra["progress"]
