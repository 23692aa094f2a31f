"""A tree of class folders as a source: films in folders named as the labels, with or without splits above them.

What a film is, is told by its content (see `imaging.film_folder`). The nearest folder above a film that names a class
gives its class, the nearest that names a split its split; folders between and below may have any name.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.patients import aetiology, patients_of
from hf_pneumo.data.schema import DRAWINGS, SPLIT_ALIASES, SPLITS, SourceError, contract, film_names, stored_path
from hf_pneumo.imaging.film_folder import FilmFolder, one_line, open_film_folder, readable, some

logger = logging.getLogger(__name__)

_SAMPLE = 4096  # bytes at the beginning, the middle and the end that a first comparison of files reads


@dataclass(frozen=True)
class _Film:
    """A film in a class folder: ``label`` its index, ``inner`` its path below the class folder."""

    path: Path
    folder: str
    label: int
    subgroup: str
    split: str
    inner: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """What the folders above a film say: the class folder's name, None where there is none, and the split, "" so."""

    folder: str | None
    split: str
    inner: tuple[str, ...]
    outer: tuple[str, ...]


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
    raise SourceError(
        f"class {class_name!r} of {one_line(file_name)} is none of the task's labels: {', '.join(labels.names)}"
    )


def from_class_folders(root: Path, labels: LabelSet, classes: Mapping[str, str] | None = None) -> Dataset:
    """The films in the class folders below ``root``; ``classes`` says which label a folder's name stands for.

    A copy of a film, byte for byte and under the same name, class and split, counts once. Raises SourceError for
    folders that name no class or no split, a film under two classes, and where no film is in a class folder.
    """
    return _Tree(root, labels, classes).dataset()


