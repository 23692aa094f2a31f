"""What every collection looks like: columns, paths and names."""

from __future__ import annotations

import os
from pathlib import Path

from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA
from hf_pneumo.data.schema import SPLIT_ALIASES, SPLITS, contract, film_names, film_path, stored_path


def test_the_label_is_an_index_or_a_list():
    assert contract(PNEUMONIA)["label"].dtype == "int64" and contract(MULTILABEL)["label"].feature.dtype == "float32"
    assert list(contract(PNEUMONIA)) == list(contract(MULTILABEL))


def test_a_path_comes_back_as_it_was_whatever_its_bytes(tmp_path):
    for name in ("film.png", "Größe 1.png", os.fsdecode(b"f\xfflm.png")):
        assert film_path(stored_path(tmp_path / name)) == str(tmp_path / name)
    assert stored_path(Path("film.png")) == "film.png"


def test_films_are_called_by_their_paths_where_others_share_their_name():
    assert film_names(["a/1.png", "b/1.png", "b/2.png"]) == ["a/1.png", "b/1.png", "2.png"]
    assert film_names(["a/1.png", "a/1.png"]) == ["1.png", "1.png"]


def test_every_alias_means_a_split():
    assert set(SPLIT_ALIASES.values()) == set(SPLITS)
