"""`hf-pneumo benchmark serve`: what a film costs from the file to the finding, beside what it costs at least.

At least: ONNX Runtime's forward pass of the exported graph on pixels that are ready, and the networks that look for
lungs and for pictures that are no films. The films are phantoms. Every round runs each once, in rotating order, and a
ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import io
import os
import platform
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from hf_pneumo.cli.alternating import Call, alternate
from hf_pneumo.files import write_json, write_text
from hf_pneumo.imaging.film_check import check_film
from hf_pneumo.imaging.lungs import find_lungs
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.reader import Xray, read_xray
from hf_pneumo.models.folder import open_folder
from hf_pneumo.serving.export import overlay_image
from hf_pneumo.serving.graph import Graph
from hf_pneumo.serving.graph_store import open_graph
from hf_pneumo.serving.outcome import Finding
from hf_pneumo.serving.png import encode
from hf_pneumo.serving.predictor import Predictor

SMALL, LARGE, SHOWN = 224, 2000, 1200  # pixels a side of a JPEG, of a DICOM film, and of the overlay
# What is compared: a row, what is measured, and beside what.
ROWS = (
    ("decoded film to finding with map and boxes", "decoded", "least"),
    ("the same without map", "plain", "least plain"),
    ("224-px JPEG to finding with map and boxes", "jpeg", "least"),
    ("2,000-px 16-bit DICOM to finding with map and boxes", "dicom", "dicom read"),
    ("the same by torch, decoded film", "torch", "decoded"),
)


def calls_of(folder: Path, threads: int) -> dict[str, Call]:
    """What is timed of the checkpoint in ``folder``."""
    checkpoint = open_folder(folder)
    fast = Predictor(checkpoint, engine="onnx", threads=threads, judge_anyway=True)
    slow = Predictor(checkpoint, engine="torch", judge_anyway=True)
    graph = open_graph(checkpoint, threads=threads, make=True)
    assert graph is not None  # or it would have been made
    pixels = make_phantom(3, size=SMALL, opacities=1).pixels
    jpeg, dicom = _jpeg(pixels), _dicom(make_phantom(3, size=LARGE, opacities=1).pixels)
    shown = fast.predict(dicom, boxes_when_normal=True)
    assert isinstance(shown, Finding)  # it is judged anyway

    def film() -> Xray:
        return Xray(pixels, "JPEG", 8)  # a new one each time: nothing of it is known yet

    run, networks = _bare(graph, checkpoint.config.preprocess, film()), _networks(film())
    return {
        "forward": lambda: run(False),
        "forward with map": lambda: run(True),
        "least": lambda: (run(True), networks()),
        "least plain": lambda: (run(False), networks()),
        "decoded": lambda: fast.predict(film(), boxes_when_normal=True),
        "plain": lambda: fast.predict(film(), method=None),
        "jpeg": lambda: fast.predict(jpeg, boxes_when_normal=True),
        "dicom read": lambda: read_xray(dicom),
        "dicom": lambda: fast.predict(dicom, boxes_when_normal=True),
        "torch": lambda: slow.predict(film(), boxes_when_normal=True),
        "overlay": lambda: encode(overlay_image(shown, side=SHOWN)),
    }


def _bare(graph: Graph, preprocess: Any, film: Xray) -> Callable[[bool], object]:
    """The graph on a film that is ready, with its map or without."""
    crop = preprocess.crop_of(film.gray8)
    gray = preprocess.to_gray(film.gray8, crop)[None]
    fine = graph.recipe.preprocess(preprocess).to_gray(film.gray8, crop)[None]
    return lambda maps: graph.run(gray, fine=fine, maps=maps)


def _networks(film: Xray) -> Call:
    return lambda: (find_lungs(film.gray8), check_film(film.gray8))


def measure_serve(folder: Path, rounds: int, threads: int) -> dict[str, Any]:
    """One checkpoint's row: milliseconds of each call, and the ratios of `ROWS`, all medians."""
    seconds = alternate(calls_of(folder, threads), rounds)
    ratios = {
        name: statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))
        for name, one, other in ROWS
    }
    return {
        "checkpoint": folder.name,
        "milliseconds": {name: 1000 * statistics.median(own) for name, own in seconds.items()},
        "ratios": ratios,
    }


def serve_table(stored: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    told = "{processor}, {threads} threads, ONNX Runtime {onnxruntime}; load {load:.1f} on {cores} cores; medians of "
    rows = stored["rows"]
    names = [row["checkpoint"] for row in rows]
    lines = [(told + "{rounds} rounds").format(**stored["conditions"]) + ":", ""]
    lines += [f"| | {' | '.join(names)} |", "|---" * (1 + len(rows)) + "|"]
    for name in rows[0]["ratios"]:
        lines.append("| ".join([f"| {name}, x ", *(f"{row['ratios'][name]:.2f} " for row in rows)]) + "|")
    for name in rows[0]["milliseconds"]:
        lines.append("| ".join([f"| {name}, ms ", *(f"{row['milliseconds'][name]:.1f} " for row in rows)]) + "|")
    return "\n".join(lines) + "\n"


def run_serve(checkpoints: list[Path], path: Path, rounds: int, threads: int, processor: str) -> None:
    """Measure, write the results file and its table, and print that."""
    cores = os.cpu_count() or 1
    conditions = {
        "processor": processor,
        "cores": cores,
        "threads": threads or cores,
        "rounds": rounds,
        "load": os.getloadavg()[0],
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
    }
    stored = {"conditions": conditions, "rows": [measure_serve(one, rounds, threads or cores) for one in checkpoints]}
    write_json(path, stored)
    write_text(path.with_suffix(".md"), text := serve_table(stored))
    print(text)


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(buffer, "jpeg", quality=90)
    return buffer.getvalue()


def _dicom(pixels: np.ndarray) -> bytes:
    """An uncompressed digital radiograph of 16 bits."""
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    film.Modality, film.BodyPartExamined, film.ViewPosition = "DX", "CHEST", "PA"
    film.Rows, film.Columns = pixels.shape
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 16, 15, 0
    film.PixelData = np.rint(pixels * 65535).astype("<u2").tobytes()
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
