"""Which films are measured, and where the files go."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.classification.evaluate import EvaluationFiles, open_subset
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.config import CheckpointConfig

CHECKPOINT = SimpleNamespace(config=CheckpointConfig("x", PNEUMONIA, Preprocess(size=(16, 16))))


def test_files_of_one_evaluation_and_of_the_only_one():
    of = EvaluationFiles.of(Path("c"), "paper-test")
    assert (of.results, of.figures) == (Path("c/results/paper-test.json"), Path("c/figures/paper-test"))
    assert EvaluationFiles.alone_in(Path("c")).predictions == Path("c/predictions.parquet")


def test_films_of_a_split_and_no_others(tmp_path):
    films = open_subset("phantom:20", "official", "test", CHECKPOINT, cache=str(tmp_path), progress=False)
    assert set(films.table["split"]) == {"test"} and films.table["identical_to"][:] == [None] * len(films)
    with pytest.raises(ValueError, match="'tests'; choose one of train, val, test"):
        open_subset("phantom:20", "official", "tests", CHECKPOINT)
