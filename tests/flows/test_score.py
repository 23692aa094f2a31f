"""`hf-pneumo score` on a folder of phantoms, pictures that are none, and files that are no films."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from hf_pneumo.cli.score import Arguments, films_of, run
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.serving.predictor import Predictor
from hf_pneumo.serving.shards import read_shard

PIL = pytest.importorskip("PIL.Image")


def test_an_archive_is_scored_as_the_predictor_scores_its_films(tmp_path, capsys):
    torch.manual_seed(0)
    config = CheckpointConfig("test_resnet", PNEUMONIA, Preprocess((64, 64)))
    folder = save(tmp_path / "model", build("test_resnet", 2), config)
    films = tmp_path / "films"
    films.mkdir()
    for seed in range(3):
        PIL.fromarray(make_phantom(seed, size=160, opacities=1).film.gray8).save(films / f"{seed}.png")
    shutil.copy(films / "0.png", films / "copy.png")
    PIL.new("L", (160, 160), 255).save(films / "white.png")
    (films / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (films / "notes.txt").write_text("not a film")
    arguments = Arguments(str(folder), str(films), str(tmp_path / "out"), workers=1, boxes=True)
    assert run(arguments) is False  # one film cannot be read
    said = capsys.readouterr().out
    assert "6 films" in said and "4 judged" in said and "notes.txt" in said
    rows = {Path(row.path).name: row for file in (tmp_path / "out").glob("shard-*") for row in read_shard(file)}
    assert set(rows) == {"0.png", "1.png", "2.png", "copy.png", "white.png", "broken.png"}
    assert rows["white.png"].status == "not judged" and not rows["white.png"].probabilities
    assert rows["broken.png"].status == "error" and rows["broken.png"].reason
    finding = Predictor(folder).predict(films / "1.png")
    assert rows["1.png"].probabilities == pytest.approx(tuple(finding.probabilities.values()), abs=1e-5)
    assert len(rows["1.png"].boxes) == len(finding.boxes)
    assert rows["copy.png"].probabilities == rows["0.png"].probabilities


def test_a_list_of_paths_is_a_source(tmp_path):
    (tmp_path / "list.txt").write_text("a.png\n\nb.dcm\na.png\n")
    assert films_of(str(tmp_path / "list.txt")) == ([Path("a.png"), Path("b.dcm")], ())
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(ValueError, match="lists no path"):
        films_of(str(tmp_path / "none.txt"))


def test_a_number_below_one_is_refused():
    with pytest.raises(ValueError, match="`workers` is 0"):
        Arguments("c", "s", "o", workers=0)
