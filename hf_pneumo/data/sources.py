"""Sources: a Hub data set, a class-folder tree, a table or phantoms become one `datasets.Dataset` of X-rays.

Every source has the columns of `data.schema`.
"""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Image, concatenate_datasets, load_dataset
from PIL import Image as PILImage

from hf_pneumo.data.class_folders import from_class_folders, label_of
from hf_pneumo.data.labels import PNEUMONIA, LabelSet
from hf_pneumo.data.patients import patients_of
from hf_pneumo.data.schema import SPLIT_ALIASES, SourceError, contract, film_names
from hf_pneumo.data.table_files import is_table
from hf_pneumo.data.table_source import from_table
from hf_pneumo.imaging.phantom import phantoms

logger = logging.getLogger(__name__)

DEFAULT_PHANTOMS = 200
_PHANTOM = re.compile(r"phantom(?::(\d+))?")


def load_xrays(
    source: str,
    *,
    labels: LabelSet = PNEUMONIA,
    revision: str | None = None,
    label_column: str | None = None,
    classes: Mapping[str, str] | None = None,
    blanks: str | None = None,
) -> Dataset:
    """Open ``source`` as one collection with the columns of `data.schema`; nothing is decoded here.

    ``source``: a Hub id ``user/dataset``, a folder of class folders (with or without splits), a CSV table or a folder
    with one beside its films (labels.csv, ChestX-ray14's Data_Entry, CheXpert's train.csv and valid.csv, MIMIC-CXR's),
    or ``phantom[:n]``. ``revision`` pins a Hub data set. ``classes`` maps the folders' names, or a table's values in
    ``label_column``, to exclusive labels, and ``blanks`` says how an empty cell of others is read; see `table_source`.
    Raises SourceError for a source that does not hold X-rays labelled by ``labels``.
    """
    path = Path(source).expanduser()
    if is_table(path):
        return from_table(path, labels, label_column=label_column, classes=classes, blanks=blanks)
    is_folder = path.is_dir()
    if label_column or blanks or (classes and not is_folder):
        raise SourceError(f"`dataset` {source!r} is no table; leave out label_column, classes and blanks")
    if (count := phantom_count(source)) is not None:
        return _from_phantoms(count, labels)
    if is_folder:
        _need_exclusive(labels, source)
        return from_class_folders(path, labels, classes)
    if source.count("/") == 1 and not source.startswith((".", "~", "/")):
        return _from_hub(source, labels, revision)
    raise SourceError(
        f"`dataset` {source!r} is no folder or CSV file here, no Hub id (user/dataset) and not phantom[:n]; check it"
    )


def source_name(source: str) -> str:
    """What records call ``source``: a Hub id or phantom as it is, a folder or table by its name, never by its path.

    An absolute path is one also where nothing lies there yet, such as the output of a command.
    """
    path = Path(source)
    return path.absolute().name if path.is_absolute() or path.exists() else source


def _need_exclusive(labels: LabelSet, source: str) -> None:
    if not labels.exclusive:
        raise SourceError(f"`dataset` {source!r} has one class a film; task {labels.task!r} needs a table of labels")


def _from_hub(source: str, labels: LabelSet, revision: str | None) -> Dataset:
    """A data set repository with an image column and a class column; columns of the contract are taken as they are."""
    _need_exclusive(labels, source)
    try:
        loaded = load_dataset(source, revision=revision)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SourceError(
            f"`dataset` {source!r} cannot be loaded from the Hub ({reason}); "
            "check the name, `revision`, your network and `hf auth login`, or give a folder"
        ) from error
    parts = loaded if isinstance(loaded, DatasetDict) else {"": loaded}
    named = {name: _hub_names(part, name, source) for name, part in parts.items()}
    paths = [path for own in named.values() for path in own]
    told = iter(zip(film_names(paths), patients_of(paths), strict=True))
    return concatenate_datasets(
        [_hub_split(part, name, list(islice(told, len(part))), labels) for name, part in parts.items()]
    )


