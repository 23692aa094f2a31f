"""The faithfulness command on phantoms, and the sanity check of every offered method on the shipped checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_pneumo.cli import faithfulness as script
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.explanations.evaluate_faithfulness import FIGURES, FaithfulnessReport, evaluate_randomisation
from hf_pneumo.evaluation.explanations.method_ranking import read_evidence
from hf_pneumo.explain import methods
from hf_pneumo.files import read_json
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import load, save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.reporting.tables import faithfulness_table

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "space" / "checkpoints").glob("*/model.safetensors"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A checkpoint that calls every film positive."""
    torch.manual_seed(0)
    point = OperatingPoint(thresholds=(0.0,))
    config = CheckpointConfig("test_resnet", PNEUMONIA, Preprocess(size=(48, 48)), operating_point=point)
    return save(tmp_path / "tiny", build("test_resnet", 2), config)


def arguments(folder: Path, **changes: object) -> script.Arguments:
    chosen = {"method": "gradcam,eigencam", "films": 2, "randomisation_films": 1, "levels": 2} | changes
    return script.Arguments(str(folder), "phantom:6", name="phantoms", **chosen)


def test_the_command_writes_figures_with_intervals_and_the_sanity_check(folder):
    script.run(arguments(folder))
    report = read_json(folder / "results" / "faithfulness-phantoms.json")
    assert report["films"] == 2
    for figures in report["faithfulness"].values():
        assert set(figures) == set(FIGURES)
        assert all(row["low"] <= row["value"] <= row["high"] for row in figures.values())
    levels = report["randomisation"]["eigencam"]["levels"]
    assert report["randomisation"]["eigencam"]["films"] == 1
    assert levels[0]["down_to"] == "fc" and len(levels) == 2
    assert levels[0]["rank_correlation"] == pytest.approx(1)  # it looks at no class, and so never at the head
    assert faithfulness_table(FaithfulnessReport.from_json(report)).count("| eigencam |") == 2
    script.run(arguments(folder, films=0, method="smoothgrad", randomisation_films=2))
    again = read_json(folder / "results" / "faithfulness-phantoms.json")
    assert {name: row["films"] for name, row in again["randomisation"].items()} == {"eigencam": 1, "smoothgrad": 2}
    assert again["faithfulness"] == report["faithfulness"]


def test_the_record_of_other_films_is_not_replaced(folder):
    path = folder / "results" / "faithfulness-phantoms.json"
    script.run(arguments(folder, randomisation_films=0))
    before = path.read_bytes()
    films = np.stack([np.full((48, 48), v, np.uint8) for v in (10, 20)])
    other = to_tensor(load(folder).config.preprocess, films)
    stored = FaithfulnessReport.read(path)
    with pytest.raises(ValueError, match="is of other films"):
        script.film_digests(path, stored, other)
    with pytest.raises(ValueError, match="does not say of which"):
        script.film_digests(path, replace(stored, digests=None), other)  # as before they were recorded
    assert path.read_bytes() == before


def test_phantoms_are_not_those_of_a_training_set():
    learnt = {p.pixels.tobytes() for p in phantoms(6)}
    assert not learnt & {pixels.tobytes() for pixels in script._pixels("phantom:6")}


def test_a_killed_sanity_check_keeps_the_methods_that_it_measured(folder, monkeypatch):
    def killed(checkpoint, images, names, levels):
        yield from evaluate_randomisation(checkpoint, images, names[:1], levels=levels)
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "evaluate_randomisation", killed)
    with pytest.raises(KeyboardInterrupt):
        script.run(arguments(folder, films=0, method="eigencam,smoothgrad"))
    assert set(read_json(folder / "results" / "faithfulness-phantoms.json")["randomisation"]) == {"eigencam"}


def test_bad_usage_is_named():
    with pytest.raises(ValueError, match="`method` is 'magic'; choose from gradcam"):
        script.Arguments("c", "i", method="gradcam,magic")
    with pytest.raises(ValueError, match="are both 0"):
        script.Arguments("c", "i", films=0, randomisation_films=0)


@pytest.mark.slow
@pytest.mark.parametrize("shipped", [path.parent for path in SHIPPED], ids=lambda path: path.name)
def test_every_offered_method_passes_the_sanity_check(shipped):
    checkpoint = load(shipped)
    films = np.stack([checkpoint.config.preprocess.to_gray(p.pixels) for p in phantoms(8, seed=5) if p.label])
    offered = [name for name in methods() if name not in read_evidence(shipped).failing]
    measured = evaluate_randomisation(checkpoint, to_tensor(checkpoint.config.preprocess, films), offered, levels=2)
    found = {name: row for name, row in measured if row}
    failing = {name: row.levels[-1] for name, row in found.items() if not row.passes}
    assert len(found) > 10 and not failing
