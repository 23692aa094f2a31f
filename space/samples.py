"""Example films: phantoms drawn from seeds, and a few films of the public data set when the Hub answers."""

from __future__ import annotations

import io
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from hf_pneumo.imaging.phantom import Box, make_phantom

logger = logging.getLogger(__name__)

# (seed, number of planted opacities)
PHANTOMS = ((3, 0), (8, 1), (21, 2), (34, 0))
SIDE, THUMBNAIL = 512, 160
COUNTS = {0: "no opacity", 1: "one opacity", 2: "two opacities"}

DATASET, SPLIT = "hf-vision/chest-xray-pneumonia", "test"
PER_CLASS = 2
CLASSES = {0: "NORMAL", 1: "PNEUMONIA"}
DRAWN = (
    "Phantoms are drawn by a program and show no person. They show how the page works: a model trained on real films "
    "has never seen their like, and its answers on them mean nothing."
)
ATTRIBUTION = (  # HTML
    f'Films marked Kermany: <a href="https://huggingface.co/datasets/{DATASET}" rel="noreferrer">{DATASET}</a>, '
    'Kermany et al. 2018, <a href="https://doi.org/10.1016/j.cell.2018.02.010" rel="noreferrer">Cell 172</a>, '
    '<a href="https://creativecommons.org/licenses/by/4.0/" rel="noreferrer">CC BY 4.0</a>.'
)


@dataclass(frozen=True)
class Sample:
    """One example: a film in a temporary folder, what to call it, and where it comes from (HTML).

    ``planted``: of a phantom the box (x, y, w, h) of each opacity, in pixels.
    """

    path: Path
    caption: str
    credit: str
    thumbnail: Image.Image
    planted: tuple[Box, ...] = ()


class Samples:
    """Phantoms at once, films of the data set once they have come; safe under threads. Nothing here ever raises."""

    def __init__(self, *, from_hub: bool = True):
        self._folder = tempfile.TemporaryDirectory(prefix="hf_pneumo-examples-")
        self._lock = threading.Lock()
        self._phantoms: list[Sample] = []
        self._films: list[Sample] = []
        self._arrived = threading.Event()
        threading.Thread(target=self.ready, name="phantoms", daemon=True).start()
        if from_hub:
            threading.Thread(target=self._fetch, name="example films", daemon=True).start()
        else:
            self._arrived.set()

    def ready(self, wait: float = 0.0) -> list[Sample]:
        """The examples there are, after at most ``wait`` seconds for the Hub; phantoms always stand first."""
        with self._lock:
            if not self._phantoms:
                self._phantoms = [self._draw(seed, opacities) for seed, opacities in PHANTOMS]
        self._arrived.wait(wait)
        return [*self._phantoms, *self._films]

    def planted(self, path: str) -> tuple[Box, ...]:
        """The boxes of what was planted in the example at ``path``; none where it is no phantom."""
        return next((sample.planted for sample in self._phantoms if str(sample.path) == path), ())

    def _draw(self, seed: int, opacities: int) -> Sample:
        path = Path(self._folder.name) / f"phantom-{seed}-{opacities}.png"
        phantom = make_phantom(seed, size=SIDE, opacities=opacities)
        Image.fromarray(phantom.film.gray8).save(path)
        return Sample(path, f"Phantom, {COUNTS[opacities]}", DRAWN, _thumbnail(path), tuple(phantom.boxes))

    def _fetch(self) -> None:
        try:
            found = []
            for number, (label, content) in enumerate(hub_films()):
                kind = Image.open(io.BytesIO(content)).format.lower()
                path = Path(self._folder.name) / f"kermany-{number}.{kind}"
                path.write_bytes(content)
                found.append(Sample(path, f"Kermany, {CLASSES[label].lower()}", ATTRIBUTION, _thumbnail(path)))
            self._films = found
        except Exception as error:  # without the Hub there are phantoms; whatever it answers must not disturb the page
            logger.info("No example films from the Hub (%s).", type(error).__name__)
        finally:
            self._arrived.set()


def _thumbnail(path: Path) -> Image.Image:
    """The middle square of a film, small, RGB."""
    with Image.open(path) as image:
        return ImageOps.fit(image.convert("RGB"), (THUMBNAIL, THUMBNAIL))


def hub_films(dataset: str = DATASET, split: str = SPLIT, per_class: int = PER_CLASS) -> Iterator[tuple[int, bytes]]:
    """The first films of each class as (label, encoded image), reading only the pages of the parquet that hold them.

    Raises whatever the Hub client or the parquet reader raise.
    """
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise ConnectionError("HF_HUB_OFFLINE is set")
    files = HfFileSystem()
    paths = sorted(files.glob(f"datasets/{dataset}/**/{split}-*.parquet"))
    wanted = dict.fromkeys(CLASSES, per_class)
    for path in paths:
        with files.open(path, block_size=2**20) as stream, pq.ParquetFile(stream, pre_buffer=False) as table:
            labels = table.read(columns=["label"])["label"].to_pylist()
            rows = [row for label in wanted for row in _first(labels, label, wanted[label])]
            for row in rows:
                wanted[labels[row]] -= 1
                yield labels[row], _image(table, row)
        if not any(wanted.values()):
            return


def _first(labels: list[int], label: int, count: int) -> list[int]:
    return [row for row, found in enumerate(labels) if found == label][:count]


def _image(table: object, row: int) -> bytes:
    """The encoded image of one row; batches before it in its row group are read past, none after it."""
    start = 0
    for group in range(table.metadata.num_row_groups):
        count = table.metadata.row_group(group).num_rows
        if row < start + count:
            for batch in table.iter_batches(batch_size=1, row_groups=[group], columns=["image"]):
                if start == row:
                    return batch["image"][0].as_py()["bytes"]
                start += 1
        start += count
    raise IndexError(f"`row` {row} is beyond the table")
