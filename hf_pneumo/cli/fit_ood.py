"""Teach a checkpoint to tell the films it was trained on from other pictures, and measure how well it does.

    hf-pneumo fit-ood --checkpoint space/checkpoints/pneumonia-children --dataset SRC --protocol official

Fits the density of training films (at most 1,000), its threshold on the val films, and writes film_density.safetensors
and results/ood.json into the checkpoint's folder. Measured on the test films, the same films turned, inverted or cut,
and pictures that installed packages bring along; --radiographs adds real ones of other body parts. Seconds on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hf_pneumo.cli.films import find_films
from hf_pneumo.cli.split_options import protocol_option
from hf_pneumo.data.splits import split
from hf_pneumo.evaluation.classification.evaluate import open_all
from hf_pneumo.evaluation.classification.ood import (
    FittedReport,
    fit_density,
    measure_density,
    package_pictures,
    read_pictures,
)
from hf_pneumo.models.checkpoint import load
from hf_pneumo.models.ood_detector import FilmDensity


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder"})
    dataset: str = field(metadata={"help": "what it was trained on: Hub id, folder, CSV table, or phantom[:n]"})
    protocol: str | None = protocol_option("split protocol (default: the checkpoint's own)", default=None)
    radiographs: list[str] = field(
        default_factory=list, metadata={"help": "files or folders of real radiographs of other body parts, to measure"}
    )
    revision: str | None = field(default=None, metadata={"help": "revision of a Hub data set"})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})


def run(arguments: Arguments) -> None:
    folder = Path(arguments.checkpoint)
    if not folder.is_dir():
        raise ValueError(f"`checkpoint` {arguments.checkpoint!r} is no folder here; only such can be added to")
    checkpoint = load(folder)
    films = open_all(arguments.dataset, checkpoint, revision=arguments.revision, cache=arguments.cache)
    protocol = arguments.protocol or checkpoint.config.data.protocol or "official"
    parts = split(films.table, protocol, checkpoint.config.labels, films.digests)
    fit_density(films.gray[parts["train"]], films.gray[parts["val"]]).save(folder)
    density = FilmDensity.load(folder)  # as it is stored: rounded
    if density is None:
        raise OSError(f"{folder} lost the file that was just written to it; is another program at work there?")

    kinds = {kind: read_pictures(paths, checkpoint.config.preprocess) for kind, paths in package_pictures().items()}
    if arguments.radiographs:
        paths = [path for images in arguments.radiographs for path in find_films(images)]
        kinds["radiographs of other body parts"] = read_pictures(paths, checkpoint.config.preprocess)
    val = density.check(np.asarray(films.gray[parts["val"]])).score
    fitted = FittedReport(len(parts["train"]), len(val), float((val <= 0).mean()))
    report = measure_density(density, films.select(parts["test"]), kinds, protocol=protocol, fitted=fitted)
    report.write(folder / "results" / "ood.json")
    print(f"{protocol} test: {report.films.passed:.3f} of {report.films.n} films pass")
    for kind, found in report.kinds.items():
        auroc = f"  AUROC {found.auroc.value:.4f}" if found.auroc else ""
        print(f"  {kind:40} n {found.n:4}  flagged {found.share.value:.3f}{auroc}")
