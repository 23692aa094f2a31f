"""Publish everything: each checkpoint, the data set, the Space and a Collection of them, in this order.

    hf-pneumo publish --namespace user --dataset hf-vision/chest-xray-pneumonia --tag v1

It may be run again after a failure or a change: what is there already is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.cli.checkout import repository
from hf_pneumo.hub.publish_all import Publication, publish

ROOT = repository()


@dataclass(frozen=True)
class Arguments:
    namespace: str = field(metadata={"help": "user or organisation that owns the repositories"})
    checkpoints: str = field(default=str(ROOT / "space/checkpoints"), metadata={"help": "folder of checkpoint folders"})
    dataset: str | None = field(default=None, metadata={"help": "collection to publish (see push_dataset.py), or none"})
    dataset_name: str | None = field(default=None, metadata={"help": "what the data set's card calls the collection"})
    dataset_repo: str = field(default=Publication.dataset_repo, metadata={"help": "name of the data set repository"})
    with_images: bool = field(default=False, metadata={"help": "put the films into the data set repository"})
    license: str | None = field(default=None, metadata={"help": "licence of the films, where it is not known"})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})
    no_space: bool = field(default=False, metadata={"help": "leave the Space out"})
    space_repo: str = field(default=Publication.space_repo, metadata={"help": "name of the Space"})
    collection: str = field(default=Publication.collection, metadata={"help": "title of the Collection"})
    private: bool = field(default=False, metadata={"help": "make new repositories private"})
    tag: str | None = field(default=None, metadata={"help": "tag for the published commit of each model"})


def run(arguments: Arguments) -> None:
    fields = {name: value for name, value in vars(arguments).items() if name not in ("checkpoints", "no_space")}
    app = None if arguments.no_space else ROOT / "space"
    for address, happened in publish(Publication(**fields, checkpoints=Path(arguments.checkpoints), app=app)):
        print(f"{address}: {happened}", flush=True)
