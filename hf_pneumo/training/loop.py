"""The training loop: accelerate, films as uint8 tensors, augmentation by batches on the training device.

Every random draw of a step follows from (seed, epoch, step, process), so that a run that was killed continues with the
same losses as one that was not.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
)
from tqdm.auto import tqdm

from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.uncertain_labels import targets
from hf_pneumo.evaluation.classification.metrics import mean_auroc
from hf_pneumo.imaging.preprocess import LUNGS, Preprocess
from hf_pneumo.models.checkpoint import Checkpoint, write_weights
from hf_pneumo.models.classifier import set_training
from hf_pneumo.models.config import WEIGHTS, weights_sha256
from hf_pneumo.models.inference import predict_logits, resized
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.training.augment import augmented, policy_named
from hf_pneumo.training.conditions import check_conditions, conditions_of
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.distillation import Teacher
from hf_pneumo.training.losses import make_loss
from hf_pneumo.training.state import STATE, load_state, read_progress, save_state

logger = logging.getLogger(__name__)

LOG, BEST = "training.jsonl", "best.safetensors"
WARM_UP = 0.2  # share of the steps in which the one-cycle schedule rises


@dataclass
class Progress:
    """Where a run stands: the next epoch and step in it, and the best validation so far."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: tuple[float, float] = (-math.inf, -math.inf)  # what `choose_by` names, then what decides where it ties
    best_epoch: int = -1
    seconds: float = 0.0
    log_bytes: int = 0
    schedule: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)  # see `training.conditions`


