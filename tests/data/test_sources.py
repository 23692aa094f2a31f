"""Every source gives the same columns; a bad file is listed and left out; a second run reads nothing again."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, load_dataset
from PIL import Image as PILImage

from hf_pneumo.data import film_cache as films_module
from hf_pneumo.data.film_cache import decode
from hf_pneumo.data.labels import AETIOLOGY, MULTILABEL, PNEUMONIA
from hf_pneumo.data.sources import SourceError, contract, load_xrays
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.imaging.reader import XrayReadError


@pytest.fixture
def tree(tmp_path):
    """A class-folder tree with splits: 2 films per class and split, one file broken, one that is no film."""
    for split in ("train", "val", "test"):
        for c, (name, films) in enumerate(
            (("NORMAL", ("IM-0001-0001", "IM-0002-0001")), ("PNEUMONIA", ("person1_bacteria_1", "person2_virus_2")))
        ):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for i, film in enumerate(films):
                pixels = np.full((20, 30), 40 * c + 10 * i, np.uint8)
                pixels[:10] = 200
                PILImage.fromarray(pixels).save(folder / f"{film}.png")
    (tmp_path / "set" / "train" / "NORMAL" / "IM-0003-0001.png").write_bytes(b"not an image")
    (tmp_path / "set" / "train" / "NORMAL" / "notes.txt").write_text("hello")
    return tmp_path / "set"


def test_folder_with_splits(tree):
    dataset = load_xrays(str(tree))
    assert dataset.features == contract(PNEUMONIA)
    assert len(dataset) == 13
    assert set(zip(dataset["split"], dataset["label"], strict=True)) == {
        (s, c) for s in ("train", "val", "test") for c in (0, 1)
    }
    assert {"bacteria", "virus", "normal"} == set(dataset["subgroup"])
    assert "PERSON1-BACTERIA" in dataset["patient"]


def test_folder_without_splits(tree):
    dataset = load_xrays(str(tree / "train"))
    assert set(dataset["split"]) == {""} and len(dataset) == 5


def test_aetiology_splits_the_pneumonia_folder(tree):
    dataset = load_xrays(str(tree), labels=AETIOLOGY)
    assert sorted(set(dataset["label"])) == [0, 1, 2]


def test_a_bad_film_is_listed_and_left_out(tree, tmp_path):
    films = decode(load_xrays(str(tree)), Preprocess(size=(8, 8)), cache=tmp_path / "cache", progress=False)
    assert films.gray.shape == (12, 8, 8) and films.gray.dtype == np.uint8
    assert len(films) == len(films.digests) == 12
    ((name, reason),) = films.failures
    assert name == "IM-0003-0001.png" and reason
    # The three splits hold the same pictures.
    assert len(set(films.digests)) == 4


def test_a_second_run_maps_the_first_ones_pixels(tree, tmp_path, monkeypatch):
    dataset = load_xrays(str(tree))
    first = decode(dataset, Preprocess(size=(8, 8)), cache=tmp_path / "cache", progress=False)

    def refuse(*_, **__):
        raise AssertionError("read again")

    monkeypatch.setattr(films_module, "read_xray", refuse)
    second = decode(dataset, Preprocess(size=(8, 8)), cache=tmp_path / "cache", progress=False)
    assert np.array_equal(first.gray, second.gray) and first.digests == second.digests
    with pytest.raises(AssertionError, match="read again"):
        decode(dataset, Preprocess(size=(9, 9)), cache=tmp_path / "cache", progress=False)


def test_changed_file_is_read_again(tree, tmp_path):
    decode(load_xrays(str(tree)), Preprocess(size=(8, 8)), cache=tmp_path / "cache", progress=False)
    target = tree / "test" / "NORMAL" / "IM-0001-0001.png"
    PILImage.fromarray(np.full((20, 30), 99, np.uint8)).save(target)
    films = decode(load_xrays(str(tree)), Preprocess(size=(8, 8)), cache=tmp_path / "cache", progress=False)
    assert (films.gray == 99).all(axis=(1, 2)).sum() == 1


def test_nothing_readable_is_an_error(tmp_path):
    folder = tmp_path / "x" / "NORMAL"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(XrayReadError, match="none of the 1 files"):
        decode(load_xrays(str(tmp_path / "x")), Preprocess(), cache=tmp_path / "cache", progress=False)


def test_phantoms_split_by_seed():
    dataset = load_xrays("phantom:20")
    assert dataset.features == contract(PNEUMONIA)
    assert [dataset["split"].count(s) for s in ("train", "val", "test")] == [12, 4, 4]
    assert sorted(set(dataset["label"])) == [0, 1]
    assert dataset["image"][3] == load_xrays("phantom:20")["image"][3]


@pytest.mark.parametrize(
    ("source", "labels", "says"),
    [
        ("nowhere", PNEUMONIA, "no folder or CSV file here"),
        ("phantom:3", PNEUMONIA, "phantom:10"),
        ("phantom:20", MULTILABEL, "table of labels"),
    ],
)
def test_wrong_sources_say_what_is_right(source, labels, says):
    with pytest.raises(SourceError, match=says):
        load_xrays(source, labels=labels)


def test_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(SourceError, match="NORMAL/PNEUMONIA"):
        load_xrays(str(tmp_path))


def test_hub_data_set_keeps_file_names_and_splits(tree, hub, monkeypatch):
    """The layout of hf-vision/chest-xray-pneumonia: parquet with image and class, one file per split."""
    monkeypatch.setattr(datasets.config, "USE_PARQUET_EXPORT", False)  # a look-up at another host
    names = sorted((tree / "test").rglob("*.png"))
    features = Features({"image": Image(), "label": ClassLabel(names=["NORMAL", "PNEUMONIA"])})
    rows = [{"image": str(p), "label": int(p.parent.name == "PNEUMONIA")} for p in names]
    repo, token = "owner/films", "hf_owner_write_token"
    for split in ("train", "validation", "test"):
        Dataset.from_list(rows, features=features).push_to_hub(repo, split=split, token=token)
    assert load_dataset(repo, split="test", token=token).num_rows == 4
    dataset = load_xrays(repo)
    assert dataset.features == contract(PNEUMONIA)
    assert set(dataset["split"]) == {"train", "val", "test"}
    # The three splits hold the same pictures, so that a name says which one is meant.
    assert "test/PNEUMONIA/person1_bacteria_1.png" in dataset["file_name"] and len(set(dataset["file_name"])) == 12
    assert len(set(dataset["patient"])) == 4
