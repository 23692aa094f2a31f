"""Decoded films: every X-ray of a collection read once, resized once and kept as 8 bits.

The array is written to a cache folder and mapped into memory, so that several processes share it and a second run
starts at once. A film that cannot be read is listed with its reason and left out; it never stops the others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import Dataset
from tqdm.auto import tqdm

from hf_pneumo.data.schema import SourceError, film_path
from hf_pneumo.imaging.film_folder import one_line, some
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.imaging.reader import XrayReadError, read_xray

logger = logging.getLogger(__name__)

CACHE_VERSION = 1  # raise it when reading, the adaptive crop or resizing changes the pixels


@dataclass(frozen=True)
class Films:
    """``gray`` uint8 (N, h, w) beside the rows of ``table`` (N rows, without the image column).

    ``digests``: SHA-256 of each film's pixels before resizing, equal for pixel-identical films. ``failures``:
    (file_name, reason) of every film that could not be read; those are in neither ``gray`` nor ``table``.
    """

    gray: np.ndarray
    table: Dataset
    digests: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]

    def select(self, rows: Sequence[int] | np.ndarray) -> Films:
        """The films of ``rows``, in that order; the pixels are copied into memory."""
        index = np.asarray(rows, dtype=np.int64)
        return Films(self.gray[index], self.table.select(index), tuple(self.digests[i] for i in index), self.failures)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the sorted list of all films, a line "pixel digest, two spaces, file name" each."""
        names = self.table["file_name"]
        lines = sorted(f"{digest}  {name}\n" for digest, name in zip(self.digests, names, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.table)


def default_cache() -> Path:
    """Where decoded films are kept unless told otherwise: beside the caches of `datasets`."""
    return Path(datasets.config.HF_DATASETS_CACHE) / "hf_pneumo-films"


def decode(
    dataset: Dataset,
    preprocess: Preprocess,
    *,
    cache: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Films:
    """Read and resize every film of ``dataset`` in parallel, or map an earlier run's result.

    ``workers`` threads (default: the machine's cores, at most 16). Raises XrayReadError when no film can be read.
    """
    folder = Path(cache) if cache is not None else default_cache()
    images = dataset.select_columns(["image"])
    stem = folder / _key(images, preprocess)
    pixels, notes = stem.with_suffix(".npy"), stem.with_suffix(".json")
    if not (pixels.exists() and notes.exists()):
        gray, records = _read_all(images, preprocess, workers or min(os.cpu_count() or 1, 16), progress)
        _write(pixels, notes, gray, records)
    records = json.loads(notes.read_text(encoding="utf-8"))
    kept = [i for i, (digest, _) in enumerate(records) if digest]
    names = dataset["file_name"]
    failures = tuple((names[i], reason) for i, (digest, reason) in enumerate(records) if not digest)
    for name, reason in failures:
        logger.warning("left out %s: %s", one_line(name), reason)
    for note, count in Counter(note for digest, note in records if digest and note).items():
        logger.warning("%d of %d films: %s", count, len(kept), note)
    if not kept:
        raise XrayReadError(f"none of the {len(records)} files can be read; the first says: {records[0][1]}")
    digests = tuple(records[i][0] for i in kept)
    table = dataset.remove_columns("image").select(kept)
    return Films(np.load(pixels, mmap_mode="r"), table, digests, failures)


def refuse_contradictions(films: Films) -> None:
    """Raise SourceError where pixel-identical films have different exclusive labels: nobody can tell which is right."""
    table = films.table
    if "label" not in table.column_names or getattr(table.features["label"], "dtype", None) != "int64":
        return
    labels_of, names_of = defaultdict(set), defaultdict(list)
    for label, name, digest in zip(table["label"], table["file_name"], films.digests, strict=True):
        labels_of[digest].add(label)
        names_of[digest].append(name)
    if groups := [" = ".join(names_of[digest]) for digest, labels in labels_of.items() if len(labels) > 1]:
        raise SourceError(
            f"`dataset` holds {len(groups)} pictures under two labels, pixel for pixel the same: {some(groups)}; leave "
            "each under one label"
        )


def _read_all(
    images: Dataset, preprocess: Preprocess, workers: int, progress: bool
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Pixels of the readable films, in order, and for every film (digest, note on its crop) or ("", reason)."""

    def read(i: int) -> tuple[np.ndarray | None, str, str]:
        try:
            gray = read_xray(_content(images[i]["image"])).gray8
        except XrayReadError as error:
            return None, "", str(error)
        digest = hashlib.sha256(repr(gray.shape).encode() + gray.tobytes()).hexdigest()
        crop = preprocess.crop_of(gray)
        return preprocess.to_gray(gray, crop), digest, crop.note

    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(read, range(len(images)))
        bar = tqdm(results, total=len(images), desc="reading films", unit="film", disable=not progress)
        done = list(bar)
    gray = [g for g, _, _ in done if g is not None]
    stacked = np.stack(gray) if gray else np.zeros((0, *preprocess.size), np.uint8)
    return stacked, [(digest, remark) for _, digest, remark in done]


def _content(image: Mapping[str, Any]) -> bytes | str:
    return image["bytes"] if image["bytes"] is not None else film_path(image["path"])


def _key(images: Dataset, preprocess: Preprocess) -> str:
    """A name for the decoded result: which files (path, size, time, or content), read how."""
    state = hashlib.sha256(json.dumps([CACHE_VERSION, preprocess.to_dict()], sort_keys=True).encode())
    for item in images:
        image = item["image"]
        if image["bytes"] is not None:
            state.update(hashlib.sha256(image["bytes"]).digest())
        else:
            path = film_path(image["path"])
            try:
                stat = os.stat(path)
                state.update(os.fsencode(f"{os.path.abspath(path)}|{stat.st_size}|{stat.st_mtime_ns}"))
            except OSError:
                state.update(os.fsencode(f"{path}|missing"))
    return state.hexdigest()[:32]


def _write(pixels: Path, notes: Path, gray: np.ndarray, records: list[tuple[str, str]]) -> None:
    """Both files whole or not at all; several processes may race, the last one wins with the same content."""
    pixels.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=pixels.parent) as folder:
        np.save(Path(folder) / "gray.npy", gray)
        (Path(folder) / "notes.json").write_text(json.dumps(records), encoding="utf-8")
        os.replace(Path(folder) / "gray.npy", pixels)
        os.replace(Path(folder) / "notes.json", notes)
