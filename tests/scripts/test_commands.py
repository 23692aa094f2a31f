"""The commands as a person calls them: files, exit status, one sentence for an error."""

from __future__ import annotations

import csv
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import dcmread

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig

ROOT = Path(__file__).resolve().parents[2]


def call(*words: object) -> subprocess.CompletedProcess[str]:
    script, *rest = (str(w) for w in words)
    return subprocess.run([sys.executable, f"scripts/{script}", *rest], cwd=ROOT, capture_output=True, text=True)


def call_here(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit status of a command run in this process, which saves the seconds of its imports."""
    script, *rest = (str(w) for w in words)
    monkeypatch.setattr(sys, "argv", [script, *rest])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__")
    return stopped.value.code


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = CheckpointConfig("test_resnet", PNEUMONIA, Preprocess(size=(64, 64)))
    return save(tmp_path_factory.mktemp("checkpoints") / "tiny", build("test_resnet", 2), config)


@pytest.fixture
def films(tmp_path) -> Path:
    folder = tmp_path / "films"
    (folder / "sub").mkdir(parents=True)
    for seed, name in ((1, "a.png"), (2, "sub/a.png"), (3, "b.jpg")):
        Image.fromarray((make_phantom(seed, size=96).pixels * 255).astype(np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "readme.txt").write_text("not a film")
    return folder


def test_predict_writes_a_row_a_file_and_fails_when_one_failed(checkpoint, films, tmp_path):
    done = call("predict.py", "--checkpoint", checkpoint, "--images", films, "--output", tmp_path / "o/scores.csv")
    assert done.returncode == 1 and "3 judged, 0 not judged, 1 with an error" in done.stdout
    rows = list(csv.DictReader((tmp_path / "o/scores.csv").open()))
    assert [Path(r["file"]).name for r in rows] == ["a.png", "b.jpg", "broken.png", "a.png"]
    assert list(rows[0]) == ["file", "status", "probability", "verdict", "reason", "notes", "uri"]
    for row in rows:
        assert bool(row["reason"]) == (row["status"] == "error") == ("broken" in row["file"])
        if row["status"] == "error":
            assert not row["probability"] and not row["verdict"]
        else:
            assert 0 <= float(row["probability"]) <= 1 and row["verdict"] in ("normal", "pneumonia", "uncertain")
    assert not list((tmp_path / "o").glob("*.part"))


REAL = Path(os.environ.get("HF_PNEUMO_TEST_DATA", "")) / "dicom"


@pytest.mark.skipif(not REAL.is_dir(), reason="HF_PNEUMO_TEST_DATA has no dicom")
def test_results_are_filed_in_the_studies_of_real_films(checkpoint, tmp_path):
    words = [
        "--checkpoint",
        checkpoint,
        "--images",
        REAL,
        "--output",
        tmp_path / "s.csv",
        "--dicom-out",
        tmp_path / "out",
    ]
    done = call("predict.py", *words)
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    written = sorted((tmp_path / "out").glob("*.dcm"))
    objects = {"judged": 2, "not judged": 1, "error": 0}  # heatmap and report, or the report alone
    assert len(rows) == 4 and len(written) == sum(objects[row["status"]] for row in rows) > 0, done.stderr
    studies = {dcmread(path, force=True).StudyInstanceUID for path in REAL.iterdir()}
    assert {dcmread(path).StudyInstanceUID for path in written} <= studies
    assert {dcmread(path).Modality for path in written} >= {"SR"}


def test_names_and_pictures_of_every_kind_are_rows(checkpoint, tmp_path, monkeypatch):
    """Two films of one name, one that is no UTF-8, one with a line end, a long one, and a white page."""
    folder, film = tmp_path / "in", (make_phantom(1, size=96).pixels * 255).astype(np.uint8)
    (folder / "P1").mkdir(parents=True)
    (folder / "P2").mkdir()
    odd = [b"P1/IM1.png", b"P2/IM1.png", b"Thorax_\xe4.png", b"two\nlines.png", b"x" * 244 + b".png", b"a-findings.png"]
    for name in (*odd, b"a.png", b"page.png"):
        picture = np.full_like(film, 255) if name == b"page.png" else film
        with open(os.fsencode(folder) + b"/" + name, "wb") as stream:
            Image.fromarray(picture).save(stream, "png")
    words = ["--checkpoint", checkpoint, "--images", folder]
    assert call_here(monkeypatch, "predict.py", *words, "--output", tmp_path / "s.csv") == 0
    rows = list(csv.DictReader((tmp_path / "s.csv").open(encoding="utf-8", newline="")))
    assert len(rows) == len(odd) + 2 and all("\n" not in row["file"] for row in rows)
    exact = [unquote_to_bytes(row["uri"].removeprefix("file://")) for row in rows if row["uri"]]
    assert sorted(os.path.basename(path) for path in exact) == [b"Thorax_\xe4.png", b"two\nlines.png"]
    assert [row["status"] for row in rows if "page" in row["file"]] == ["not judged"]
    assert not [row for row in rows if row["status"] == "not judged" and (row["probability"] or row["verdict"])]
    out = tmp_path / "maps"
    assert call_here(monkeypatch, "explain.py", *words, "--output", out, "--all-findings") == 0
    told = json.loads((out / "explanations.json").read_text(encoding="utf-8"))
    judged = [row for row in told if row["status"] == "judged"]
    assert len(told) == len(rows) and len(judged) == len(list(out.glob("*.npy"))) == 7
    assert [row["status"] for row in told if "verdict" not in row] == ["not judged"]


def test_explain_writes_maps_overlays_and_one_list(checkpoint, films, tmp_path):
    (films / "broken.png").unlink()
    out = tmp_path / "maps"
    done = call("explain.py", "--checkpoint", checkpoint, "--images", films, "--method", "layercam", "--output", out)
    assert done.returncode == 0, done.stderr
    rows = json.loads((out / "explanations.json").read_text())
    assert len(rows) == 3 and all(r["method"] == "layercam" and r["target"] == "PNEUMONIA" for r in rows)
    # Two films are called a.png: neither overwrites the other.
    assert len(list(out.glob("*.npy"))) == len(list(out.glob("*.png"))) == 3
    heat = np.load(out / "b.npy")
    assert heat.dtype == np.float32 and heat.shape == (96, 96) and heat.min() >= 0 and heat.max() <= 1
    for row in rows:
        assert all(len(box) == 5 for box in row["boxes"])


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["train.py", "--loss", "hinge"], 2, "cross-entropy, weighted, focal"),
        (["explain.py", "--checkpoint", "x", "--images", "y", "--output", "z", "--method", "magic"], 2, "gradcam"),
        (["evaluate.py", "--checkpoint", "nowhere", "--dataset", "phantom"], 1, "nowhere"),
        (["train.py", "--learning-rte", "1"], 2, "no option --learning-rte; did you mean --learning-rate?"),
        (["train.py", "--lerning_rate=1"], 2, "did you mean --learning-rate?"),
        (["train.py", "--epochs", "many"], 2, "--epochs"),
        (["train.py", "--model", "hf-hub:timm/resnet18"], 2, "give the architecture, 'resnet18'"),
        (["predict.py", "--images", "x"], 2, "--checkpoint"),
        (["evaluate.py", "--checkpoint", "timm/resnet18.a1_in1k", "--dataset", "phantom"], 1, "--model resnet18"),
    ],
)
def test_errors_are_one_sentence(words, status, says, monkeypatch, capfd):
    assert call_here(monkeypatch, *words) == status
    told = capfd.readouterr().err
    assert says in told and "Traceback" not in told
    assert len([line for line in told.splitlines() if not line.startswith(("INFO", "WARNING"))]) == 1


def test_audit_prints_a_table_and_json(tmp_path, monkeypatch, capfd):
    words = ["--dataset", "phantom:20", "--cache", tmp_path, "--output", tmp_path / "audit.json"]
    assert call_here(monkeypatch, "audit_data.py", *words) == 0
    printed = capfd.readouterr().out
    assert "| films | 12 | 4 | 4 |" in printed
    report = json.loads((tmp_path / "audit.json").read_text())
    assert json.loads(printed.splitlines()[-1]) == report
    assert report["straddling_patients"] == {"paper": {}, "strict": {}} and report["unreadable"] == []
