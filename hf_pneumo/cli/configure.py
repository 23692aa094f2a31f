"""Write into a checkpoint's config.json what is decided after training: for whom it is, and how its maps are made.

    hf-pneumo configure --checkpoint C --ages 18 90 --views AP PA --sites "NIH Clinical Center, Bethesda"
    hf-pneumo configure --checkpoint C --method hirescam --layer stride16 --target "LUNG OPACITY" NORMAL \\
        --sizes 128 192 256 --smoothing flips --within_lungs --dataset SRC

The second measures on validation films of SRC, where the checkpoint was trained, where the layer's cells look.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from hf_pneumo.evaluation.classification.evaluate import open_subset
from hf_pneumo.explain.explainer import SMOOTHINGS
from hf_pneumo.explain.registry import find, methods
from hf_pneumo.models.checkpoint import Checkpoint, load, write_config
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.models.population import Population
from hf_pneumo.training.run import measure_offset


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder"})
    ages: list[int] | None = field(default=None, metadata={"help": "youngest and oldest patient in years, two numbers"})
    views: list[str] | None = field(default=None, metadata={"help": "views of the films: AP, PA, or both"})
    sites: list[str] | None = field(default=None, metadata={"help": "hospitals that the films are from"})
    method: str | None = field(default=None, metadata={"help": "default map: one of " + ", ".join(methods())})
    layer: str | None = field(default=None, metadata={"help": "its layer: a module's name, or strideN"})
    target: list[str] | None = field(default=None, metadata={"help": "its target: a label, or two for their contrast"})
    sizes: list[int] = field(default_factory=list, metadata={"help": "sides of the input, over which it is a mean"})
    smoothing: str = field(default="none", metadata={"help": ", ".join(SMOOTHINGS)})
    within_lungs: bool = field(default=False, metadata={"help": "hold the map to the lungs"})
    dataset: str | None = field(default=None, metadata={"help": "what it was trained on, to measure where cells look"})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})

    def __post_init__(self):
        given = [bool(self.ages), bool(self.views), bool(self.sites)]
        if any(given) and not all(given):
            raise ValueError("`ages`, `views` and `sites` say together for whom a checkpoint is; give all three")
        if self.ages and not (len(self.ages) == 2 and self.ages[0] <= self.ages[1]):
            raise ValueError(f"`ages` is {self.ages}; give the youngest and the oldest, as in 18 90")
        if not (self.ages or self.method):
            raise ValueError("`ages` or `method`: give at least one of the two, or there is nothing to write")
        if self.target and len(self.target) > 2:
            raise ValueError(f"`target` is {self.target}; give one label, or two for their contrast")
        if self.method:
            find(self.method)
        if self.method and self.layer and not self.dataset:
            raise ValueError("`dataset` is missing; it is measured on validation films where the cells of `layer` look")


def run(arguments: Arguments) -> None:
    folder = Path(arguments.checkpoint)
    if not folder.is_dir():
        raise ValueError(f"`checkpoint` {arguments.checkpoint!r} is no folder here; only such can be written to")
    checkpoint = load(folder)
    config = checkpoint.config
    if arguments.ages and arguments.views and arguments.sites:
        youngest, oldest = arguments.ages
        views = tuple(view.upper() for view in arguments.views)
        config = replace(config, population=Population((youngest, oldest), views, tuple(arguments.sites)))
    if arguments.method:
        config = replace(config, map=recipe(arguments, arguments.method, checkpoint))
    write_config(folder, checkpoint.network, config)
    print(f"{folder / 'config.json'}: population {config.population}, map {config.map}")


def recipe(arguments: Arguments, method: str, checkpoint: Checkpoint) -> MapRecipe:
    """The map by ``method`` that is asked for, with where its cells look."""
    config, target = checkpoint.config, tuple(arguments.target or ())
    offset = config.cam_offset
    if arguments.layer and arguments.dataset:
        val = open_subset(
            arguments.dataset, config.data.protocol or "official", "val", checkpoint, cache=arguments.cache
        )  # fmt: skip
        offset = measure_offset(checkpoint.network, config.labels, config.preprocess, val, layer=arguments.layer)
    return MapRecipe(
        method=method,
        layer=arguments.layer,
        target=target if len(target) == 2 else target[0] if target else None,
        sizes=tuple(arguments.sizes),
        smoothing=arguments.smoothing,
        offset=offset,
        within_lungs=arguments.within_lungs,
    )