class _Tree:
    """One tree while it is read: ``root``, the task's labels and which label each folder name stands for."""

    def __init__(self, root: Path, labels: LabelSet, classes: Mapping[str, str] | None):
        self.root, self.labels, self.chosen = root, labels, classes is not None
        if classes is None:
            classes = {name: name for name in (*labels.names, *filter(None, [labels.finding]))}
        self.meaning = {_folded(folder): self._label_name(name) for folder, name in classes.items()}

    def dataset(self) -> Dataset:
        folder = open_film_folder(self.root)
        films = self._films(folder)
        self._refuse_double_links(folder)
        films = self._without_copies(films)
        self._refuse_contradictions(films)
        for remark in folder.remarks:
            logger.info("%s: %s", one_line(self.root.name), remark)
        films.sort(key=lambda f: (SPLITS.index(f.split) if f.split else -1, f.label, f.path.name, f.path))
        paths = [readable(film.path.relative_to(self.root).as_posix()) for film in films]
        rows = zip(films, film_names(paths), patients_of(paths), strict=True)
        return Dataset.from_list([_record(*row) for row in rows], features=contract(self.labels))

    # Places ---------------------------------------------------------------------------------------------------------

    def _films(self, folder: FilmFolder) -> list[_Film]:
        films, drawn, loose, ungrouped = [], [], [], []
        unknown: defaultdict[str, int] = defaultdict(int)
        grouped: defaultdict[str, int] = defaultdict(int)
        for path in folder.films:
            place = self._place(path.relative_to(self.root).parts[:-1])
            if DRAWINGS & {_folded(part).replace("_", " ") for part in (*place.inner, *place.outer)}:
                drawn.append(path)
            elif place.folder is None:
                if place.outer:
                    unknown["/".join(path.relative_to(self.root).parts[:-1])] += 1
                else:
                    loose.append(path)
            else:
                films.append(self._film(path, place))
                if not place.split:
                    ungrouped.append(path)
                    grouped["/".join(place.outer)] += 1
        if not films:
            raise self._nothing(folder, unknown)
        self._refuse_unknown(unknown)
        if len(ungrouped) < len(films):
            self._refuse_no_split(grouped)
        self._tell_names(films)
        for paths, what in ((loose, "lie in no class folder"), (drawn, "lie in folders of masks or other drawings")):
            if paths:
                names = some(path.relative_to(self.root) for path in paths)
                logger.warning("left out %d films that %s: %s", len(paths), what, names)
        return films

    def _place(self, parts: Sequence[str]) -> _Place:
        named = [i for i, part in enumerate(parts) if _folded(part) in self.meaning]
        end = named[-1] if named else len(parts)
        splits = [i for i, part in enumerate(parts) if i not in named and _folded(part) in SPLIT_ALIASES]
        split = SPLIT_ALIASES[_folded(parts[splits[-1]])] if splits else ""
        outer = tuple(part for i, part in enumerate(parts[:end]) if i not in (*named, *splits))
        names = {self.meaning[_folded(parts[i])] for i in named}
        if len(names - {self.labels.finding}) > 1 or (len(names) > 1 and self.labels.normal in names):
            raise SourceError(
                f"`dataset` {self._name} has a class folder within that of another class, "
                f"{one_line('/'.join(parts))}; leave its films in one of them"
            )
        return _Place(parts[end] if named else None, split, tuple(parts[end + 1 :]), outer)

    def _film(self, path: Path, place: _Place) -> _Film:
        folder = place.folder or ""
        meant = self.meaning[_folded(folder)]
        label, subgroup = label_of(meant, path.name, self.labels)
        subgroup = _folded(folder) if subgroup == meant.lower() else subgroup
        return _Film(path, folder, label, subgroup, place.split, (*place.inner, path.name))

    def _label_name(self, name: str) -> str:
        finding = self.labels.finding
        return (
            finding if finding and _folded(name) == finding.casefold() else self.labels.names[self.labels.index(name)]
        )

    def _tell_names(self, films: Iterable[_Film]) -> None:
        """Folder names that only nearly are those of a class or split are taken, and said."""
        near = {film.folder: self.meaning[_folded(film.folder)] for film in films if film.folder != film.folder.strip()}
        parts = {part for film in films for part in film.path.relative_to(self.root).parts[:-1]}
        near |= {part: "val" for part in parts if _folded(part) == "dev"}
        near |= {part: SPLIT_ALIASES[_folded(part)] for part in parts - {p.strip() for p in parts}
                 if _folded(part) in SPLIT_ALIASES}  # fmt: skip
        for folder, name in sorted(near.items()):
            logger.warning("the folder %r of %s is taken for %s", one_line(folder), self._name, name)

    # Faults that are said before any film is read -------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return repr(one_line(self.root))

    def _nothing(self, folder: FilmFolder, unknown: Mapping[str, int]) -> SourceError:
        there = [f"{one_line(name)} ({count} films)" for name, count in sorted(unknown.items())]
        there += [] if there else list(folder.remarks)
        tables = [p.name for p in folder.others.get("a text file", ()) if p.parent == self.root]
        hint = f"; if a table labels the films, give it: {some(tables)}" if tables else ""
        return SourceError(
            f"`dataset` {self._name} holds no films in class folders; expected {'/'.join(self.labels.names)} folders, "
            f"with or without train/val/test above them" + (f"; there are {some(there)}" if there else "") + hint
        )

    def _refuse_unknown(self, unknown: Mapping[str, int]) -> None:
        if not unknown:
            return
        count, names = sum(unknown.values()), some(f"{name} ({n})" for name, n in sorted(unknown.items()))
        if self.chosen:
            logger.warning("left out %d films in folders that `classes` does not name: %s", count, names)
            return
        raise SourceError(
            f"`dataset` {self._name} holds {count} films in folders that name no class of the task "
            f"({', '.join(self.labels.names)}): {names}; rename or move these folders, or give `classes` "
            "that map the folders to use to labels"
        )

    def _refuse_no_split(self, grouped: Mapping[str, int]) -> None:
        names = {name: n for name, n in grouped.items() if name}
        if names:
            raise SourceError(
                f"`dataset` {self._name} has splits, and beside them folders that name none: "
                f"{some(f'{name} ({n} films)' for name, n in sorted(names.items()))}; call each {', '.join(SPLITS)}"
            )
        if count := sum(grouped.values()):
            logger.warning("%d films of %s lie in no split folder, beside others that do", count, self._name)

    def _refuse_double_links(self, folder: FilmFolder) -> None:
        """A folder that stands under two names is read once, so that it must mean the same under both."""
        for way, place in folder.repeated:
            if not place.is_relative_to(self.root):
                continue
            one, other = (self._place(path.relative_to(self.root).parts) for path in (way, place))
            if one.folder is not None and (one.folder, one.split) != (other.folder, other.split):
                raise SourceError(
                    f"`dataset` {self._name}: {one_line(way)} is a link to {one_line(place)}, so that the same films "
                    "stand in two places; remove one of them"
                )

    def _refuse_contradictions(self, films: Sequence[_Film]) -> None:
        groups = _same_content(films, lambda film: film.label)
        if groups:
            pairs = some(" = ".join(str(f.path.relative_to(self.root)) for f in group) for group in groups)
            raise SourceError(
                f"`dataset` {self._name} holds {len(groups)} films under two classes, byte for byte the same: {pairs}; "
                "leave each in one class"
            )

    def _without_copies(self, films: Sequence[_Film]) -> list[_Film]:
        """``films`` without those that a nested copy of the tree holds once more; the one with a split and the
        shortest path stays."""
        members = defaultdict(list)
        for film in films:
            members[film.label, film.inner].append(film)
        copies: dict[Path, _Film] = {}
        for same_name in (group for group in members.values() if len(group) > 1):
            for group in _same_content(same_name, lambda film: film.path):
                ranked = sorted(group, key=lambda f: (not f.split, len(f.path.parts), f.path))
                first = {film.split: film for film in reversed(ranked)}
                splits = [split for split in first if split]
                for film in ranked:
                    stays = first[film.split if film.split or not splits else ranked[0].split]
                    copies |= {film.path: stays} if film is not stays else {}
        if copies:
            folders = sorted({str(path.relative_to(self.root).parent) for path in copies})
            logger.warning(
                "left out %d films that are there once more, byte for byte and under the same name: in %s",
                len(copies), some(folders),
            )  # fmt: skip
        return [film for film in films if film.path not in copies]