def _hub_names(part: Dataset, name: str, source: str) -> list[str]:
    """A path for each film of a split: its own file name, else split/class/name of the stored picture."""
    if missing := {"image", "label"} - set(part.column_names):
        raise SourceError(f"`dataset` {source!r} lacks the columns {sorted(missing)}; it has {part.column_names}")
    stored = part.cast_column("image", Image(decode=False)).with_format("arrow")
    pictures = [path for batch in stored.iter(1000) for path in _inner(batch["image"], "path")]
    own = part["file_name"] if "file_name" in part.column_names else [None] * len(part)
    to_name = _class_names(part)
    last = [Path(path).name if path else "" for path in pictures]
    films = Counter(zip(part["label"], last, strict=True))
    paths = []
    for i, (label, picture) in enumerate(zip(part["label"], last, strict=True)):
        unique = picture if films[label, picture] == 1 else f"{i:06d}-{picture}"
        unique = unique if picture else f"{name or 'film'}-{i:06d}.png"
        paths.append(own[i] or "/".join(filter(None, (name, str(to_name(label)), unique))))
    return paths


def _inner(column: Any, name: str) -> list[Any]:
    return pc.struct_field(column, name).to_pylist()


def _class_names(part: Dataset) -> Callable[[Any], str]:
    return getattr(part.features["label"], "int2str", str)


def _hub_split(part: Dataset, name: str, told: Sequence[tuple[str, str]], labels: LabelSet) -> Dataset:
    """One split with the contract's columns; ``told``: name and patient of each film, where it gives none itself."""
    part = part.cast_column("image", Image(decode=False))
    to_name = _class_names(part)
    extra = [c for c in ("file_name", "patient", "view", "age", "sex", "split") if c in part.column_names]

    def rows() -> Iterator[dict[str, Any]]:
        for item, (file_name, patient) in zip(part, told, strict=True):
            label, subgroup = label_of(to_name(item["label"]), file_name, labels)
            row = {
                "image": item["image"],
                "label": label,
                "file_name": file_name,
                "patient": patient,
                "subgroup": subgroup,
                "view": None,
                "age": None,
                "sex": None,
                "split": SPLIT_ALIASES.get(name, ""),
            }
            yield row | {c: item[c] for c in extra if item[c]}

    return Dataset.from_generator(rows, features=contract(labels))


def phantom_count(source: str) -> int | None:
    """How many phantoms ``phantom[:n]`` asks for; None for any other source."""
    match = _PHANTOM.fullmatch(source)
    return int(match[1] or DEFAULT_PHANTOMS) if match else None


def _from_phantoms(n: int, labels: LabelSet) -> Dataset:
    """``n`` phantoms, half of them with opacities, split 60 / 20 / 20 in the order of their seeds."""
    _need_exclusive(labels, "phantom")
    if n < 10:
        raise SourceError(f"`dataset` phantom:{n} is too few to split; ask for at least phantom:10")

    ill, well = int(np.flatnonzero(labels.positive)[0]), labels.names.index(labels.normal or "")

    def rows() -> Iterator[dict[str, Any]]:
        for i, phantom in enumerate(phantoms(n)):
            buffer = io.BytesIO()
            PILImage.fromarray(phantom.film.gray8).save(buffer, "png")
            row = {
                "image": {"path": None, "bytes": buffer.getvalue()},
                "label": ill if phantom.label else well,
                "file_name": f"phantom-{i:05d}.png",
                "patient": f"PHANTOM{i:05d}",
                "subgroup": "opacity" if phantom.label else "clear",
                "view": "PA",
                "age": None,
                "sex": None,
                "split": "train" if i < 0.6 * n else "val" if i < 0.8 * n else "test",
            }
            yield row

    return Dataset.from_list(list(rows()), features=contract(labels))
