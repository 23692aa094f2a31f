"""What a checkpoint says of itself: config.json in timm's Hub format with one block of ours; no torch.

It tells labels, preprocessing, operating point and the way to maps; the network itself is `models.checkpoint`'s.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.files import read_json
from hf_pneumo.imaging.preprocess import LUNGS, Preprocess
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.models.member import Member
from hf_pneumo.models.population import Population
from hf_pneumo.models.prediction_sets import PredictionSets
from hf_pneumo.models.training_record import DataRecord, TrainingRecord
from hf_pneumo.project import install_command

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
CHANNELS = 3  # over which `tensors.to_tensor` repeats a film
UNFITTED = "not fitted"
FEWEST_FILMS = 10  # positive, and negative, validation films on which a label's threshold must stand
NO_VERDICT = "not judged"


@dataclass(frozen=True)
class OperatingPoint:
    """Where a score becomes a verdict; all of it fitted on validation data, named in ``fitted_on``.

    ``temperature`` divides the logits (Guo et al. 2017, arXiv 1706.04599). ``thresholds``: one per score, on the
    calibrated probability. ``abstain``: one (low, high) per score between which the verdict is "uncertain".
    ``sets``: the conformal prediction sets, where they were fitted. ``evidence``: (positive, negative) validation films
    per score behind its threshold; empty where they were not counted.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] = (0.5,)
    abstain: tuple[tuple[float, float], ...] = ()
    fitted_on: str = UNFITTED
    sets: PredictionSets | None = None
    evidence: tuple[tuple[int, int], ...] = ()

    @property
    def is_fitted(self) -> bool:
        """Whether it is more than a default."""
        return self.fitted_on != UNFITTED

    def has_verdict(self, index: int) -> bool:
        """Whether enough films stand behind score ``index``: of several labels some are too rare for a threshold."""
        return len(self.thresholds) == 1 or not self.evidence or min(self.evidence[index]) >= FEWEST_FILMS

    def decide(self, index: int, probability: float) -> str:
        """The verdict on score ``index``: "positive", "negative", "uncertain" (in the abstain band) or NO_VERDICT."""
        if not self.has_verdict(index):
            return NO_VERDICT
        if self.abstain and self.abstain[index][0] < probability < self.abstain[index][1]:
            return "uncertain"
        return "positive" if probability >= self.thresholds[index] else "negative"


@dataclass(frozen=True)
class CheckpointConfig:
    """All that a checkpoint says of itself; stored as config.json.

    ``data``: the films that it was trained on; ``training``: how. ``model_args``: what ``timm.create_model`` needs
    beside the architecture's name.
    ``cam_offset``: where the cells of ``cam_layer`` look, as `explain.receptive_field` measures it: pixels (down,
    right) of the input; an ensemble's members have their own. ``members``: the networks of an ensemble, whose
    ``architecture`` is then a mere description; else empty. ``weights_sha256``: of the weights file that the operating
    point was fitted to; None in a config that was written before they were recorded.
    ``map``: how maps are made by default, where that was chosen. ``population``: for whom the checkpoint is.
    """

    architecture: str
    labels: LabelSet
    preprocess: Preprocess
    head: str = "linear"
    operating_point: OperatingPoint = field(default_factory=OperatingPoint)
    cam_layer: str | None = None
    cam_offset: tuple[float, float] = (0.0, 0.0)
    data: DataRecord = DataRecord()
    training: TrainingRecord = TrainingRecord()
    model_args: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    weights_sha256: str | None = None
    map: MapRecipe | None = None
    population: Population | None = None

    @property
    def is_plain_timm(self) -> bool:
        """Whether timm and transformers can load and feed it: one network with the linear head, and whole pictures."""
        return self.head == "linear" and not self.members and self.preprocess.crop != LUNGS

    @property
    def recipe(self) -> MapRecipe:
        """How maps are made by default: as was chosen by measurement, else by Grad-CAM of the last map."""
        return self.map or MapRecipe(offset=self.cam_offset)

    def with_model_args(self, arguments: Mapping[str, Any]) -> CheckpointConfig:
        """The same with more arguments for `timm.create_model`, those of every member of an ensemble."""
        even = CheckpointConfig.cam_offset  # where cells look is another question for another geometry
        members = tuple(
            replace(member, model_args={**member.model_args, **arguments}, cam_offset=even) for member in self.members
        )
        return replace(self, model_args={**self.model_args, **arguments}, members=members, cam_offset=even)


