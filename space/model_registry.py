"""The checkpoints that the Space offers: listed at the start, loaded when first asked for, then kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from validation_films import ValidationFilms

from hf_pneumo.evaluation.explanations.method_ranking import Evidence, read_evidence
from hf_pneumo.evaluation.explanations.variants import DEFAULT as OWN_MAP
from hf_pneumo.evaluation.explanations.variants import LUNGS, PLAIN, SMOOTH
from hf_pneumo.evaluation.predictions import validation_predictions
from hf_pneumo.explain.registry import Method, methods
from hf_pneumo.models.config import CONFIG, WEIGHTS, CheckpointConfig, read_config
from hf_pneumo.models.folder import CheckpointFolder
from hf_pneumo.models.hub_download import CheckpointError, fetch
from hf_pneumo.serving.predictor import Predictor

SHIPPED = Path(__file__).resolve().parent / "checkpoints"
DEFAULT = "pneumonia-children"
# (shown, value) of the ways to refine a map that leave the network and its answer as they are; see `Variant`.
REFINEMENTS = [
    ("None", PLAIN),
    ("Within the lungs", LUNGS),
    ("Ten views", SMOOTH),
    ("Ten views, within the lungs", f"{SMOOTH}+{LUNGS}"),
    ("As this model's maps were measured", OWN_MAP),  # method, layer, sizes and views of its config
]
LEADING = "Leading finding"  # the choice that explains what the predictor takes by itself


@dataclass(frozen=True)
class Desk:
    """One loaded checkpoint and what can be asked of it."""

    predictor: Predictor

    @property
    def checkpoint(self) -> CheckpointFolder:
        return self.predictor.checkpoint

    @cached_property
    def evidence(self) -> Evidence:
        """What was measured of this checkpoint's methods."""
        return read_evidence(self.checkpoint.path)

    @cached_property
    def validation(self) -> ValidationFilms | None:
        """Its validation films; None where the folder holds none."""
        predictions = validation_predictions(self.checkpoint.path, self.checkpoint.config)
        return predictions and ValidationFilms(predictions)

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The methods that apply to this network and passed the sanity check, by name, quick ones first.

        Plain CAM needs a certain head and the attention family a certain architecture: both are tried, once.
        """
        known = methods()
        refused = set(self.evidence.failing)
        if not self._allows("cam"):
            refused.add("cam")
        if not self._allows("rollout"):
            refused |= {method.name for method in known.values() if method.family == "attention"}
        return {name: method for name, method in known.items() if name not in refused}

    @property
    def quick(self) -> dict[str, Method]:
        """The applicable methods that cost about one prediction."""
        return {name: method for name, method in self.methods.items() if method.cost == "quick"}

    @cached_property
    def first(self) -> tuple[str, str]:
        """Method and refinement to show first: the checkpoint's own choice, else what points best of the quick ones.

        That only if it is better than the film's centre.
        """
        if recipe := self.checkpoint.config.map:
            return recipe.method, OWN_MAP
        return self.evidence.default(self.quick, [variant for _, variant in REFINEMENTS])

    @property
    def method_choices(self) -> list[tuple[str, str]]:
        """(shown, value) for a menu; those that take longer say so."""
        costs = {"quick": "", "moderate": " · takes seconds", "slow": " · slow"}
        return [(method.title + costs[method.cost], name) for name, method in self.methods.items()]

    @property
    def quick_choices(self) -> list[tuple[str, str]]:
        """(shown, value) for a menu of those that cost about one prediction."""
        return [(method.title, name) for name, method in self.quick.items()]

    @property
    def target_choices(self) -> list[tuple[str, str]]:
        """(shown, value) for a menu of what can be explained, the default first."""
        names = list(self.checkpoint.config.labels.names)
        default = self.predictor.target
        if default is None:
            return [(LEADING, LEADING), *((name, name) for name in names)]
        return [(name, name) for name in sorted(names, key=lambda name: name != default)]

    def _allows(self, method: str) -> bool:
        import torch  # the page is there before it is imported

        from hf_pneumo.explain import explain

        height, width = self.checkpoint.config.preprocess.size
        noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        try:
            explain(self.predictor.network, noise, method=method, target=0)
        except ValueError:
            return False
        return True


class Shelf:
    """Checkpoints by name; may be shared by threads.

    ``places``: folders, ``user/repo[@revision]`` or predictors; the first is the default and loaded at once.
    Raises CheckpointError when the first cannot be loaded; a later one raises when it is opened.
    """

    def __init__(self, places: Sequence[str | os.PathLike[str] | Predictor]):
        if not places:
            raise CheckpointError(
                f"There is no checkpoint in {SHIPPED.parent.name}/{SHIPPED.name}; give one with --model FOLDER or "
                "--model user/repo[@revision], or set HF_PNEUMO_MODEL."
            )
        self._lock = threading.Lock()
        self._places = {_name(place): place for place in reversed(places)}
        self._desks: dict[str, Desk] = {}
        self._configs: dict[str, CheckpointConfig] = {}
        self.default = _name(places[0])
        self.names = [self.default, *(name for name in reversed(self._places) if name != self.default)]
        self.open(self.default)

    def config(self, name: str) -> CheckpointConfig:
        """What the checkpoint of that name says of itself, without its weights. Raises CheckpointError."""
        if name not in self._configs:
            place = self._places[name]
            config = place.checkpoint.config if isinstance(place, Predictor) else read_config(fetch(place).path)
            self._configs[name] = config
        return self._configs[name]

    def open(self, name: str | None = None) -> Desk:
        """The desk of that name, None for the default. Raises CheckpointError."""
        name = name or self.default
        with self._lock:
            if name not in self._desks:
                place = self._places[name]
                self._desks[name] = Desk(place if isinstance(place, Predictor) else Predictor(place))
            return self._desks[name]


def places(wanted: str | None = None) -> list[str | Path]:
    """What ``wanted`` names, one folder or repositories with spaces between them, then the checkpoints shipped beside
    the app, the default one before the others."""
    shipped = sorted(SHIPPED.glob(f"*/{CONFIG}"), key=lambda path: (path.parent.name != DEFAULT, path.parent.name))
    folders = [path.parent for path in shipped if path.with_name(WEIGHTS).is_file()]
    if wanted is None:
        return folders
    asked = [wanted] if Path(wanted).expanduser().exists() else wanted.split()
    same = {Path(one).expanduser().resolve() for one in asked}
    return [*asked, *(folder for folder in folders if folder.resolve() not in same)]


def _name(place: str | os.PathLike[str] | Predictor) -> str:
    if isinstance(place, Predictor):
        return place.checkpoint.name
    folder = Path(place).expanduser()
    return folder.resolve().name if folder.is_dir() else str(place)
