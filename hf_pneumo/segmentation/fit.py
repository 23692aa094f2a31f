"""The training loop of the segmenter: AdamW on one cycle, cross-entropy plus soft Dice where masks are trusted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_pneumo.imaging.lungs import SIDE
from hf_pneumo.segmentation.augment import augmented
from hf_pneumo.segmentation.network import LungUNet
from hf_pneumo.segmentation.samples import Samples

logger = logging.getLogger(__name__)

REPORTS = 20  # lines of the log a training


@dataclass(frozen=True)
class Schedule:
    """How long and how fast the network learns."""

    steps: int = 350
    batch: int = 16
    lr: float = 2e-3
    weight_decay: float = 0.01
    seed: int = 0


def fit_segmenter(
    network: LungUNet, samples: Samples, schedule: Schedule, log: Callable[[dict], None] | None = None
) -> LungUNet:
    """Train ``network`` in place and return it in eval mode; ``log`` gets {"step", "loss"} about REPORTS times."""
    generator = torch.Generator().manual_seed(schedule.seed)
    films, lungs, trusted = (torch.from_numpy(a) for a in (samples.films, samples.lungs, samples.trusted))
    odds = torch.from_numpy(samples.weight / samples.weight.sum())
    optimizer = torch.optim.AdamW(network.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
    total = max(schedule.steps, 2)
    rise = max(0.2, 1.5 / total)  # of half a step at least: OneCycleLR divides by the steps in which it rises
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.lr, total_steps=total, pct_start=rise)
    network.train().to(memory_format=torch.channels_last)
    losses = []
    for step in range(1, schedule.steps + 1):
        rows = torch.multinomial(odds, schedule.batch, replacement=True, generator=generator)
        film, lung, sure = (stack[rows].unsqueeze(1) for stack in (films, lungs, trusted))  # (B, 1, S, S) each
        x, target, trust = augmented(film / 255, lung.float(), sure.float(), generator)
        value = loss(network(x), target, trust)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        cycle.step()
        losses.append(value.item())
        if step % max(1, schedule.steps // REPORTS) == 0 or step == schedule.steps:
            mean, losses = float(np.mean(losses)), []
            logger.info("step %d of %d: loss %.4f", step, schedule.steps, mean)
            if log:
                log({"step": step, "loss": mean})
    return network.eval()


def loss(logits: Tensor, target: Tensor, trust: Tensor) -> Tensor:
    """Mean cross-entropy plus 1 - soft Dice over films that hold lungs; logits (B, 1, h, w), the others at SIDE."""
    logits = F.interpolate(logits, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    entropy = F.binary_cross_entropy_with_logits(logits, target, weight=trust)
    p, target = logits.sigmoid() * trust, target * trust
    overlap = (2 * (p * target).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)
    return entropy + ((1 - overlap) * (target.sum((1, 2, 3)) > 0)).mean()
