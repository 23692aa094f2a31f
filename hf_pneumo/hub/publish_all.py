"""Models, data set, Space and a Collection of them and of the paper, in the order in which they need each other.

May be run again: what is done already stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import Collection
from huggingface_hub.hf_api import CollectionItemType_T

from hf_pneumo.data.labels import TASKS
from hf_pneumo.hub.dataset import OWNED, collect, stage_dataset
from hf_pneumo.hub.provenance import PAPER
from hf_pneumo.hub.push_model import find_checkpoints, push_checkpoint
from hf_pneumo.hub.space import deploy_space
from hf_pneumo.hub.upload import Destination, Kind, Pushed, asked, push
from hf_pneumo.models.config import read_config

logger = logging.getLogger(__name__)

Item = tuple[str, CollectionItemType_T]
NOTES: dict[CollectionItemType_T, str] = {
    "paper": "What is reproduced and extended here",
    "space": "Try a film in the browser",
    "model": "Weights, card, results and predictions",
    "dataset": "Patients, splits, duplicates and audit of the films",
}
# The Hub allows 150 characters.
DESCRIPTION = f"arXiv {PAPER} reproduced and extended: pneumonia on chest X-rays, limits measured. For research only."


@dataclass(frozen=True)
class Publication:
    """What goes where: every checkpoint folder below `checkpoints` to a model repository of its own name.

    `dataset` (a source of `load_xrays`) and `app` (the space folder) are left out when None. Repositories are
    `namespace`/name; `tag` names the published commit of each model.
    """

    namespace: str
    checkpoints: Path
    dataset: str | None = None
    dataset_name: str | None = None
    dataset_repo: str = "chest-xray-pneumonia-audited"
    with_images: bool = False
    license: str | None = None
    cache: str | None = None
    app: Path | None = None
    space_repo: str = "pneumonia"
    collection: str = "Pneumonia from chest X-rays"
    private: bool = False
    tag: str | None = None
    token: str | bool | None = None

    def __post_init__(self) -> None:
        if "/" in self.namespace or not self.namespace:
            raise ValueError(f"`namespace` is {self.namespace!r}; give the name of a user or organisation.")
        find_checkpoints(self.checkpoints)

    @property
    def models(self) -> list[Path]:
        """The checkpoint folders, the Space's first."""
        return find_checkpoints(self.checkpoints)

    def to(self, name: str, kind: Kind) -> Destination:
        tag = self.tag if kind == "model" else None
        return Destination(f"{self.namespace}/{name}", kind, private=self.private or None, tag=tag, token=self.token)


def publish(what: Publication) -> Iterator[tuple[str, str]]:
    """Carry out `what`, step by step: yields (address, what happened) after each.

    A step that is done already changes nothing, so that after a PublishError the same call goes on where it stopped.
    """
    for folder in what.models:
        read_config(folder)  # all must be sound before the first is published
    items: list[Item] = [(PAPER, "paper")]
    models: list[Pushed] = []
    for folder in what.models:
        with TemporaryDirectory() as staged:
            models.append(push_checkpoint(folder, what.to(folder.name, "model"), Path(staged)))
        items.append((models[-1].repo, "model"))
        yield models[-1].url, _told(models[-1])
    if what.dataset is not None:
        done = _push_dataset(what, what.dataset)
        items.append((done.repo, "dataset"))
        yield done.url, _told(done)
    if what.app is not None:
        with TemporaryDirectory() as staged:
            pinned = [f"{model.repo}@{model.commit}" for model in models]
            done = deploy_space(what.app, what.to(what.space_repo, "space"), Path(staged), pinned)
        items.insert(1, (done.repo, "space"))
        yield done.url, f"{_told(done)}, loads {', '.join(pinned)}"
    yield _collect(what, items)


def _told(done: Pushed) -> str:
    return f"{'published' if done.changes else 'unchanged'} at {done.commit}"


def _push_dataset(what: Publication, dataset: str) -> Pushed:
    labels = TASKS[read_config(what.models[0]).labels.task]
    collection = collect(dataset, labels, cache=what.cache)
    to = what.to(what.dataset_repo, "dataset")
    known_as = what.dataset_name or (Path(dataset).name if Path(dataset).is_dir() else dataset)
    with TemporaryDirectory() as staged:
        stage_dataset(
            collection, Path(staged), repo=to.repo, source=known_as, with_images=what.with_images, license=what.license
        )
        return push(Path(staged), to, message=f"Publish {known_as}", owned=OWNED)


def _collect(what: Publication, items: list[Item]) -> tuple[str, str]:
    to = what.to(what.models[0].name, "model")
    api = to.api

    def opened() -> Collection:
        own = api.list_collections(owner=what.namespace)
        slug = next((one.slug for one in own if one.title == what.collection), None)
        if slug is None:
            return api.create_collection(
                what.collection, namespace=what.namespace, description=DESCRIPTION, private=what.private, exists_ok=True
            )
        present = api.get_collection(slug)  # a listing shows the first items only
        if present.description != DESCRIPTION:
            api.update_collection_metadata(slug, description=DESCRIPTION)
        return present

    collection = asked(opened, to)
    present = {(item.item_id, item.item_type) for item in collection.items}
    missing = [item for item in items if item not in present]
    for name, kind in missing:
        asked(lambda n=name, k=kind: api.add_collection_item(collection.slug, n, k, note=NOTES[k], exists_ok=True), to)
    return collection.url, f"{len(missing)} of {len(items)} added"
