"""Score films with a checkpoint: one CSV row per file with probability and verdict, or the reason why there is none.

    python scripts/predict.py --checkpoint space/checkpoints/pneumonia-official --images FOLDER --output scores.csv

The columns: file; probability, calibrated, of the finding that stands first; verdict; error; notes, what the input
checks say, also why a picture is unlike the training films and so uncertain. Of more labels than one and its opposite,
each label's own probability follows in a column of its name.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

import _cli
import numpy as np
from films import open_films
from tqdm.auto import tqdm

from hf_pneumo.imaging.film_folder import one_line, readable
from hf_pneumo.imaging.reader import XrayReadError
from hf_pneumo.serving.dicom_export import DicomOutError, write_dicom_result
from hf_pneumo.serving.export import overlay_image
from hf_pneumo.serving.predictor import Finding, Predictor

COLUMNS = ("file", "probability", "verdict", "error", "notes")


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    images: str = field(metadata={"help": "an image or DICOM file, or a folder of them"})
    output: str = field(metadata={"help": "CSV file to write, with the columns above"})
    dicom_out: str | None = field(
        default=None, metadata={"help": "also write heatmap and report of each DICOM film into this folder, as DICOM"}
    )
    device: str = field(default="cpu", metadata={"help": "torch device, such as cpu or cuda"})


def run(arguments: Arguments) -> bool:
    folder = open_films(arguments.images)
    predictor = Predictor(arguments.checkpoint, device=arguments.device)
    labels = predictor.checkpoint.config.labels
    each = () if labels.exclusive and len(labels.names) == 2 else labels.names
    output, failed = Path(arguments.output), 0
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(output.name + ".part")
    results = predictor.predict_files(folder.films, method="gradcam" if arguments.dicom_out else None)
    with temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*COLUMNS, *each])
        writer.writeheader()
        for path, found in tqdm(results, total=len(folder.films), desc="scoring", unit="film"):
            if isinstance(found, XrayReadError):
                failed += 1
                writer.writerow({"file": readable(path), "error": found})
                continue
            problem = file_in_study(path, found, arguments.dicom_out) if arguments.dicom_out else ""
            failed += bool(problem)
            writer.writerow(row(path, found, problem) | {name: f"{found.probabilities[name]:.6f}" for name in each})
    os.replace(temporary, output)
    print(f"{one_line(output)}: {len(folder.films) - failed} films done, {failed} with an error")
    for remark in folder.remarks:
        print(remark)
    return failed == 0


def row(path: Path, finding: Finding, problem: str) -> dict[str, object]:
    """The columns that every checkpoint has."""
    told = (readable(path), f"{finding.probability:.6f}", finding.verdict, problem, " ".join(finding.notes))
    return dict(zip(COLUMNS, told, strict=True))


def file_in_study(path: Path, finding: Finding, folder: str) -> str:
    """Write the finding on a DICOM film beside it in its study; returns what kept it from being written, or ""."""
    if finding.film.format != "DICOM":
        return ""
    explanation = finding.explanation
    explained = explanation.target if explanation.target in finding.scores else None
    try:
        write_dicom_result(
            path,
            np.asarray(overlay_image(finding)),
            folder,
            probabilities=finding.scores,
            model=finding.model,
            revision=finding.revision,
            verdicts=finding.verdicts,
            boxes=[(b.x, b.y, b.w, b.h, b.score) for b in finding.boxes] if explained else [],
            box_finding=explained,
            method=explanation.method,
        )
    except DicomOutError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    _cli.main(Arguments, run, __doc__)
