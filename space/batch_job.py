"""Many films, judged one after another: a row for each, and what can be taken away."""

from __future__ import annotations

import csv
import importlib.util
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import predict
from batch_files import BatchFile, gather
from gradio.components import Component
from html_gallery import data_uri
from model_registry import Desk

from hf_pneumo.cli.predict import columns, each_label, file_in_study, row
from hf_pneumo.explain.explanation import ZeroGradientError
from hf_pneumo.imaging.reader import XrayReadError
from hf_pneumo.serving.export import film_image
from hf_pneumo.serving.file_names import output_names
from hf_pneumo.serving.outcome import Finding, Outcome
from hf_pneumo.serving.predictor import BOX_THRESHOLD

THUMBNAIL = 112  # pixels of the longer side, twice what is shown
WRITES_DICOM = importlib.util.find_spec("highdicom") is not None
OVERLAYS, DICOM = "overlays", "dicom"  # folders of what is taken away


@dataclass(frozen=True)
class BatchRow:
    """``cells``: of the film in the table that `hf-pneumo predict` writes; ``thumbnail``: data URI, "" without a film;
    ``probability``: in [0, 1], None without one.
    """

    cells: dict[str, str]
    thumbnail: str = ""
    probability: float | None = None


class BatchJob:
    """One batch. What it writes lies in a folder of its own until `close`, or the end of a ``with`` block.

    ``uploads``: paths of films and zip archives; ``as_dicom``: also write heatmap and report of each DICOM film.
    Raises BatchError for what is no batch.
    """

    def __init__(self, desk: Desk, uploads: Sequence[str], *, as_dicom: bool = False) -> None:
        self.desk, self.as_dicom = desk, as_dicom
        # Beside the page's own store: what lies within it would not be copied there.
        self._folder = tempfile.TemporaryDirectory(prefix="hf_pneumo-batch-", ignore_cleanup_errors=True)
        self._out = Path(self._folder.name) / "out"
        for name in (OVERLAYS, DICOM):
            (self._out / name).mkdir(parents=True)
        try:
            self.files = gather(uploads, Path(self._folder.name))
        except ValueError:
            self.close()
            raise
        self._each = each_label(desk.checkpoint.config.labels)
        self._names = output_names([Path(film.name) for film in self.files.films], Path())
        self._stopped = threading.Event()
        self._begun = time.monotonic()
        self.rows: list[BatchRow] = []

    def run(self) -> Iterator[BatchRow]:
        """Judge film after film until all are done or it is stopped."""
        for film in self.files.films:
            outcome = self._outcome(film)
            if self._stopped.is_set():
                return
            self.rows.append(self._row(film, outcome))
            yield self.rows[-1]

    def stop(self) -> None:
        """Drop the film that is being judged, and what comes after it."""
        self._stopped.set()

    def close(self) -> None:
        """Delete what it wrote."""
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def films(self) -> int:
        return len(self.files.films)

    @property
    def seconds_left(self) -> float:
        """How long the rest will take, at the pace so far; 0 before the first film is done."""
        pace = (time.monotonic() - self._begun) / max(len(self.rows), 1)
        return pace * (self.films - len(self.rows)) if self.rows else 0.0

    # What is taken away ----------------------------------------------------------------------------------------------

    def table(self, component: Component) -> str:
        """The CSV table of `hf-pneumo predict` in the page's own store, which is purged; returns its path."""
        path = self._out / "scores.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns(self._each, filing=self.as_dicom))
            writer.writeheader()
            writer.writerows(own.cells for own in self.rows)
        return component.move_resource_to_block_cache(str(path))

    def pack(self, kind: str, component: Component) -> str | None:
        """A zip of all overlays or DICOM objects in the page's own store; returns its path, None where there are none.

        ``kind``: `OVERLAYS` or `DICOM`.
        """
        files = sorted((self._out / kind).iterdir())
        if not files:
            return None
        path = self._out / f"{kind}.zip"
        with zipfile.ZipFile(path, "w") as archive:  # what it holds is compressed already
            for file in files:
                archive.write(file, file.name)
        return component.move_resource_to_block_cache(str(path))

    # One film --------------------------------------------------------------------------------------------------------

    def _row(self, film: BatchFile, outcome: Outcome | XrayReadError) -> BatchRow:
        cells = row(Path(film.name), outcome, self._each)
        if isinstance(outcome, XrayReadError):
            return BatchRow(cells)
        name = self._names[Path(film.name)]
        if self.as_dicom:
            cells["filing"], _ = file_in_study(film.path, outcome, str(self._out / DICOM), name)
        picture = film_image(outcome, side=THUMBNAIL)
        if not isinstance(outcome, Finding):
            return BatchRow(cells, data_uri(picture))
        predict.overlay(outcome).save(self._out / OVERLAYS / f"{name}.png")
        return BatchRow(cells, data_uri(picture), outcome.probability)

    def _outcome(self, film: BatchFile) -> Outcome | XrayReadError:
        if film.problem:
            return XrayReadError(film.problem)
        method, refinement = self.desk.first
        try:
            read = predict.read_film(str(film.path))
            try:
                judged = predict.judge(
                    str(film.path), self.desk, method, "", BOX_THRESHOLD, False, refinement=refinement, film=read
                )
                return judged.outcome
            except ZeroGradientError:  # then there is a verdict without a map
                return self.desk.predictor.predict(read, method=None)
        except XrayReadError as error:
            return error
