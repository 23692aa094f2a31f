"""Measure heatmaps against radiologists' boxes or masks: localization.json and localization.md, baselines beside them.

    hf-pneumo localization --checkpoint space/checkpoints/pneumonia-children --images films \\
        --boxes boxes.csv --method gradcam,layercam --variants lungs,crop+lungs --output runs/localization

    hf-pneumo localization --checkpoint runs/phantom --images phantom:100 --output runs/localization

The second needs no films: it draws phantoms that no training has seen, with the boxes of what was planted.

boxes.csv has the columns image, x, y, w, h in image pixels (and source); a row with empty x is a film without the
finding. A folder given as --boxes holds masks, one PNG named as its film. --films may add patients and films known to
be free of the finding. --variants adds rows: the same maps held to the lungs that are found on the film (lungs), of the
network shown those lungs only (crop), with a finer last grid (stride16), over ten views (smooth), or some of it (by +).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm.auto import tqdm

from hf_pneumo.data.sources import phantom_count
from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.explanations.annotations import BoxedFilm, boxes_by_image, phantom_films, read_table
from hf_pneumo.evaluation.explanations.evaluate_localization import measure_localization
from hf_pneumo.evaluation.explanations.localization import LocalizationReport
from hf_pneumo.evaluation.explanations.variants import PARTS, PLAIN, Variant
from hf_pneumo.explain import methods
from hf_pneumo.files import write_text
from hf_pneumo.models.checkpoint import Checkpoint, load
from hf_pneumo.reporting.tables import localization_table


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    images: str = field(metadata={"help": "folder of the films, or phantom[:n]"})
    output: str = field(metadata={"help": "folder for localization.json and localization.md"})
    boxes: str | None = field(
        default=None, metadata={"help": "CSV with columns image, x, y, w, h; or a folder of mask PNGs (phantoms: none)"}
    )
    method: str = field(default="gradcam", metadata={"help": "names, comma between, of " + ", ".join(methods())})
    variants: str = field(
        default=PLAIN,
        metadata={"help": f"rows beside the {PLAIN} ones, such as lungs,crop+lungs; parts are {', '.join(PARTS)}"},
    )
    source: str | None = field(default=None, metadata={"help": "only boxes with this value in column source"})
    films: str | None = field(default=None, metadata={"help": "CSV with a column image: patients, groups, normals"})
    patient_column: str = field(default="patient", metadata={"help": "column of --films that names the patient"})
    group_column: str | None = field(default=None, metadata={"help": "column of --films to report by, such as view"})
    normal: str | None = field(default=None, metadata={"help": "COLUMN=VALUE of --films that marks normal films"})
    lungs: str | None = field(default=None, metadata={"help": "folder of lung mask PNGs, as one more baseline"})
    target: str | None = field(default=None, metadata={"help": "label to explain (default: the finding)"})
    smoothing: str = field(default="none", metadata={"help": "none, flips, shifts or flips+shifts"})
    batch_size: int = field(default=8, metadata={"help": "films explained at once"})
    resamples: int = field(default=RESAMPLES, metadata={"help": "bootstrap samples of patients"})

    def __post_init__(self):
        unknown = [name for name in self.method.split(",") if name not in methods()]
        if unknown:
            raise ValueError(f"`method` is {unknown[0]!r}; choose from {', '.join(methods())}")
        for name in self.variants.split(","):
            Variant.parse(name)
        if self.normal and "=" not in self.normal:
            raise ValueError(f"`normal` is {self.normal!r}; give COLUMN=VALUE")
        drawn = phantom_count(self.images) is not None
        if drawn and (self.boxes or self.films or self.lungs):
            raise ValueError("`images` are phantoms, whose boxes are known; leave out `boxes`, `films` and `lungs`")
        if not drawn and not self.boxes:
            raise ValueError("`boxes` is missing; give the CSV table of boxes or the folder of masks of `images`")
        if (self.normal or self.group_column) and not self.films:
            raise ValueError("`normal` and `group_column` name columns of `films`; give that too")


def run(arguments: Arguments) -> None:
    checkpoint = load(arguments.checkpoint)
    with TemporaryDirectory() as folder:
        count = phantom_count(arguments.images)
        drawn = phantom_films(count, Path(folder)) if count is not None else None
        films = collect(arguments, Path(arguments.boxes or "")) if drawn is None else drawn
        report = measure(arguments, checkpoint, films)
    output = Path(arguments.output)
    report.write(output / "localization.json")
    text = localization_table(report)
    write_text(output / "localization.md", text)
    print(text)


def measure(arguments: Arguments, checkpoint: Checkpoint, films: list[BoxedFilm]) -> LocalizationReport:
    """The localization report, with a bar that says how far it is."""
    masks = Path(arguments.lungs) if arguments.lungs else None
    lungs = None if masks is None else lambda film: _mask_of(masks, film.path.name)
    with tqdm(total=100, unit="%") as bar:

        def watch(name: str, done: float) -> None:
            bar.set_description(name)
            bar.update(round(100 * done) - bar.n)

        return measure_localization(
            checkpoint,
            films,
            arguments.method.split(","),
            variants=arguments.variants.split(","),
            target=arguments.target,
            smoothing=arguments.smoothing,
            batch_size=arguments.batch_size,
            resamples=arguments.resamples,
            lungs=lungs,
            progress=watch,
            source=arguments.source,
        )


def collect(arguments: Arguments, boxes: Path) -> list[BoxedFilm]:
    """The films with ``boxes``, a table or a folder of masks, then those that the table calls normal."""
    folder = Path(arguments.images)
    table = {row["image"]: row for row in read_table(arguments.films, ["image"])} if arguments.films else {}
    if boxes.is_dir():
        found: dict[str, Any] = {path.name: [] for path in sorted(folder.iterdir()) if _mask_of(boxes, path.name)}
    else:
        found = boxes_by_image(boxes, arguments.source)
    if arguments.normal:
        column, value = arguments.normal.split("=", 1)
        found |= {name: [] for name, row in table.items() if row.get(column) == value and name not in found}
    return [
        BoxedFilm(
            folder / name,
            table.get(name, {}).get(arguments.patient_column) or name,
            tuple(drawn),
            _mask_of(boxes, name) if boxes.is_dir() else None,
            table.get(name, {}).get(arguments.group_column or "", ""),
        )
        for name, drawn in found.items()
    ]


def _mask_of(folder: Path, name: str) -> Path | None:
    path = folder / Path(name).with_suffix(".png").name
    return path if path.is_file() else None
