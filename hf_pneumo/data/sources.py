"""Sources: a Hub data set, a class-folder tree, a table or phantoms become one `datasets.Dataset` of X-rays.

Every source has the columns of `data.schema`.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Image, concatenate_datasets, load_dataset
from PIL import Image as PILImage

from hf_pneumo.data.labels import PNEUMONIA, LabelSet
from hf_pneumo.data.patients import aetiology, strict_patient
from hf_pneumo.data.schema import EXTENSIONS, SPLIT_ALIASES, SPLITS, SourceError, contract
from hf_pneumo.data.table_source import from_table, is_table
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
    or ``phantom[:n]``. ``revision`` pins a Hub data set. For tables, ``label_column`` and ``classes`` (value to label)
    say where exclusive labels stand, and ``blanks`` how an empty cell of the others is read; see `table_source`.
    Raises SourceError for a source that does not hold X-rays labelled by ``labels``.
    """
    path = Path(source).expanduser()
    if is_table(path):
        return from_table(path, labels, label_column=label_column, classes=classes, blanks=blanks)
    if label_column or classes or blanks:
        raise SourceError(f"`dataset` {source!r} is no table; leave out label_column, classes and blanks")
    if (count := phantom_count(source)) is not None:
        return _from_phantoms(count, labels)
    if path.is_dir():
        return _from_folder(path, labels)
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


def label_of(class_name: str, file_name: str, labels: LabelSet) -> tuple[int, str]:
    """Label index and subgroup of a film from its class and file name.

    A class may be one of the labels itself, or the union ``labels.finding``, which the file name then resolves.
    """
    kind = aetiology(file_name)
    subgroup = kind or class_name.lower()
    folded = {n.casefold(): i for i, n in enumerate(labels.names)}
    if class_name.casefold() in folded:
        return folded[class_name.casefold()], subgroup
    if kind and kind.casefold() in folded and class_name.casefold() == (labels.finding or "").casefold():
        return folded[kind.casefold()], subgroup
    raise SourceError(f"class {class_name!r} of {file_name} is none of the task's labels: {', '.join(labels.names)}")


def _row(image: dict[str, Any], class_name: str, file_name: str, split: str, labels: LabelSet) -> dict[str, Any]:
    label, subgroup = label_of(class_name, file_name, labels)
    return {
        "image": image,
        "label": label,
        "file_name": file_name,
        "patient": strict_patient(file_name) or Path(file_name).stem,
        "subgroup": subgroup,
        "view": None,
        "age": None,
        "sex": None,
        "split": split,
    }


def _need_exclusive(labels: LabelSet, source: str) -> None:
    if not labels.exclusive:
        raise SourceError(f"`dataset` {source!r} has one class a film; task {labels.task!r} needs a table of labels")


def _from_folder(folder: Path, labels: LabelSet) -> Dataset:
    """The Kaggle layout split/class/film, or class/film; hidden files and other files are left alone."""
    _need_exclusive(labels, str(folder))
    wanted = {n.casefold() for n in (*labels.names, labels.finding or "")}
    rows = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".")):
        if path.parent.name.casefold() not in wanted:
            continue
        split = SPLIT_ALIASES.get(path.parent.parent.name.casefold(), "") if path.parent.parent != folder else ""
        rows.append(_row({"path": str(path), "bytes": None}, path.parent.name, path.name, split, labels))
    if not rows:
        raise SourceError(
            f"`dataset` {str(folder)!r} holds no films in class folders; expected {'/'.join(labels.names)} folders, "
            f"with or without train/val/test above them, and files ending in {' '.join(EXTENSIONS)}"
        )
    rows.sort(key=lambda r: (SPLITS.index(r["split"]) if r["split"] else -1, r["label"], r["file_name"]))
    return Dataset.from_list(rows, features=contract(labels))


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
    return concatenate_datasets([_hub_split(part, name, source, labels) for name, part in parts.items()])


def _hub_split(part: Dataset, name: str, source: str, labels: LabelSet) -> Dataset:
    if missing := {"image", "label"} - set(part.column_names):
        raise SourceError(f"`dataset` {source!r} lacks the columns {sorted(missing)}; it has {part.column_names}")
    part = part.cast_column("image", Image(decode=False))
    to_name: Callable[[Any], str] = getattr(part.features["label"], "int2str", str)
    extra = [c for c in ("file_name", "patient", "view", "age", "sex", "split") if c in part.column_names]

    def rows() -> Iterator[dict[str, Any]]:
        for i, item in enumerate(part):
            file_name = item.get("file_name") or Path(item["image"]["path"] or f"{name or 'film'}-{i:06d}.png").name
            row = _row(item["image"], to_name(item["label"]), file_name, SPLIT_ALIASES.get(name, ""), labels)
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

    def rows() -> Iterator[dict[str, Any]]:
        for i, phantom in enumerate(phantoms(n)):
            buffer = io.BytesIO()
            PILImage.fromarray(phantom.film.gray8).save(buffer, "png")
            row = {
                "image": {"path": None, "bytes": buffer.getvalue()},
                "label": int(phantom.label > 0),
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
