"""Judge films with a checkpoint: one CSV row per file with probability and verdict, or the reason why there is none.

    hf-pneumo predict --checkpoint space/checkpoints/pneumonia-children --images FOLDER --output scores.csv

The columns: file; status: judged, not judged (the picture is no upright frontal chest film) or error (it cannot be
read); probability, calibrated, of the finding that stands first; verdict; reason, why there is none; notes, what the
input checks say, and why a film was judged against them (--judge_anyway). Where a file's name is no plain text, uri
holds it exactly. Of more labels than one and its opposite, each label's own probability follows in a column of its
name. With --dicom_out, filing says what kept a result from being written, or what of the film's header it lacks.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from hf_pneumo.cli.films import open_films
from hf_pneumo.data.labels import LabelSet
from hf_pneumo.imaging.film_folder import one_line
from hf_pneumo.imaging.reader import MAX_PIXELS, XrayReadError
from hf_pneumo.serving.file_names import exact_uri, output_names
from hf_pneumo.serving.outcome import ERROR, JUDGED, NOT_JUDGED, Finding, Outcome
from hf_pneumo.serving.predictor import Predictor

COLUMNS = ("file", "status", "probability", "verdict", "reason", "notes", "uri")
WORDS = {JUDGED: "judged", NOT_JUDGED: "not judged", ERROR: "with an error"}


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    images: str = field(metadata={"help": "an image or DICOM file, or a folder of them"})
    output: str = field(metadata={"help": "CSV file to write, with the columns above"})
    dicom_out: str | None = field(
        default=None, metadata={"help": "also write heatmap and report of each DICOM film into this folder, as DICOM"}
    )
    judge_anyway: bool = field(
        default=False, metadata={"help": "also judge what does not look like an upright frontal chest film"}
    )
    max_pixels: int = field(default=MAX_PIXELS, metadata={"help": "largest film that is read, in pixels"})
    device: str = field(default="cpu", metadata={"help": "torch device, such as cpu or cuda"})


def run(arguments: Arguments) -> bool:
    folder = open_films(arguments.images)
    files = folder.films
    limits: dict[str, Any] = {"judge_anyway": arguments.judge_anyway, "max_pixels": arguments.max_pixels}
    predictor = Predictor(arguments.checkpoint, device=arguments.device, **limits)
    each = each_label(predictor.checkpoint.config.labels)
    names = output_names(files, Path(arguments.images).expanduser())
    output, unfiled = Path(arguments.output), 0
    counts: Counter[str] = Counter()
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(output.name + ".part")
    results = predictor.predict_files(files, method="gradcam" if arguments.dicom_out else None)
    with temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns(each, filing=bool(arguments.dicom_out)))
        writer.writeheader()
        for path, outcome in tqdm(results, total=len(files), desc="judging", unit="film"):
            counts[outcome.status] += 1
            told = row(path, outcome, each)
            if arguments.dicom_out and not isinstance(outcome, XrayReadError):
                told["filing"], filed = file_in_study(path, outcome, arguments.dicom_out, names[path])
                unfiled += not filed
            writer.writerow(told)
    os.replace(temporary, output)
    print(f"{one_line(output)}: " + ", ".join(f"{counts[status]} {word}" for status, word in WORDS.items()))
    for remark in folder.remarks:
        print(remark)
    return not counts[ERROR] and not unfiled


def each_label(labels: LabelSet) -> tuple[str, ...]:
    """The labels that have a column: all of them, but where there is one and its opposite alone."""
    return () if labels.exclusive and len(labels.names) == 2 else labels.names


def columns(each: Sequence[str], *, filing: bool) -> list[str]:
    """The columns of the table, in order; ``filing``: whether results are written as DICOM, too."""
    return [*COLUMNS, *(["filing"] if filing else []), *each]


def row(path: Path, outcome: Outcome | XrayReadError, each: Sequence[str] = ()) -> dict[str, str]:
    """The columns of one file, with the probability of ``each`` label where it was judged."""
    told = {"file": one_line(path), "status": outcome.status, "reason": outcome.reason, "uri": exact_uri(path)}
    if isinstance(outcome, XrayReadError):
        return told
    told["notes"] = " ".join(outcome.notes)
    if isinstance(outcome, Finding):
        if outcome.overridden:
            told["notes"] = f"Judged anyway: {outcome.overridden.sentence} {told['notes']}".strip()
        told |= {"probability": f"{outcome.probability:.6f}", "verdict": outcome.verdict}
        told |= {name: f"{outcome.probabilities[name]:.6f}" for name in each}
    return told


def file_in_study(path: Path, outcome: Outcome, folder: str, name: str) -> tuple[str, bool]:
    """Write what became of a DICOM film beside it in its study; returns what is to be said of that, and whether it was.

    What is said: what kept it from being written, or what of the film's header it lacks.
    """
    if outcome.film.format != "DICOM":
        return "", True
    from hf_pneumo.serving.dicom_export import DicomOutError  # highdicom is an extra, and slow to import
    from hf_pneumo.serving.dicom_outcome import write_outcome

    try:
        filed = write_outcome(path, outcome, folder, name=name)
    except (DicomOutError, OSError) as error:
        return str(error), False
    return " ".join(filed.notes), True
