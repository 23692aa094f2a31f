"""Publish a data set repository: patients, aetiology, split protocols and duplicates of a collection, with its audit.

    hf-pneumo push-dataset --dataset hf-vision/chest-xray-pneumonia --repo user/name --dry-run
    hf-pneumo push-dataset --dataset FOLDER --repo user/name --with-images

With --with-images the films are in it, and the repository is a source for train.py and evaluate.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hf_pneumo.cli.push_options import PushOptions, say_pushed
from hf_pneumo.data.labels import TASKS
from hf_pneumo.data.sources import source_name
from hf_pneumo.hub.dataset import OWNED, collect, stage_dataset
from hf_pneumo.hub.upload import compare, push


@dataclass(frozen=True, kw_only=True)
class Arguments(PushOptions):
    dataset: str = field(metadata={"help": "the collection: Hub id user/dataset, folder, or phantom[:n]"})
    with_images: bool = field(default=False, metadata={"help": "put the films into the repository, too"})
    license: str | None = field(default=None, metadata={"help": "licence of the films, where it is not known"})
    dataset_name: str | None = field(default=None, metadata={"help": "what the card calls the collection"})
    dataset_revision: str | None = field(default=None, metadata={"help": "revision of a Hub data set"})
    task: str = field(default="pneumonia", metadata={"help": "label set: " + ", ".join(TASKS)})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})

    def __post_init__(self):
        if self.task not in TASKS:
            raise ValueError(f"`task` is {self.task!r}; choose one of {', '.join(TASKS)}")


def run(arguments: Arguments) -> None:
    to = arguments.destination("dataset")
    known_as = source_name(arguments.dataset)
    labels = TASKS[arguments.task]
    collection = collect(arguments.dataset, labels, revision=arguments.dataset_revision, cache=arguments.cache)

    def stage(folder: Path) -> None:
        stage_dataset(
            collection,
            folder,
            repo=arguments.repo,
            source=arguments.dataset_name or known_as,
            with_images=arguments.with_images,
            license=arguments.license,
        )

    if arguments.dry_run:
        folder = arguments.dry_folder
        stage(folder)
        print(f"{folder} is what {to.url} would hold; nothing is sent")
        print(compare(folder, to, owned=OWNED))
        return
    with TemporaryDirectory() as temporary:
        stage(Path(temporary))
        say_pushed(push(Path(temporary), to, message=f"Publish {known_as}", owned=OWNED))