class Trainer:
    """One run. ``fit`` leaves the best epoch's weights in the network; its log is ``training.jsonl`` in the output.

    ``network``: a classifier of `models.build`. ``train`` and ``val``: films with integer or multi-hot labels.
    ``teacher``: what ``config.teacher`` names, if anything.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: nn.Module,
        labels: LabelSet,
        preprocess: Preprocess,
        train: Films,
        val: Films,
        accelerator: Accelerator,
        teacher: Checkpoint | None = None,
    ):
        self.config, self.labels, self.preprocess, self.accelerator = config, labels, preprocess, accelerator
        self.folder = Path(config.output)
        device = accelerator.device
        self.gray = torch.from_numpy(np.asarray(train.gray)).to(device)  # (N, h, w), the whole set, once
        self.targets = _targets(train, labels, config)
        self.val_gray, self.val_labels = np.asarray(val.gray), np.array(val.table["label"])
        self.groups = _groups(train, labels, config.balance)
        self.loss = make_loss(config, labels, self.targets)
        self.policy = policy_named(config.augment)
        self.steps = max(len(train) // (config.batch_size * accelerator.num_processes), 1)
        network.to(device, memory_format=torch.channels_last)
        self.average = (
            _moving_average(network, config.ema_decay) if config.ema_decay else None
        )  # copied before it is watched
        self.teacher = Teacher(teacher, config, network, labels, preprocess, accelerator) if teacher else None
        learning = [network, *([self.teacher.projection] if self.teacher else [])]
        trainable = [p for module in learning for p in module.parameters() if p.requires_grad]
        optimizer_class = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
        optimizer = optimizer_class(trainable, config.learning_rate, weight_decay=config.weight_decay)
        self.schedule = _schedule(optimizer, config, self.steps * config.epochs)
        self.network, self.optimizer = accelerator.prepare(network, optimizer)
        self.bare = accelerator.unwrap_model(self.network)
        self.conditions = conditions_of(
            accelerator,
            train,
            val,
            batch_size=config.batch_size,
            teacher_sha256=weights_sha256(teacher.path / WEIGHTS) if teacher else None,
        )
        self.progress = Progress(conditions=self.conditions)
        self.targets = self.targets.to(device)

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept: the moving average where there is one."""
        return self.average.module if self.average else self.bare

    def fit(self) -> nn.Module:
        """Train to the end or to early stopping, resuming where ``config.resume`` finds a state."""
        self._open()
        main = self.accelerator.is_main_process
        total = self.steps * self.config.epochs
        done = self.progress.epoch * self.steps + self.progress.step
        with tqdm(total=total, initial=done, desc="training", unit="step", disable=not main, smoothing=0.05) as bar:
            while self.progress.epoch < self.config.epochs and not self._patience_is_over():
                self._epoch(bar)
        if self.teacher:
            self.teacher.leave()
        weights = load_file(self.folder / BEST)
        self.bare.load_state_dict(weights)
        self.accelerator.wait_for_everyone()
        if main:
            (self.folder / STATE).unlink(missing_ok=True)
            (self.folder / BEST).unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        return self.bare.eval()

    def _epoch(self, bar: tqdm) -> None:
        config, progress = self.config, self.progress
        started = time.monotonic()
        side = config.low_res_size if progress.epoch < config.low_res_epochs else None
        order = self._order(progress.epoch)
        set_training(self.bare)
        for rows in order[progress.step :]:
            self.step(rows, side)
            bar.update()
            bar.set_postfix(epoch=progress.epoch + 1, loss=f"{progress.loss_sum / progress.step:.3f}", refresh=False)
            if progress.step % config.save_every == 0 and progress.step < self.steps:
                progress.seconds += time.monotonic() - started
                started = time.monotonic()
                self._save()
        row = self._validate(side)
        progress.seconds += time.monotonic() - started
        self._log(row | {"train_loss": progress.loss_sum / self.steps, "seconds": round(progress.seconds, 1)})
        if self.accelerator.is_main_process:
            tqdm.write(
                f"epoch {progress.epoch + 1}/{config.epochs}  train loss {progress.loss_sum / self.steps:.4f}  "
                f"val loss {row['val_loss']:.4f}  val AUROC {row['val_auroc']:.4f}"
            )
        progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
        self._save()

    def step(self, rows: Tensor, side: int | None = None) -> float:
        """Go one optimizer step on, with the films ``rows`` at ``side`` pixels (None: their own) as a batch.

        Logs the step and returns the loss of this process. Raises FloatingPointError where the loss is not finite.
        """
        config, progress = self.config, self.progress
        seed = _seed(config.seed, progress.epoch, progress.step, self.accelerator.process_index)
        torch.manual_seed(seed)  # dropout and drop path draw from the global generators
        x = augmented(
            self.gray[rows],
            self.policy,
            torch.Generator().manual_seed(seed),
            cut=self.preprocess.crop == LUNGS,
        )  # (B, h, w) in [0, 1]
        films = resized(x, side) if side else x
        x = to_tensor(self.preprocess, films).contiguous(memory_format=torch.channels_last)  # (B, 3, h, w)
        with self.accelerator.autocast():
            logits = self.network(x)
        loss = self.loss(logits.float(), self.targets[rows])
        if self.teacher:
            loss = loss + self.teacher.lesson(films, logits.float())
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} in epoch {progress.epoch + 1}, step {progress.step + 1}; lower "
                "`learning_rate` or take `mixed_precision` no"
            )
        self.accelerator.backward(loss)
        if config.max_grad_norm:
            self.accelerator.clip_grad_norm_(self.bare.parameters(), config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if not isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step()
        if self.average:
            self.average.update_parameters(self.bare)
        value = loss.item()
        progress.loss_sum += value
        progress.step += 1
        self._log({"epoch": progress.epoch, "step": progress.step, "loss": value, "lr": self._rate()})
        return value

    def _validate(self, side: int | None) -> dict[str, Any]:
        """Score the kept network on val, keep it if it is the best, and let the plateau schedule know."""
        once = replace(self.preprocess, mirror=False)  # to choose an epoch, half the cost will do
        logits = predict_logits(self.kept, self.val_gray, once, accelerator=self.accelerator, side=side)
        loss = self.labels.negative_log_likelihood(logits, self.val_labels)
        auroc = mean_auroc(self.labels, logits, self.val_labels)
        values = {"auroc": (auroc, -loss), "loss": (-loss, auroc)}
        row = {"epoch": self.progress.epoch, "val_loss": loss, "val_auroc": auroc, "side": side}
        if self.labels.exclusive:
            accuracy = float((logits.argmax(1) == self.val_labels).mean())
            row["val_accuracy"] = accuracy
            # Of epochs with the same accuracy the first is taken, as arXiv 2511.00456 does.
            values["accuracy"] = accuracy, 0.0
        value = values[self.config.choose_by]
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(loss)
        # Weights of the small epochs see another input than the one that is served, so that they are not candidates.
        if side is None and value > self.progress.best:
            self.progress.best, self.progress.best_epoch = value, self.progress.epoch
            if self.accelerator.is_main_process:
                write_weights(self.folder / BEST, self.kept)
        return row

    def _patience_is_over(self) -> bool:
        waited = self.progress.epoch - 1 - self.progress.best_epoch
        return bool(self.config.patience) and self.progress.best_epoch >= 0 and waited >= self.config.patience

    def _order(self, epoch: int) -> list[Tensor]:
        """The epoch's batches of row numbers for this process; the same draw on every process, dealt out in turn."""
        generator = torch.Generator().manual_seed(_seed(self.config.seed, epoch))
        size = self.config.batch_size
        wanted = self.steps * size * self.accelerator.num_processes
        n = len(self.gray)
        if self.groups is not None:
            counts = torch.bincount(self.groups)
            rows = torch.multinomial(1.0 / counts[self.groups].double(), wanted, True, generator=generator)
        else:
            rows = torch.randperm(n, generator=generator)
            rows = rows.repeat(-(-wanted // n))[:wanted]
        share = rows[self.accelerator.process_index :: self.accelerator.num_processes].to(self.gray.device)
        return list(share.split(size))

    def _rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    # The run's files --------------------------------------------------------------------------------------------

    def _modules(self) -> dict[str, nn.Module]:
        teaching = {"projection": self.teacher.projection} if self.teacher else {}
        return {"network": self.bare} | ({"average": self.average} if self.average else {}) | teaching

    def _open(self) -> None:
        """Start the log, or go back to where the last saved state left it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self.folder / STATE
        if not state.exists():
            if self.accelerator.is_main_process:
                (self.folder / LOG).write_text("", encoding="utf-8")
            self.accelerator.wait_for_everyone()
            return
        check_conditions(read_progress(self.folder).get("conditions"), self.conditions)
        stored = load_state(self.folder, self._modules(), self.optimizer.optimizer)
        self.progress = Progress(**stored | {"best": tuple(stored["best"]), "conditions": self.conditions})
        self.schedule.load_state_dict(self.progress.schedule)
        if self.accelerator.is_main_process:
            with (self.folder / LOG).open("r+b") as log:
                log.truncate(self.progress.log_bytes)
        self.accelerator.wait_for_everyone()

    def _save(self) -> None:
        """Save all that the next step needs; the log's length tells what a resumed run must forget."""
        self.progress.schedule = self.schedule.state_dict()
        if self.accelerator.is_main_process:
            self.progress.log_bytes = (self.folder / LOG).stat().st_size
            save_state(self.folder, self._modules(), self.optimizer.optimizer, asdict(self.progress))
        self.accelerator.wait_for_everyone()

    def _log(self, row: dict[str, Any]) -> None:
        if not self.accelerator.is_main_process:
            return
        with (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        at = row["epoch"] * self.steps + row.get("step", self.steps)
        self.accelerator.log({k: v for k, v in row.items() if isinstance(v, float)}, step=at)


def read_log(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a run's training.jsonl."""
    with (folder / LOG).open(encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def _targets(films: Films, labels: LabelSet, config: TrainConfig) -> Tensor:
    """What is learnt: class indices, or values in [0, 1] with NaN where nothing is to be learnt (N, K)."""
    values = np.array(films.table["label"])
    if labels.exclusive:
        return torch.from_numpy(values)
    generator = np.random.default_rng(config.seed)
    learnt, mask = targets(values, policy=config.uncertain, blanks="ignore", names=labels.names, rng=generator)
    return torch.from_numpy(np.where(mask, learnt, np.float32(np.nan)))


def _groups(films: Films, labels: LabelSet, balance: str) -> Tensor | None:
    """Each film's group (N,), by class or by view and class, which are drawn equally; None to draw every film."""
    if not labels.exclusive or balance not in ("sampler", "view-sampler"):
        return None
    classes = np.array(films.table["label"])
    views = films.table["view"] if balance == "view-sampler" else [None] * len(classes)
    pairs = [f"{view}/{label}" for view, label in zip(views, classes, strict=True)]
    return torch.from_numpy(np.unique(pairs, return_inverse=True)[1])


def _seed(*parts: int) -> int:
    """One 63-bit seed from several whole numbers, well mixed."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def _moving_average(network: nn.Module, decay: float) -> torch.optim.swa_utils.AveragedModel:
    """Moving average of weights and buffers that starts short, so that early epochs are not the initial weights."""

    def update(average: Tensor, value: Tensor, n: Tensor | int) -> Tensor:
        n = float(n)
        return average + (value - average) * (1 - min(decay, (1 + n) / (10 + n)))

    return torch.optim.swa_utils.AveragedModel(network, avg_fn=update, use_buffers=True)


def _schedule(optimizer: torch.optim.Optimizer, config: TrainConfig, steps: int) -> LRScheduler | ReduceLROnPlateau:
    if config.schedule == "onecycle":
        # One step more than is taken: the schedule's last rate is reached, not passed.
        total = steps + 1
        rise = max(WARM_UP, 1.5 / total)  # of half a step at least: OneCycleLR divides by the steps in which it rises
        return OneCycleLR(optimizer, config.learning_rate, total_steps=total, pct_start=rise)
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if config.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=2)  # the NUS report's
    return ConstantLR(optimizer, factor=1.0)
