"""The check that a picture is an upright frontal chest film: fitted, measured on sources it never saw, exported.

Only a softmax is fitted, on ImageNet features in a few principal directions. Each source of films is left out once and
measured, and so is each kind of other picture: what is refused there is refused without having been seen.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from timm.models import adapt_input_conv
from torch import Tensor, nn

from hf_pneumo.files import replacing, write_json
from hf_pneumo.imaging.film_check import INPUT, KINDS, LEAST_PROBABILITY, SIDE, prepared
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.reader import read_xray
from hf_pneumo.training.other_pictures import SUFFIXES, make_other_pictures

logger = logging.getLogger(__name__)

BACKBONE = "mobilenetv2_100"
DIRECTIONS, PENALTY, PHANTOMS, BATCH = 64, 0.01, 60, 32


@dataclass(frozen=True)
class FilmCheckConfig:
    """Every choice of a fit; the defaults are those of the shipped check."""

    films: list[str] = field(metadata={"help": "folders of frontal chest films to learn from, one per source"})
    init_weights: str = field(metadata={"help": "ImageNet weights of mobilenetv2_100 (.safetensors)"})
    strangers: list[str] = field(
        default_factory=list, metadata={"help": "folders of films that are only measured, one per source"}
    )
    others: list[str] = field(
        default_factory=list, metadata={"help": "files that are no frontal chest films and are only measured"}
    )
    most: int = field(default=300, metadata={"help": "films of a source that are learnt from, at most"})
    output: str = field(default="hf_pneumo/imaging/weights/film_check.onnx", metadata={"help": "the ONNX file"})
    results: str = field(default="results/film_check.json", metadata={"help": "what was measured"})
    seed: int = field(default=0, metadata={"help": "seed of everything that is drawn"})

    def __post_init__(self):
        if self.most < 5:
            raise ValueError(f"`most` is {self.most}; give 5 or more")


class FilmFeatures(nn.Module):
    """ImageNet features at strides 8 and 16, each averaged over 3 x 3 parts: (B, 1, SIDE, SIDE) to (B, D)."""

    def __init__(self, weights: Mapping[str, Tensor]):
        super().__init__()
        self.encoder = timm.create_model(BACKBONE, features_only=True, out_indices=(2, 3), in_chans=1, pretrained=False)
        needed = self.encoder.state_dict()
        if missing := set(needed) - set(weights):
            raise ValueError(f"`init_weights` lacks {len(missing)} of {BACKBONE}'s weights, such as {min(missing)}")
        grey = {"conv_stem.weight": adapt_input_conv(1, weights["conv_stem.weight"])}
        self.encoder.load_state_dict({key: grey.get(key, weights[key]) for key in needed})

    def forward(self, films: Tensor) -> Tensor:
        return torch.cat([F.avg_pool2d(f, f.shape[-1] // 3).flatten(1) for f in self.encoder(films)], dim=1)


class FilmClassifier(nn.Module):
    """Features and a softmax over KINDS."""

    def __init__(self, features: FilmFeatures, weight: np.ndarray, bias: np.ndarray):
        super().__init__()
        self.features = features
        self.linear = nn.Linear(*weight.shape[::-1])
        self.linear.weight.data = torch.from_numpy(weight).float()
        self.linear.bias.data = torch.from_numpy(bias).float()

    def forward(self, films: Tensor) -> Tensor:
        return self.linear(self.features(films)).softmax(dim=1)


@dataclass(frozen=True)
class Softmax:
    """Linear scores of KINDS: weight (6, D), bias (6,)."""

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, kinds: np.ndarray) -> Softmax:
        """Logistic regression on standardised principal directions, folded into one linear map of the features."""
        mean, spread = features.mean(0), features.std(0) + 1e-6
        scaled = (features - mean) / spread
        pca = PCA(min(DIRECTIONS, *scaled.shape), svd_solver="randomized", random_state=0).fit(scaled)
        model = LogisticRegression(C=PENALTY, max_iter=300).fit(pca.transform(scaled), kinds)
        directions = model.coef_ @ pca.components_
        weight = directions / spread
        bias = model.intercept_ - weight @ mean - directions @ pca.mean_
        return cls(weight, bias)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(N, 6) of features (N, D)."""
        logits = features @ self.weight.T + self.bias
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def accepted(self, features: np.ndarray) -> float:
        """Share of pictures that pass as films."""
        return round(float((self.probabilities(features)[:, 0] >= LEAST_PROBABILITY).mean()), 4)


