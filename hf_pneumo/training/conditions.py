"""What a run's losses depend on beside its config: recorded in its state, and compared before it goes on."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import torch
from accelerate import Accelerator

from hf_pneumo.data.film_cache import Films

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "timm", "accelerate", "numpy")  # whose code computes the losses
DIGITS = 16

Conditions = Mapping[str, str | int]


def conditions_of(
    accelerator: Accelerator, train: Films, val: Films, *, batch_size: int, teacher_sha256: str | None = None
) -> dict[str, str | int]:
    """The run's conditions by name, JSON-ready."""
    device = accelerator.device
    on_cpu = device.type == "cpu"
    return {
        "processes": accelerator.num_processes,
        "batch size": batch_size,
        "accumulated batches": accelerator.gradient_accumulation_steps,
        "precision": str(accelerator.mixed_precision),
        "device": f"cpu ({platform.machine()})" if on_cpu else torch.cuda.get_device_name(device),
        **({"threads (OMP_NUM_THREADS)": torch.get_num_threads()} if on_cpu else {}),
        **{f"version of {package}": version(package) for package in PACKAGES},
        "training films": films_digest(train),
        "validation films": films_digest(val),
        **({"teacher's weights": teacher_sha256[:DIGITS]} if teacher_sha256 else {}),
    }


def films_digest(films: Films) -> str:
    """One digest of the films' pixels and labels, in their order."""
    digest = hashlib.sha256("".join(films.digests).encode())
    digest.update(np.array(films.table["label"], dtype=np.float64).tobytes())
    return digest.hexdigest()[:DIGITS]


def check_conditions(before: Conditions | None, now: Conditions) -> None:
    """Raise ValueError, in one sentence that names every difference, where a run would not go on as it began."""
    if not before:
        logger.warning("The state does not say under what conditions the run began: the losses may not go on alike.")
        return
    names = list(dict.fromkeys((*before, *now)))
    changed = [f"{n} was {before.get(n)}, is {now.get(n)}" for n in names if before.get(n) != now.get(n)]
    if changed:
        raise ValueError(
            f"`resume` would not give the run that was begun: {', '.join(changed)}; go on as before, or begin anew in "
            "another folder"
        )
