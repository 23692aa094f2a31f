"""How long a training run will take on this machine: a few steps of the loop itself, on films of noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

import numpy as np
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from datasets import Dataset

from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.splits import split
from hf_pneumo.models.checkpoint import load
from hf_pneumo.models.classifier import parameter_count
from hf_pneumo.models.inference import predict_logits
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.loop import Trainer
from hf_pneumo.training.run import make_network, make_preprocess, open_source

MEASURED_BATCH = 8  # films at most: enough to fill two cores, and a step of the largest network stays a few seconds
STEPS = 2


@dataclass(frozen=True)
class Speed:
    """Seconds a film costs here: a training step at full size, one at the small size of the first epochs, inference."""

    parameters: int
    train: float
    small: float
    infer: float

    def expected(self, config: TrainConfig, films: Mapping[str, int]) -> float:
        """Seconds of a whole run: ``films`` counts those of "train", "val" and the measured splits."""
        small = min(config.low_res_epochs, config.epochs)
        training = films["train"] * (small * self.small + (config.epochs - small) * self.train)
        measured = sum(n for name, n in films.items() if name != "train") + films["val"] * config.epochs
        return training + measured * self.infer


def noise_films(labels: LabelSet, count: int, side: int) -> Films:
    """``count`` films of noise with every label in turn, to run a loop that is only timed."""
    generator = np.random.default_rng(0)
    gray = generator.integers(0, 256, (count, side, side), dtype=np.uint8)
    classes = len(labels.names)
    label = (
        np.arange(count) % classes
        if labels.exclusive
        else generator.integers(0, 2, (count, classes)).astype(np.float32)
    )
    return Films(gray, Dataset.from_dict({"label": label.tolist()}), tuple(map(str, range(count))), ())


def make_trainer(config: TrainConfig, labels: LabelSet, folder: str, films: int) -> Trainer:
    """A trainer of ``config`` on ``films`` films of noise with random weights, that writes to ``folder`` alone."""
    config = replace(config, output=folder, schedule="constant")  # other schedules end after the run's steps
    config = replace(config, pretrained=False, init_weights=None, report_to="none", resume=False)
    network = make_network(config, len(labels.names))
    precision = None if config.mixed_precision == "no" else config.mixed_precision
    made = noise_films(labels, films, config.size)
    preprocess = make_preprocess(config, network)
    teacher = load(config.teacher) if config.teacher else None
    return Trainer(config, network, labels, preprocess, made, made, Accelerator(mixed_precision=precision), teacher)


def measure_speed(config: TrainConfig, labels: LabelSet, *, steps: int = STEPS) -> Speed:
    """Time ``steps`` of the loop for ``config`` after one that warms up, with a batch of at most eight films."""
    batch = min(config.batch_size, MEASURED_BATCH)
    with TemporaryDirectory() as folder, _own_precision():
        trainer = make_trainer(replace(config, batch_size=batch), labels, folder, batch)
        rows = trainer.targets.new_tensor(range(batch)).long()
        sides = {None, config.low_res_size if config.low_res_epochs else None}
        seconds = {side: _time(lambda side=side: trainer.step(rows, side), steps) / batch for side in sides}
        gray = trainer.val_gray
        infer = _time(lambda: predict_logits(trainer.bare, gray, trainer.preprocess), steps) / batch
    small = seconds.get(config.low_res_size, seconds[None])
    return Speed(parameter_count(trainer.bare), seconds[None], small, infer)


@contextmanager
def _own_precision() -> Iterator[None]:
    """accelerate has one precision a process, which neither comes from an earlier trainer nor goes to a later one."""
    AcceleratorState._reset_state()
    try:
        yield
    finally:
        AcceleratorState._reset_state()


def _time(call: Callable[[], object], steps: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    call()
    found = []
    for _ in range(steps):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def count_films(config: TrainConfig, splits: tuple[str, ...]) -> tuple[dict[str, int], LabelSet]:
    """About how many films train, val and ``splits`` have, and the labels; no film is read, so none are alike."""
    dataset, labels = open_source(config)
    table = dataset.remove_columns("image")
    parts = split(table, config.protocol, labels, [str(i) for i in range(len(table))])
    return {name: len(parts[name]) for name in dict.fromkeys(("train", "val", *splits))}, labels


def in_words(seconds: float) -> str:
    """A duration for people: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
