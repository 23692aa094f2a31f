"""What a person takes away: the overlay, the raw map, and a manifest that says exactly how they came about."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from hf_pneumo.models.checkpoint import WEIGHTS, Checkpoint
from hf_pneumo.serving.predictor import Finding

COLOURS = "inferno"  # perceptually uniform, readable in grey and by the colour-blind
STRENGTH = 0.6  # opacity of the heatmap where it is hottest
BOX_COLOUR = (90, 220, 255)
PACKAGES = ("hf-pneumo", "torch", "timm", "captum", "pydicom", "pillow", "numpy")


def film_image(finding: Finding) -> Image.Image:
    """The film as it was read: RGB, (H, W) of the original."""
    return Image.fromarray(finding.film.gray8).convert("RGB")


def overlay_image(finding: Finding, *, draw_boxes: bool = True) -> Image.Image:
    """The heatmap over the film, more opaque where it is hotter, with the boxes; RGB, (H, W) of the original."""
    image = film_image(finding)
    if finding.explanation is None:
        return image
    heat = finding.explanation.heatmap[..., None]  # (H, W, 1)
    colour = matplotlib.colormaps[COLOURS](heat[..., 0])[..., :3] * 255  # (H, W, 3)
    alpha = STRENGTH * heat
    blended = np.asarray(image, dtype=np.float32) * (1 - alpha) + colour * alpha
    image = Image.fromarray(np.rint(blended).astype(np.uint8))
    if draw_boxes:
        pen, width = ImageDraw.Draw(image), max(1, round(min(image.size) / 200))
        for box in finding.boxes:
            pen.rectangle((box.x, box.y, box.x + box.w - 1, box.y + box.h - 1), outline=BOX_COLOUR, width=width)
    return image


def manifest(finding: Finding, checkpoint: Checkpoint, file_name: str | None = None) -> dict[str, Any]:
    """Everything needed to repeat and to judge the result, JSON-ready; nothing that identifies a person.

    ``file_name`` is left to the caller: an uploaded name may itself identify.
    """
    config, explanation = checkpoint.config, finding.explanation
    return {
        "file": file_name,
        "image": {
            "height": finding.film.pixels.shape[0],
            "width": finding.film.pixels.shape[1],
            "format": finding.film.format,
            "bits": finding.film.bits,
            "view": finding.film.view,
            "crop": list(config.preprocess.crop_of(finding.film.gray8).box),  # top, bottom, left, right in fractions
            "notes": list(finding.notes),
        },
        "verdict": finding.verdict,
        "finding": finding.leading,
        "probability": finding.probability,
        "scores": {
            name: {
                "probability": finding.scores[name],
                "threshold": finding.thresholds[name],
                "abstain": list(finding.abstain[name]),
                "verdict": finding.verdicts[name],
            }
            for name in finding.scores
        },
        "probabilities": {name: float(p) for name, p in finding.probabilities.items()},
        "prediction_sets": {"coverage": finding.coverage, **{name: list(own) for name, own in finding.sets.items()}},
        "suspect": finding.suspect,
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
        "model": {
            "name": checkpoint.name,
            "revision": checkpoint.revision,
            "weights_sha256": weights_sha256(checkpoint.path),
            "architecture": config.architecture,
            "task": config.labels.task,
            "temperature": config.operating_point.temperature,
            "fitted_on": config.operating_point.fitted_on,
            "preprocess": config.preprocess.to_dict(),
            "data": dict(config.data),
        },
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "notice": "For research and teaching. Not a medical device, not for diagnosis.",
    }


@lru_cache(maxsize=16)
def weights_sha256(folder: Path) -> str:
    """SHA-256 of a checkpoint's weights: what pins a model that has no Hub revision."""
    with (folder / WEIGHTS).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_archive(path: Path, finding: Finding, checkpoint: Checkpoint) -> Path:
    """Write overlay.png, heatmap.npy (float32 (H, W) in [0, 1]) and manifest.json as one zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("overlay.png", _png(overlay_image(finding)))
        if finding.explanation is not None:
            buffer = io.BytesIO()
            np.save(buffer, finding.explanation.heatmap)
            archive.writestr("heatmap.npy", buffer.getvalue())
        archive.writestr("manifest.json", json.dumps(manifest(finding, checkpoint), indent=2))
    return path


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "source tree"