def weights_sha256(path: Path) -> str:
    """SHA-256 of a weights file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def with_fitting_point(config: CheckpointConfig, weights: Path, sha256: str) -> CheckpointConfig:
    """The config with an unfitted operating point where the weights are not those that its own was fitted to.

    ``sha256``: of the file ``weights``.
    """
    if config.weights_sha256 in (None, sha256):
        return config
    logger.warning(
        "%s is not the file that the operating point in %s was fitted to: temperature, thresholds and prediction sets "
        "are left out, and verdicts are taken at 0.5; evaluate the weights and fit them anew.",
        weights, CONFIG,
    )  # fmt: skip
    unfitted = OperatingPoint(thresholds=(0.5,) * len(config.labels.score_names))
    return replace(config, operating_point=unfitted, weights_sha256=None)


def read_config(folder: str | os.PathLike[str]) -> CheckpointConfig:
    """Read and check config.json; CheckpointError names what is wrong and the fix."""
    path = Path(folder) / CONFIG
    try:
        stored = read_json(path)
        block = stored["hf_pneumo"]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}); take it from the repository again") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'{path} has no block "hf_pneumo"; it is not a checkpoint of this library, load it with timm'
        ) from error
    if (version := block.get("format_version")) != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} is of format {version}, this library reads {FORMAT_VERSION}; upgrade with {install_command()}"
        )
    try:
        if stored["num_classes"] != len(block["labels"]):
            raise CheckpointError(
                f"{path} names {len(block['labels'])} labels and {stored['num_classes']} classes, which do not fit "
                "each other; take it from one revision"
            )
        config = _parse(stored, block)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not complete: {error}; take it from the repository again") from error
    own = [config.model_args, *(member.model_args for member in config.members)]
    if channels := [arguments["in_chans"] for arguments in own if arguments.get("in_chans", CHANNELS) != CHANNELS]:
        raise CheckpointError(
            f"{path} is of a network with {channels[0]} input channels (in_chans), and films are given to it in "
            f"{CHANNELS}, all alike; train it with {CHANNELS}"
        )
    return config


def _parse(stored: Mapping[str, Any], block: Mapping[str, Any]) -> CheckpointConfig:
    down, right = block.get("cam_offset", CheckpointConfig.cam_offset)
    return CheckpointConfig(
        architecture=stored["architecture"],
        labels=LabelSet(
            block["task"], tuple(block["labels"]), block["exclusive"], block["normal"], block.get("finding")
        ),
        preprocess=Preprocess.from_dict(block["preprocess"]),
        head=block["head"],
        operating_point=OperatingPoint(
            temperature=float(block["temperature"]),
            thresholds=tuple(float(t) for t in block["thresholds"]),
            abstain=tuple((float(low), float(high)) for low, high in block["abstain"]),
            fitted_on=block["fitted_on"],
            sets=PredictionSets.from_dict(block["prediction_sets"]) if block.get("prediction_sets") else None,
            evidence=tuple((int(positive), int(negative)) for positive, negative in block.get("evidence", ())),
        ),
        cam_layer=block.get("cam_layer"),
        cam_offset=(float(down), float(right)),
        data=DataRecord.from_json(block.get("data", {})),
        training=TrainingRecord.from_json(block.get("training", {})),
        model_args=stored.get("model_args", {}),
        members=tuple(map(Member.from_dict, block.get("members", ()))),
        weights_sha256=block.get("weights_sha256"),
        map=MapRecipe.from_dict(block["map"]) if block.get("map") else None,
        population=Population.from_dict(block["population"]) if block.get("population") else None,
    )
