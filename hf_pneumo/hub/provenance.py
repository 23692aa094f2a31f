"""Where films and weights are from, what their terms ask to be said, and how they are cited: sources.yaml, read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import timm
import yaml

from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.hub_download import is_repository
from hf_pneumo.records import record_of

PAPER = "2511.00456"
PAPER_KEY = "shahi2025weakly"


@dataclass(frozen=True)
class FilmSource:
    """A collection of films: what it is; see sources.yaml for the fields. `films` is empty for one not listed there."""

    name: str
    title: str
    films: str = ""
    found: str = ""
    original: str = ""
    list_sha256: str = ""
    licence: str = ""
    thanks: str = ""
    children: bool = False
    cite: tuple[str, ...] = ()

    @property
    def hub_id(self) -> str | None:
        """The Hub's data set with these films, be it in their original size; None where it has none."""
        return self.original or (self.name if is_repository(self.name) else None)


@cache
def _listed() -> Mapping[str, Mapping[str, Any]]:
    return yaml.safe_load(files("hf_pneumo.hub").joinpath("sources.yaml").read_text(encoding="utf-8"))


def film_source(name: str) -> FilmSource:
    """The collection that records call ``name``."""
    listed = _listed()["collections"].get(name)
    if listed is None:
        return FilmSource(name, name.rpartition("/")[2])
    return record_of(FilmSource, {"name": name, **listed})


def trained_on(config: CheckpointConfig) -> FilmSource:
    """The collection that a checkpoint was trained on: the one that its command read, not what a record calls it."""
    read = (config.training.config or {}).get("dataset")
    listed = _listed()["collections"]
    return film_source(str(read) if read in listed else config.data.source or "an unnamed collection")


def reference(key: str) -> str:
    """The BibTeX entry ``key``, on one line."""
    return _listed()["references"][key]


@dataclass(frozen=True)
class WeightSource:
    """The weights that a training began with: in words, and as a repository of the Hub where they are one."""

    words: str
    base_model: str | None = None


def initial_weights(config: CheckpointConfig) -> WeightSource:
    """What a checkpoint's record says of its initial weights; a file is what its SHA-256 says, never what timm has."""
    training = config.training
    name, digest = training.initial_weights or "not recorded", training.initial_weights_sha256
    base = training.base_model
    if name == "ImageNet":  # records before 0.2 do not name the repository: it was the architecture's default
        base = base or _default_repository(config.architecture)
        return WeightSource(f"ImageNet weights of {base}" if base else "ImageNet", base)
    listed = _listed()["weights"].get(name)
    origin = training.initial_weights_source or ""
    if listed and digest in (None, listed["sha256"]):
        origin, digest = listed["from"], listed["sha256"]
    detail = [part for part in (origin, f"SHA-256 {digest}" if digest else "") if part]
    return WeightSource(name + (f" ({'; '.join(detail)})" if detail else ""), base)


def _default_repository(architecture: str) -> str | None:
    own = timm.get_pretrained_cfg(architecture)
    if own is None or not own.hf_hub_id:
        return None
    if not own.hf_hub_id.endswith("/"):
        return own.hf_hub_id
    return f"{own.hf_hub_id}{architecture}" + (f".{own.tag}" if own.tag else "")
