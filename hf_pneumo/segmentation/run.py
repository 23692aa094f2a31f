"""One training of the lungs' segmenter: folders of films and masks become an ONNX file, and what was measured."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_pneumo.data.sources import source_name
from hf_pneumo.evaluation.classification.ood import package_pictures
from hf_pneumo.files import write_json
from hf_pneumo.imaging.lungs import LungFinder
from hf_pneumo.imaging.reader import read_xray
from hf_pneumo.segmentation.fit import Schedule, fit_segmenter
from hf_pneumo.segmentation.measure import milliseconds, patient_folds, score, summary
from hf_pneumo.segmentation.network import LungUNet, export_onnx, load_encoder, parameters
from hf_pneumo.segmentation.samples import (
    SUFFIXES,
    Samples,
    blanks,
    drawn_masks,
    drawn_phantoms,
    join,
    machine_masks,
    own_masks,
)  # fmt: skip

logger = logging.getLogger(__name__)

NETWORK, CROSS_VALIDATION = "network.json", "cross_validation.json"
TEST_PHANTOMS, TEST_SEED, TRAINING_SEED = 100, 5, 1000  # phantoms that are measured are none that were learnt from


def _help(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class SegmenterConfig:
    """Every choice of a training; the defaults are those of the shipped network."""

    masks: str = _help("folder with masks.csv (name, patient), images/ and masks/: lungs drawn by annotators", "masks")
    extra: str | None = _help("folder of machine masks (PNG), which count half; needs `extra_films`")
    extra_films: str | None = _help("folder of the films of `extra`, of the same stems")
    films: str | None = _help("folder of films without masks: the network learns from its own masks of some, at half")
    init_weights: str | None = _help("ImageNet weights of the backbone (.safetensors); at random without")
    output: str = _help("the ONNX file to write", "hf_pneumo/imaging/weights/lungs.onnx")
    results: str = _help("folder for what was measured and the log", "results/lungs")
    cross_validate: int = _help("folds by patient; then nothing is shipped, only measured", 0)
    steps: int = _help("training steps", 350)
    own_steps: int = _help("further steps once the network's own masks have joined", 150)
    own: int = _help("films of `films` to learn from", 120)
    phantoms: int = _help("phantoms to learn from", 40)
    blanks: int = _help("patterns, and pieces of pictures, without lungs", 40)
    batch: int = _help("films a step", 16)
    lr: float = _help("highest learning rate", 2e-3)
    seed: int = _help("seed of everything that is drawn", 0)

    def __post_init__(self):
        if bool(self.extra) != bool(self.extra_films):
            raise ValueError("give `extra` and `extra_films` together: masks and the films that they belong to")
        for name in ("steps", "own_steps", "own", "phantoms", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; give 1 or more")
        if self.cross_validate == 1 or self.cross_validate < 0:
            raise ValueError(f"`cross_validate` is {self.cross_validate}; give 2 folds or more, or 0")

    def record(self) -> dict[str, Any]:
        """The choices as results keep them: folders and files by name, not by place."""
        paths = ("masks", "extra", "extra_films", "films", "init_weights")
        return {
            name: source_name(value) if value and name in paths else value
            for name, value in asdict(self).items()
            if name not in ("output", "results")
        }


def train_segmenter(config: SegmenterConfig) -> dict[str, Any]:
    """Train and ship a segmenter, or cross-validate one; returns what was written to ``config.results``.

    Raises ValueError for settings and folders that do not fit, OSError for files that cannot be read or written.
    """
    drawn = drawn_masks(config.masks)
    extra = machine_masks(config.extra, config.extra_films) if config.extra and config.extra_films else None
    helpers = [drawn_phantoms(config.phantoms, TRAINING_SEED), blanks(_pictures(), config.blanks, config.seed)]
    if config.cross_validate:
        report = _cross_validated(config, drawn, extra, helpers)
        path = Path(config.results) / CROSS_VALIDATION
    else:
        report = _shipped(config, [drawn, *([extra] if extra else []), *helpers])
        path = Path(config.results) / NETWORK
    write_json(path, report)
    return report


def _shipped(config: SegmenterConfig, parts: list[Samples]) -> dict[str, Any]:
    log = _Log(Path(config.results) / "log.jsonl")
    network = _fitted(config, join(parts), log)
    learnt = {"masks": sum(len(part) for part in parts)}
    if config.films:
        paths = sorted(path for path in Path(config.films).rglob("*") if path.suffix.lower() in SUFFIXES)
        own = own_masks(paths, config.own, config.seed, _finder(network))
        learnt["own masks"] = len(own)
        again = replace(config, steps=config.own_steps, lr=config.lr / 2, seed=config.seed + 1)
        network = _fitted(again, join([*parts, own]), log, network)
    path = export_onnx(network, config.output)
    find = LungFinder(path.read_bytes())
    return {
        "config": config.record(),
        "films": learnt,
        "parameters": parameters(path),
        "bytes": path.stat().st_size,
        "milliseconds": milliseconds(find),
        "phantoms": asdict(summary(score(drawn_phantoms(TEST_PHANTOMS, TEST_SEED), find))),
    }


def _cross_validated(
    config: SegmenterConfig, drawn: Samples, extra: Samples | None, helpers: list[Samples]
) -> dict[str, Any]:
    """Films of other patients by folds, and ``extra`` as another source that a network saw nothing of.

    Without the network's own masks, whose films a network that knew the test patients would have chosen.
    """
    folds, scores = [], []
    for train, test in patient_folds(drawn.patients, config.cross_validate):
        parts = [drawn.select(train), *([extra] if extra else []), *helpers]
        fold = score(drawn.select(test), _finder(_fitted(config, join(parts))))
        folds.append(asdict(summary(fold)))
        scores += fold
        write_json(Path(config.results) / CROSS_VALIDATION, {"config": config.record(), "folds": folds})
        logger.info("fold %d of %d: %s", len(folds), config.cross_validate, folds[-1])
    report = {"config": config.record(), "all folds": asdict(summary(scores)), "folds": folds}
    if extra:
        find = _finder(_fitted(config, join([drawn, *helpers])))
        report["another source"] = asdict(summary(score(extra, find)))
    return report


def _fitted(
    config: SegmenterConfig,
    samples: Samples,
    log: Callable[[dict], None] | None = None,
    network: LungUNet | None = None,
) -> LungUNet:
    """``network``, or a new one, trained on ``samples``."""
    torch.manual_seed(config.seed)
    if network is None:
        network = LungUNet()
        if config.init_weights:
            load_encoder(network, config.init_weights)
    schedule = Schedule(steps=config.steps, batch=config.batch, lr=config.lr, seed=config.seed)
    return fit_segmenter(network, samples, schedule, log)


def _finder(network: LungUNet) -> LungFinder:
    """``network`` as it would be shipped."""
    with tempfile.TemporaryDirectory() as folder:
        return LungFinder(export_onnx(network, Path(folder) / "lungs.onnx").read_bytes())


def _pictures() -> list[np.ndarray]:
    return [read_xray(path).gray8 for paths in package_pictures().values() for path in paths]


class _Log:
    """JSON lines of a training, begun anew."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        self._path = path

    def __call__(self, line: dict) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
