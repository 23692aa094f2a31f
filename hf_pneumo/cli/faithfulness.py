"""Do the heatmaps show what the network uses? Covering, randomised weights, borders, agreement; no boxes are needed.

    hf-pneumo faithfulness --checkpoint space/checkpoints/pneumonia-children --images films --name nih512

The films are the first that the checkpoint calls positive, in the order of their names: covering evidence tells
nothing where the score is near zero already. Writes results/faithfulness-NAME.json into the checkpoint folder unless
told otherwise, never into the Hub's cache or over the record of other films, and prints its tables. What a run leaves
out (--films 0, --randomisation_films 0, other methods' sanity check) stays as it is there, and each sanity check is
written as soon as it is measured: some take minutes a film.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_pneumo.cli.films import find_films
from hf_pneumo.evaluation.classification.duplicates import DIGITS
from hf_pneumo.evaluation.destination import own_folder
from hf_pneumo.evaluation.explanations.evaluate_faithfulness import (
    FaithfulnessReport,
    evaluate_randomisation,
    report_faithfulness,
)
from hf_pneumo.evaluation.explanations.evaluate_localization import called_positive
from hf_pneumo.explain import methods
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.reader import XrayReadError, read_xray
from hf_pneumo.models.checkpoint import Checkpoint, load
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.reporting.tables import faithfulness_table

logger = logging.getLogger("hf_pneumo")

PHANTOM_SEED = 1  # a source phantom[:n], from which a model may have learnt, draws seed 0
QUICK = ("gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam")


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    images: str = field(metadata={"help": "folder of films, or phantom[:n] for synthetic ones"})
    name: str = field(default="films", metadata={"help": "what the results call the films"})
    method: str = field(default=",".join(QUICK), metadata={"help": "names, comma between, or 'all'"})
    films: int = field(default=50, metadata={"help": "films for the covering figures; 0 leaves them out"})
    randomisation_films: int = field(default=4, metadata={"help": "films for the sanity check; 0 leaves it out"})
    levels: int = field(default=5, metadata={"help": "depths of the sanity check, head and whole network included"})
    output: str | None = field(default=None, metadata={"help": "folder for the results (default: the checkpoint's)"})

    def __post_init__(self):
        unknown = [name for name in self.names if name not in methods()]
        if unknown:
            raise ValueError(f"`method` is {unknown[0]!r}; choose from {', '.join(methods())}, or all")
        if max(self.films, self.randomisation_films) < 1:
            raise ValueError("`films` and `randomisation_films` are both 0; give at least one of them a number")

    @property
    def names(self) -> list[str]:
        return list(methods()) if self.method == "all" else self.method.split(",")


def run(arguments: Arguments) -> None:
    checkpoint = load(arguments.checkpoint)
    folder = Path(arguments.output) if arguments.output else own_folder(checkpoint) / "results"
    images = films(arguments.images, checkpoint, max(arguments.films, arguments.randomisation_films))
    path = folder / f"faithfulness-{arguments.name}.json"
    report = FaithfulnessReport.read(path) if path.is_file() else None
    digests = film_digests(path, report, images)
    report = replace(
        report or FaithfulnessReport(),
        checkpoint=checkpoint.name,
        revision=checkpoint.revision,
        images=arguments.name,
        digests=digests,
    )
    bar = tqdm(total=len(arguments.names) * (bool(arguments.films) + bool(arguments.randomisation_films)))

    def watch(name: str) -> None:
        bar.set_description(name)
        bar.update()

    if arguments.films:
        covered = report_faithfulness(checkpoint, images[: arguments.films], arguments.names, progress=watch)
        report = replace(report, films=covered.films, faithfulness=covered.faithfulness, agreement=covered.agreement)
        report.write(path)
    if arguments.randomisation_films:
        few = images[: arguments.randomisation_films]
        for name, row in evaluate_randomisation(checkpoint, few, arguments.names, levels=arguments.levels):
            watch(name)
            if row:
                report = replace(report, randomisation={**(report.randomisation or {}), name: row})
                report.write(path)
    bar.close()
    print(faithfulness_table(report))


def film_digests(path: Path, stored: FaithfulnessReport | None, images: torch.Tensor) -> tuple[str, ...]:
    """What tells the films (N, 3, h, w) from others, of them or of the stored record, which may hold more of the same.

    ValueError where the record in ``path`` is of other films, or does not say of which.
    """
    own = tuple(hashlib.sha256(image.numpy().tobytes()).hexdigest()[:DIGITS] for image in images)
    before = (stored and stored.digests) or ()
    common = min(len(own), len(before))
    if stored and (not before or own[:common] != before[:common]):
        raise ValueError(
            f"`name`: {path} is of other films, or does not say of which; give another name or --output, or remove it"
        )
    return max(own, before, key=len)


def films(images: str, checkpoint: Checkpoint, most: int) -> torch.Tensor:
    """The first films that the checkpoint calls positive, preprocessed: (N, 3, h, w)."""
    preprocess, found = checkpoint.config.preprocess, []
    for pixels in _pixels(images):
        x = to_tensor(preprocess, preprocess.to_gray(pixels)[None])
        with torch.inference_mode():
            logits = checkpoint.network(x).float().numpy()
        if called_positive(checkpoint, logits)[0]:
            found.append(x)
        if len(found) == most:
            break
    if not found:
        raise ValueError(f"`images` {images!r}: the checkpoint calls none of the films positive; give other films")
    return torch.cat(found)


def _pixels(images: str) -> Iterator[np.ndarray]:
    if images.split(":")[0] == "phantom":
        yield from (phantom.pixels for phantom in phantoms(int(images.partition(":")[2] or 64), seed=PHANTOM_SEED))
        return
    for path in find_films(images):
        try:
            yield read_xray(path).pixels
        except XrayReadError as error:
            logger.warning("left out: %s", error)
