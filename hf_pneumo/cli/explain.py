"""Explain films: per image NAME.npy (float32 (H, W) in [0, 1]) and NAME.png (overlay), and explanations.json for all.

    hf-pneumo explain --checkpoint space/checkpoints/pneumonia-children --images FOLDER --method gradcam \\
        --output runs/explanations

With --all-findings also NAME-findings.png: the film beside the map of every finding from its threshold on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hf_pneumo.cli.films import open_films
from hf_pneumo.explain import methods
from hf_pneumo.explain.explainer import SMOOTHINGS
from hf_pneumo.files import write_json
from hf_pneumo.imaging.film_folder import one_line
from hf_pneumo.imaging.reader import MAX_PIXELS, XrayReadError
from hf_pneumo.serving.export import overlay_image, refusal_record
from hf_pneumo.serving.file_names import exact_uri, output_names
from hf_pneumo.serving.findings import findings_above, findings_figure
from hf_pneumo.serving.outcome import ERROR, JUDGED, NOT_JUDGED, Finding, Outcome
from hf_pneumo.serving.predictor import BOX_THRESHOLD, Predictor

DPI = 120


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    images: str = field(metadata={"help": "an image or DICOM file, or a folder of them"})
    output: str = field(metadata={"help": "folder for the maps, overlays and explanations.json"})
    method: str = field(default="gradcam", metadata={"help": "one of " + ", ".join(methods())})
    target: str | None = field(default=None, metadata={"help": "label to explain (default: the finding)"})
    all_findings: bool = field(
        default=False, metadata={"help": "also draw one figure with the map of every finding above its threshold"}
    )
    smoothing: str = field(default="none", metadata={"help": "mean over views: " + ", ".join(SMOOTHINGS)})
    within_lungs: bool = field(default=False, metadata={"help": "hold the map to the lungs found on the film"})
    box_threshold: float = field(default=BOX_THRESHOLD, metadata={"help": "share of the maximum where boxes begin"})
    judge_anyway: bool = field(
        default=False, metadata={"help": "also judge what does not look like an upright frontal chest film"}
    )
    max_pixels: int = field(default=MAX_PIXELS, metadata={"help": "largest film that is read, in pixels"})
    device: str = field(default="cpu", metadata={"help": "torch device, such as cpu or cuda"})

    def __post_init__(self):
        if self.method not in methods():
            raise ValueError(f"`method` is {self.method!r}; choose one of {', '.join(methods())}")
        if self.smoothing not in SMOOTHINGS:
            raise ValueError(f"`smoothing` is {self.smoothing!r}; choose one of {', '.join(SMOOTHINGS)}")

    @property
    def asked(self) -> dict[str, Any]:
        """What every map is made by."""
        names = ("method", "smoothing", "within_lungs", "box_threshold")
        return {name: getattr(self, name) for name in names}


def run(arguments: Arguments) -> bool:
    folder = open_films(arguments.images)
    files = folder.films
    limits: dict[str, Any] = {"judge_anyway": arguments.judge_anyway, "max_pixels": arguments.max_pixels}
    predictor = Predictor(arguments.checkpoint, device=arguments.device, **limits)
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    names = output_names(files, Path(arguments.images).expanduser(), reserved="-findings")
    found = predictor.predict_files(files, target=arguments.target, **arguments.asked)
    rows = []
    for path, result in tqdm(found, total=len(files), desc="explaining", unit="film"):
        if not isinstance(result, Finding):
            rows.append(plain_row(path, result))
            continue
        rows.append(row(path, result))
        np.save(output / f"{names[path]}.npy", result.map.heatmap)
        overlay_image(result).save(output / f"{names[path]}.png")
        if arguments.all_findings:
            above = findings_above(predictor, result.film, **arguments.asked)
            findings_figure(result, above).savefig(output / f"{names[path]}-findings.png", dpi=DPI)
            rows[-1]["findings"] = [row(path, finding) for finding in above]
    write_json(output / "explanations.json", rows)
    counts = Counter(entry["status"] for entry in rows)
    done, refused, failed = (counts[status] for status in (JUDGED, NOT_JUDGED, ERROR))
    print(f"{one_line(output)}: {done} films explained, {refused} not judged, {failed} could not be read")
    for remark in folder.remarks:
        print(remark)
    return not failed


def plain_row(path: Path, outcome: Outcome | XrayReadError) -> dict[str, Any]:
    """What explanations.json says of any file: "uri" is the exact path where "file" cannot show it."""
    uri = exact_uri(path)
    entry = {"file": one_line(path), "status": outcome.status, "reason": outcome.reason}
    return entry | ({"uri": uri} if uri else {})


def row(path: Path, finding: Finding) -> dict[str, Any]:
    """The entry of one film in explanations.json; boxes in the film's own pixels."""
    explanation = finding.map
    return {
        **plain_row(path, finding),
        "judged_anyway": refusal_record(finding.overridden),
        "finding": finding.leading,
        "probability": finding.probability,
        "scores": finding.scores,
        "verdict": finding.verdict,
        "target": explanation.target,
        "method": explanation.method,
        "layer": explanation.layer,
        "smoothing": explanation.smoothing,
        "within_lungs": explanation.within_lungs,
        "constant": explanation.constant,
        "boxes": [[b.x, b.y, b.w, b.h, b.score] for b in finding.boxes],
        "notes": list(finding.notes),
    }