def train_film_check(config: FilmCheckConfig) -> dict[str, Any]:
    """Fit, measure, export; returns what was written to ``config.results``.

    Raises ValueError for folders without films or weights of another network, OSError for what cannot be read.
    """
    from safetensors.torch import load_file

    network = FilmFeatures(load_file(config.init_weights)).eval()
    rng = np.random.default_rng(config.seed)
    learnt = {_name(name): _films(name, rng, config.most) for name in config.films}
    own_kinds = make_other_pictures([film for films in learnt.values() for film in films], rng)
    learnt["phantoms"] = [np.rint(255 * p.pixels).astype(np.uint8) for p in phantoms(PHANTOMS, seed=77, size=128)]
    films = {name: _postures(network, pictures) for name, pictures in learnt.items()}
    others = {name: _features(network, pictures) for name, pictures in own_kinds.items()}
    softmax = _fitted(films, others)
    report = {
        "kinds": list(KINDS),
        "threshold": LEAST_PROBABILITY,
        "films learnt from": {name: len(found[KINDS[0]]) // 2 for name, found in films.items()},
        "other pictures learnt from": {name: len(found) for name, found in others.items()},
        "never seen": {
            _name(name): _accepted(softmax, _postures(network, _films(name, rng))) for name in config.strangers
        },
        "never seen, no films": {
            Path(name).name: softmax.accepted(_features(network, [read_xray(name).gray8])) for name in config.others
        },
        "source left out": {
            name: _accepted(_fitted({k: v for k, v in films.items() if k != name}, others), found)
            for name, found in films.items()
        },
        "kind left out": {
            name: {
                "n": len(found),
                "accepted": _fitted(films, {k: v for k, v in others.items() if k != name}).accepted(found),
            }
            for name, found in others.items()
        },
    }
    _export(FilmClassifier(network, softmax.weight, softmax.bias), config.output)
    write_json(config.results, report)
    return report


def _name(folder: str) -> str:
    """A source's name in the results, which never name a place: its folder and the one above, as in nih512/images."""
    return "/".join(Path(folder).resolve().parts[-2:])


def _films(folder: str, rng: np.random.Generator, most: int | None = None) -> list[np.ndarray]:
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder!r} holds no film; give a folder of {', '.join(SUFFIXES)} files")
    rows = rng.permutation(len(paths))[:most]
    return [read_xray(paths[row]).gray8 for row in np.sort(rows)]


def _postures(network: FilmFeatures, films: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Features of films as they are and mirrored, and of every posture of KINDS."""
    upright = [*films, *(film[:, ::-1] for film in films)]
    ways = (lambda f: 255 - f, lambda f: np.rot90(f, 1), lambda f: np.rot90(f, -1), lambda f: np.rot90(f, 2))
    pictures = [upright, *([way(film) for film in films] for way in ways)]
    return {kind: _features(network, group) for kind, group in zip(KINDS[:-1], pictures, strict=True)}


def _features(network: FilmFeatures, pictures: Sequence[np.ndarray]) -> np.ndarray:
    inputs = torch.from_numpy(np.stack([prepared(picture) for picture in pictures])).unsqueeze(1)
    with torch.no_grad():
        return torch.cat([network(batch) for batch in inputs.split(BATCH)]).numpy().astype(np.float64)


def _fitted(films: Mapping[str, Mapping[str, np.ndarray]], others: Mapping[str, np.ndarray]) -> Softmax:
    groups = [(found[kind], i) for found in films.values() for i, kind in enumerate(KINDS[:-1])]
    groups += [(found, len(KINDS) - 1) for found in others.values()]
    kinds = np.concatenate([np.full(len(found), kind) for found, kind in groups])
    return Softmax.fit(np.concatenate([found for found, _ in groups]), kinds)


def _accepted(softmax: Softmax, films: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Shares of films that pass, as they are (and mirrored) and in every wrong posture."""
    shares = {kind: softmax.accepted(found) for kind, found in films.items()}
    return {"n": len(films[KINDS[0]]) // 2, "accepted": shares}


def _export(network: FilmClassifier, path: str) -> None:
    program = torch.onnx.export(
        network.eval(),
        (torch.zeros(1, 1, SIDE, SIDE),),
        input_names=[INPUT],
        output_names=["probabilities"],
        dynamo=True,
        verbose=False,
    )
    with replacing(path) as temporary:
        program.save(temporary)
