"""What a person takes away: the overlay, the raw map, and a manifest that says exactly how they came about."""

from __future__ import annotations

import io
import json
import platform
import zipfile
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hf_pneumo.models.folder import CheckpointFolder
from hf_pneumo.serving.admission import Refusal
from hf_pneumo.serving.colours import blended
from hf_pneumo.serving.outcome import Finding, NotJudged, Outcome
from hf_pneumo.serving.png import encode

BOX_COLOUR = (90, 220, 255)
PACKAGES = ("hf-pneumo", "torch", "timm", "captum", "pydicom", "pillow", "numpy")


def film_image(outcome: Outcome, *, side: int | None = None) -> Image.Image:
    """The film as it was read: RGB, (H, W) of the original, or its longer side at most ``side`` pixels."""
    return _scaled(Image.fromarray(outcome.film.gray8), side).convert("RGB")


def overlay_image(finding: Finding, *, draw_boxes: bool = True, side: int | None = None) -> Image.Image:
    """The heatmap over the film, more opaque where it is hotter, with the boxes; RGB, (H, W) of the original.

    ``side``: or its longer side at most so many pixels, which costs as much less as there are fewer.
    """
    if finding.explanation is None:
        return film_image(finding, side=side)
    film = _scaled(Image.fromarray(finding.film.gray8), side)
    heat = Image.fromarray(finding.explanation.heatmap)
    if heat.size != film.size:
        heat = heat.resize(film.size, Image.Resampling.NEAREST)  # it has no detail that could be missed
    image = Image.fromarray(blended(np.asarray(film), _to_8_bits(np.asarray(heat))))
    if draw_boxes:
        pen, width = ImageDraw.Draw(image), max(1, round(min(image.size) / 200))
        scale = image.size[0] / finding.film.pixels.shape[1]
        for box in finding.boxes:
            left, top, right, bottom = (round(scale * edge) for edge in (box.x, box.y, box.x + box.w, box.y + box.h))
            pen.rectangle((left, top, right - 1, bottom - 1), outline=BOX_COLOUR, width=width)
    return image


def _scaled(image: Image.Image, side: int | None) -> Image.Image:
    """The picture at most ``side`` pixels high and wide."""
    if side is None or max(image.size) <= side:
        return image
    width, height = (max(1, round(edge * side / max(image.size))) for edge in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _to_8_bits(heatmap: np.ndarray) -> np.ndarray:
    scaled = heatmap * np.float32(255)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def manifest(outcome: Outcome, checkpoint: CheckpointFolder, file_name: str | None = None) -> dict[str, Any]:
    """Everything needed to repeat and to judge the result, JSON-ready; nothing that identifies a person.

    ``file_name`` is left to the caller: an uploaded name may itself identify. A film that was not judged has neither
    verdict nor probabilities; of one that was judged against the check, "judged_anyway" says what the check said.
    """
    return {
        "file": file_name,
        "status": outcome.status,
        "reason": refusal_record(outcome.refusal) if isinstance(outcome, NotJudged) else None,
        "image": _image_record(outcome, checkpoint),
        **(_finding_record(outcome) if isinstance(outcome, Finding) else {}),
        "model": _model_record(checkpoint),
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "notice": "For research and teaching. Not a medical device, not for diagnosis.",
    }


def refusal_record(refusal: Refusal | None) -> dict[str, str] | None:
    """``{"reason": ..., "sentence": ...}``, or None where there is nothing against the picture."""
    return asdict(refusal) if refusal else None


def _image_record(outcome: Outcome, checkpoint: CheckpointFolder) -> dict[str, Any]:
    film = outcome.film
    return {
        "height": film.pixels.shape[0],
        "width": film.pixels.shape[1],
        "format": film.format,
        "bits": film.bits,
        "view": film.view,
        "crop": list(checkpoint.config.preprocess.crop_of(film.gray8).box),  # top, bottom, left, right in fractions
        "notes": list(outcome.notes),
    }


def _finding_record(finding: Finding) -> dict[str, Any]:
    explanation = finding.explanation
    return {
        "verdict": finding.verdict,
        "finding": finding.leading,
        "probability": finding.probability,
        "scores": {
            name: {
                "probability": finding.scores[name],
                "threshold": finding.thresholds.get(name),
                "abstain": list(finding.abstain.get(name, ())),
                "verdict": finding.verdicts[name],
            }
            for name in finding.scores
        },
        "probabilities": finding.probabilities,
        "prediction_sets": {"coverage": finding.coverage, **{name: list(own) for name, own in finding.sets.items()}},
        "suspect": finding.suspect,
        "judged_anyway": refusal_record(finding.overridden),
        "explanation": explanation
        and {
            "method": explanation.method,
            "layer": explanation.layer,
            "target": explanation.target,
            "smoothing": explanation.smoothing,
            "within_lungs": explanation.within_lungs,
            "constant": explanation.constant,
            "grid": list(explanation.grid.shape),
            "boxes": [[b.x, b.y, b.w, b.h, b.score] for b in finding.boxes],
        },
    }


def _model_record(checkpoint: CheckpointFolder) -> dict[str, Any]:
    config, point = checkpoint.config, checkpoint.config.operating_point
    return {
        "name": checkpoint.name,
        "revision": checkpoint.revision,
        "weights_sha256": checkpoint.sha256,
        "architecture": config.architecture,
        "task": config.labels.task,
        "temperature": point.temperature,
        "fitted_on": point.fitted_on,
        "preprocess": config.preprocess.to_dict(),
        "data": config.data.to_json(),
    }


def write_archive(path: Path, outcome: Outcome, checkpoint: CheckpointFolder) -> Path:
    """Write overlay.png, heatmap.npy (float32 (H, W) in [0, 1]) and manifest.json as one zip file.

    Of a film that was not judged, the manifest alone.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if isinstance(outcome, Finding):
            archive.writestr("overlay.png", encode(overlay_image(outcome)))
            if outcome.explanation is not None:
                buffer = io.BytesIO()
                np.save(buffer, outcome.explanation.heatmap)
                archive.writestr("heatmap.npy", buffer.getvalue())
        archive.writestr("manifest.json", json.dumps(manifest(outcome, checkpoint), indent=2))
    return path


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "source tree"