def _record(film: _Film, name: str, patient: str) -> dict[str, Any]:
    return {
        "image": {"path": stored_path(film.path), "bytes": None},
        "label": film.label,
        "file_name": name,
        "patient": patient,
        "subgroup": film.subgroup,
        "view": None,
        "age": None,
        "sex": None,
        "split": film.split,
    }


def _folded(name: str) -> str:
    return name.strip().casefold()


# Films that are the same ------------------------------------------------------------------------------------------


def _same_content(films: Iterable[_Film], differ: Any) -> list[list[_Film]]:
    """Groups of films with the same bytes in which ``differ`` is not the same; reads no more than it needs to.

    Files of one size are compared by three samples first: archives of uncompressed films have one size throughout.
    """
    groups = [list(films)]
    for trait in (_size, _samples, _digest):
        parted: list[list[_Film]] = []
        for group in groups:
            by_trait: defaultdict[Any, list[_Film]] = defaultdict(list)
            for film in group:
                by_trait[trait(film.path)].append(film)
            parted += by_trait.values()
        groups = [group for group in parted if len({differ(film) for film in group}) > 1]
    return groups


def _size(path: Path) -> Any:
    try:
        return os.path.getsize(path) or path  # empty files are no copies of each other
    except OSError:
        return path


def _samples(path: Path) -> Any:
    try:
        with open(path, "rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            parts = []
            for start in (0, max(0, end // 2), max(0, end - _SAMPLE)):
                stream.seek(start)
                parts.append(stream.read(_SAMPLE))
    except OSError:
        return path
    return hashlib.sha256(b"".join(parts)).digest()


def _digest(path: Path) -> Any:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return path
