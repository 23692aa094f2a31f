"""Logits of a network over many films, shared out over the processes of an accelerate launch."""

from __future__ import annotations

import logging
import os

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.tensors import to_tensor

BATCH = 64

logger = logging.getLogger(__name__)


def warn_of_idle_cores(accelerator: Accelerator) -> None:
    """Say when a process works on one CPU thread of several: `accelerate launch` gives it that one by itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    alone = accelerator.device.type == "cpu" and accelerator.num_processes == 1 and torch.get_num_threads() == 1
    if alone and cores > 1:
        logger.warning(
            "working on one CPU thread of %d; accelerate launch --num_cpu_threads_per_process %d takes all",
            cores,
            cores,
        )


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    gray: np.ndarray,
    preprocess: Preprocess,
    *,
    accelerator: Accelerator | None = None,
    batch_size: int = BATCH,
    side: int | None = None,
) -> np.ndarray:
    """Logits float32 (N, K) for films ``gray`` uint8 (N, h, w), each film exactly once, in order, on every process.

    ``side``: resize the films to this side first (the small epochs of training). Where ``preprocess`` says so, the mean
    over each film and its mirror image. The network's mode is restored.
    """
    device = accelerator.device if accelerator else next(network.parameters()).device
    processes, rank = (accelerator.num_processes, accelerator.process_index) if accelerator else (1, 0)
    edges = np.linspace(0, len(gray), processes + 1).astype(int)  # contiguous shares, no film twice
    was_training = network.training
    network.eval()
    chunks = []
    try:
        for start in range(edges[rank], edges[rank + 1], batch_size):
            films = torch.from_numpy(np.array(gray[start : min(start + batch_size, edges[rank + 1])])).to(device)
            x = resized(films.float() / 255, side) if side else films
            x = to_tensor(preprocess, x).contiguous(memory_format=torch.channels_last)  # (B, 3, h, w)
            chunks.append(answer(network, x, mirror=preprocess.mirror).cpu().numpy())
    finally:
        network.train(was_training)
    if processes > 1:
        chunks = gather_object(chunks)
    return np.concatenate(chunks).astype(np.float32)


def answer(network: nn.Module, x: torch.Tensor, *, mirror: bool = False) -> torch.Tensor:
    """Logits float32 (B, K) of inputs (B, C, h, w); with ``mirror`` the mean over them and their mirror images."""
    logits = network(x).float()
    return (logits + network(x.flip(-1)).float()) / 2 if mirror else logits


def resized(films: torch.Tensor, side: int) -> torch.Tensor:
    """Films float (B, h, w) at ``side`` x ``side`` pixels, bilinear and antialiased."""
    if films.shape[-2:] == (side, side):
        return films
    return F.interpolate(films.unsqueeze(1), size=(side, side), mode="bilinear", antialias=True).squeeze(1)
