"""A data set repository: for each film its patient, aetiology, splits and duplicates, and the film itself if wanted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, Value
from huggingface_hub import DatasetCardData
from jinja2 import Environment, StrictUndefined

from hf_pneumo.data.audit import as_markdown, audit_splits
from hf_pneumo.data.film_cache import Films, decode
from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.patients import paper_patient, strict_patient
from hf_pneumo.data.schema import contract, film_path
from hf_pneumo.data.sources import load_xrays
from hf_pneumo.data.splits import PROTOCOLS, Parts, split
from hf_pneumo.hub.provenance import PAPER
from hf_pneumo.imaging.preprocess import Preprocess

OWNED = ("data/*",)
SHARD_BYTES = 400 * 10**6
HUB_SPLITS = {"train": "train", "val": "validation", "test": "test", "": "train"}
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
KERMANY = "hf-vision/chest-xray-pneumonia"  # the Hub's copy of Kermany et al. 2018
KERMANY_LICENSE, PHANTOM_LICENSE = "cc-by-4.0", "apache-2.0"


@dataclass(frozen=True)
class Collection:
    """A source, read: one row a film with every column but the image, its splits by protocol, and how to get films."""

    rows: Sequence[Mapping[str, Any]]
    images: Dataset
    parts: Mapping[str, Parts]
    films: Films
    labels: LabelSet
    refused: Mapping[str, str]

    @property
    def is_kermany(self) -> bool:
        return all(strict_patient(row["file_name"]) for row in self.rows)

    @property
    def is_phantom(self) -> bool:
        return all(row["patient"].startswith("PHANTOM") for row in self.rows)


def collect(source: str, labels: LabelSet, *, revision: str | None = None, cache: str | None = None) -> Collection:
    """Read `source` (see `load_xrays`) and place each film under every protocol that the source allows.

    A film that cannot be read is left out. `parts` lack a protocol that needs a split of the source's own.
    """
    if not labels.exclusive:
        raise ValueError(f"`task` {labels.task!r} has several labels a film; choose a task with one class a film.")
    table = load_xrays(source, labels=labels, revision=revision)
    films = decode(table.add_column("row", list(range(len(table)))), Preprocess(), cache=cache)
    parts, refused = {}, {}
    for protocol in PROTOCOLS:
        try:
            parts[protocol] = split(films.table, protocol, labels, films.digests)
        except ValueError as error:  # a source without a split of its own has no official one
            refused[protocol] = str(error)
    return Collection(list(_rows(films, parts)), table, parts, films, labels, refused)


def _rows(films: Films, parts: Mapping[str, Parts]) -> Iterator[dict[str, Any]]:
    sides = {protocol: _sides(of, len(films)) for protocol, of in parts.items()}
    groups = _duplicates(films.digests)
    for i, row in enumerate(films.table):
        yield {
            **row,
            "paper_patient": paper_patient(row["file_name"]),
            "duplicate_group": groups.get(i),
            **{protocol: side[i] for protocol, side in sides.items()},
        }


def _sides(parts: Parts, n: int) -> list[str]:
    side = np.full(n, "", dtype=object)
    for name, members in parts.items():
        side[members] = name
    return side.tolist()


def _duplicates(digests: Sequence[str]) -> dict[int, int]:
    """A number for each film whose pixels another film has, too."""
    members = defaultdict(list)
    for i, digest in enumerate(digests):
        members[digest].append(i)
    groups = [group for group in members.values() if len(group) > 1]
    return {i: number for number, group in enumerate(groups) for i in group}


def features(labels: LabelSet, protocols: Sequence[str], with_images: bool) -> Features:
    """The repository's columns: those of the sources' contract, and what the audit found out."""
    own = dict(contract(labels))
    image = {"image": Image()} if with_images else {}
    text = {name: Value("string") for name in ("paper_patient", *protocols)}
    kept = {name: own[name] for name in ("file_name", "patient", "subgroup", "view", "split")}
    return Features({**image, "label": ClassLabel(names=list(labels.names)), **kept, **text,
                     "duplicate_group": Value("int64")})  # fmt: skip


def stage_dataset(
    collection: Collection, into: Path, *, repo: str, source: str, with_images: bool = False, license: str | None = None
) -> None:
    """Write data/*.parquet and README.md of the repository into the empty folder `into`; ValueError without licence."""
    license = license or _license(collection, source)
    if into.is_dir() and any(into.iterdir()):
        raise ValueError(f"`output` {str(into)!r} is not empty; give a new folder.")
    (into / "data").mkdir(parents=True, exist_ok=True)
    columns = features(collection.labels, list(collection.parts), with_images)
    members = defaultdict(list)
    for row in collection.rows:
        members[HUB_SPLITS[row["split"]]].append(row)
    for name, rows in members.items():
        for number, shard in enumerate(_shards(rows, collection.images, columns)):
            Dataset.from_list(shard, features=columns).to_parquet(into / f"data/{name}-{number:05d}.parquet")
    card = _card(collection, repo, source, license, list(members), with_images)
    (into / "README.md").write_text(card, encoding="utf-8")


def _shards(rows: Sequence[Mapping[str, Any]], images: Dataset, columns: Features) -> Iterator[list[dict[str, Any]]]:
    shard: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        item = {name: row[name] for name in columns if name != "image"}
        if "image" in columns:
            content = _bytes(images[row["row"]]["image"])
            item["image"] = {"bytes": content, "path": row["file_name"]}
            size += len(content)
        shard.append(item)
        if size > SHARD_BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def _bytes(image: Mapping[str, Any]) -> bytes:
    return image["bytes"] if image["bytes"] is not None else Path(film_path(image["path"])).read_bytes()


def _license(collection: Collection, source: str) -> str:
    if collection.is_phantom:
        return PHANTOM_LICENSE
    if collection.is_kermany:
        return KERMANY_LICENSE
    raise ValueError(f"`license` of {source!r} is not known; give the one that its films are published under.")


def _card(
    collection: Collection, repo: str, source: str, license: str, splits: Sequence[str], with_images: bool
) -> str:
    data = DatasetCardData(
        license=license,
        pretty_name=repo.rpartition("/")[2].replace("-", " "),
        task_categories=["image-classification"],
        size_categories=[next((name for limit, name in SIZES if len(collection.rows) < limit), "n>1T")],
        tags=["medical-imaging", "radiology", "chest-x-ray", "pneumonia", "hf_pneumo"],
        source_datasets=[KERMANY] if collection.is_kermany else None,
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*.parquet"} for name in splits],
            }
        ],
    )
    audits = {
        name: as_markdown(audit_splits(collection.films.table, parts, collection.labels, collection.films.digests))
        for name, parts in collection.parts.items()
    }
    template = files("hf_pneumo.hub").joinpath("templates/dataset_card.md.jinja").read_text(encoding="utf-8")
    body = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(template).render(
        repo=repo, source=source, collection=collection, license=license, with_images=with_images, audits=audits,
        paper=PAPER, left_out=collection.films.failures,
    )  # fmt: skip
    return f"---\n{data}\n---\n\n" + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
