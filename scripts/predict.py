"""Score films with a checkpoint: one CSV row per file with probability and verdict, or the reason why there is none.

python scripts/predict.py --checkpoint space/checkpoints/pneumonia-official --images FOLDER --output scores.csv
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

import command
from films import find_films
from tqdm.auto import tqdm

from hf_pneumo.imaging.reader import XrayReadError
from hf_pneumo.serving.predictor import Predictor


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    images: str = field(metadata={"help": "an image or DICOM file, or a folder of them"})
    output: str = field(metadata={"help": "CSV file to write: file, probability (one per score), verdict, error"})
    device: str = field(default="cpu", metadata={"help": "torch device, such as cpu or cuda"})


def run(arguments: Arguments) -> bool:
    files = find_films(arguments.images)
    predictor = Predictor(arguments.checkpoint, device=arguments.device)
    names = predictor.checkpoint.config.labels.score_names
    columns = ["probability"] if len(names) == 1 else list(names)
    output, failed = Path(arguments.output), 0
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(output.name + ".part")
    with temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", *columns, "verdict", "error"])
        for path, found in tqdm(predictor.predict_files(files), total=len(files), desc="scoring", unit="film"):
            if isinstance(found, XrayReadError):
                failed += 1
                writer.writerow([path, *("" for _ in columns), "", found])
            else:
                writer.writerow([path, *(f"{p:.6f}" for p in found.scores.values()), found.verdict, ""])
    os.replace(temporary, output)
    print(f"{output}: {len(files) - failed} films scored, {failed} could not be read")
    return failed == 0


if __name__ == "__main__":
    command.main(Arguments, run, __doc__)
