"""Score films with a checkpoint: one CSV row per file with probability and verdict, or the reason why there is none.

python scripts/predict.py --checkpoint space/checkpoints/pneumonia-official --images FOLDER --output scores.csv
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

import command
import numpy as np
from films import find_films
from tqdm.auto import tqdm

from hf_pneumo.imaging.reader import XrayReadError
from hf_pneumo.serving.dicom_out import DicomOutError, write_dicom_result
from hf_pneumo.serving.export import overlay_image
from hf_pneumo.serving.predictor import Finding, Predictor


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    images: str = field(metadata={"help": "an image or DICOM file, or a folder of them"})
    output: str = field(metadata={"help": "CSV file to write: file, probability (one per score), verdict, error"})
    dicom_out: str | None = field(
        default=None, metadata={"help": "also write heatmap and report of each DICOM film into this folder, as DICOM"}
    )
    device: str = field(default="cpu", metadata={"help": "torch device, such as cpu or cuda"})


def run(arguments: Arguments) -> bool:
    files = find_films(arguments.images)
    predictor = Predictor(arguments.checkpoint, device=arguments.device)
    names = predictor.checkpoint.config.labels.score_names
    columns = ["probability"] if len(names) == 1 else list(names)
    output, failed = Path(arguments.output), 0
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(output.name + ".part")
    results = predictor.predict_files(files, method="gradcam" if arguments.dicom_out else None)
    with temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", *columns, "verdict", "error"])
        for path, found in tqdm(results, total=len(files), desc="scoring", unit="film"):
            if isinstance(found, XrayReadError):
                failed += 1
                writer.writerow([path, *("" for _ in columns), "", found])
                continue
            problem = file_in_study(path, found, arguments.dicom_out) if arguments.dicom_out else ""
            failed += bool(problem)
            writer.writerow([path, *(f"{p:.6f}" for p in found.scores.values()), found.verdict, problem])
    os.replace(temporary, output)
    print(f"{output}: {len(files) - failed} films done, {failed} with an error")
    return failed == 0


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
    command.main(Arguments, run, __doc__)
