"""Where figures may be written."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from hf_pneumo.evaluation.destination import check_films, check_names, own_folder

ABOUT = {"dataset": "films", "protocol": "paper", "subset": "test"}


def test_a_folder_of_ones_own_is_written_into_and_one_of_the_hub_is_not(tmp_path):
    assert own_folder(SimpleNamespace(path=tmp_path, revision=None, name="c")) == tmp_path
    with pytest.raises(ValueError, match="lies in the Hub's cache"):
        own_folder(SimpleNamespace(path=tmp_path, revision="abc", name="c"))


def test_results_of_other_films_are_not_replaced(tmp_path):
    path = tmp_path / "results.json"
    check_names(path, ABOUT)
    path.write_text(json.dumps(ABOUT))
    check_names(path, ABOUT)
    with pytest.raises(ValueError, match="holds the results of protocol 'paper', not 'strict'"):
        check_names(path, {**ABOUT, "protocol": "strict"})


def test_predictions_of_other_films_are_not_replaced(tmp_path):
    path = tmp_path / "p.parquet"
    check_films(path, ["0" * 64])
    pd.DataFrame({"digest": ["0" * 16]}).to_parquet(path)
    check_films(path, ["0" * 64])
    with pytest.raises(ValueError, match="holds predictions of other films"):
        check_films(path, ["1" * 64])
