"""Split protocols on names and on the real collection: known counts, no patient and no identical film on two sides."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from hf_pneumo.data.audit import as_markdown, audit_splits
from hf_pneumo.data.film_cache import Films, decode
from hf_pneumo.data.labels import AETIOLOGY, PNEUMONIA
from hf_pneumo.data.patients import aetiology, paper_patient, strict_patient
from hf_pneumo.data.sources import SourceError, contract, load_xrays
from hf_pneumo.data.splits import PROTOCOLS, merged_patients, split
from hf_pneumo.imaging.preprocess import Preprocess

REAL = Path(os.environ.get("HF_PNEUMO_TEST_DATA", "")) / "kermany224"
needs_films = pytest.mark.skipif(not REAL.is_dir(), reason="HF_PNEUMO_TEST_DATA has no kermany224")


@pytest.mark.parametrize(
    ("name", "paper", "strict", "kind"),
    [
        ("person7_bacteria_28.jpeg", "PERSON7", "PERSON7-BACTERIA", "bacteria"),
        ("person7_virus_9.jpeg", "PERSON7", "PERSON7-VIRUS", "virus"),
        ("IM-0115-0001.jpeg", "IM-0115-0001", "IM-0115", "normal"),
        ("IM-0429-0001-0002.jpeg", "IM-0429-0001", "IM-0429", "normal"),
        ("NORMAL2-IM-0587-0001-0002.jpeg", "NORMAL2-IM-0587", "NORMAL2-IM-0587", "normal"),
        ("some/folder/IM-0115-0001.jpeg", "IM-0115-0001", "IM-0115", "normal"),
        ("other.png", "OTHER", None, None),
    ],
)
def test_patient_keys(name, paper, strict, kind):
    assert (paper_patient(name), strict_patient(name), aetiology(name)) == (paper, strict, kind)


def table(n_patients: int = 60, films_each: int = 3, splits: tuple[str, ...] = ("train", "test")) -> Dataset:
    rows = [
        {
            "image": {"path": f"{p}-{f}.png", "bytes": None},
            "label": p % 2,
            "file_name": f"p{p}-{f}-x.png",
            "patient": f"P{p}",
            "subgroup": ("clear", "opacity")[p % 2],
            "view": None,
            "age": None,
            "sex": None,
            "split": splits[p % len(splits)],
        }
        for p in range(n_patients)
        for f in range(films_each)
    ]
    return Dataset.from_list(rows, features=contract(PNEUMONIA))


def sides(values, parts) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, rows in parts.items():
        for row in rows:
            found.setdefault(values[row], set()).add(name)
    return {k: v for k, v in found.items() if len(v) > 1}


def test_strict_never_divides_a_patient_nor_identical_films():
    films = table()
    digests = [str(i) for i in range(len(films))]
    digests[0] = digests[30] = "same"  # films of patients 0 and 10
    parts = split(films, "strict", PNEUMONIA, digests)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(films)))
    assert not sides(films["patient"], parts)
    assert not sides(digests, parts)
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 126, "val": 30, "test": 24}


def test_merging_follows_chains_of_identical_films():
    merged = merged_patients(["c", "b", "b", "a", "d"], ["1", "1", "2", "2", "3"])
    assert merged == ["a", "a", "a", "a", "d"]


def test_official_keeps_the_test_and_carves_val_by_patient():
    films = table(splits=("train", "train", "test"))
    digests = [str(i) for i in range(len(films))]
    parts = split(films, "official", PNEUMONIA, digests)
    assert {films["split"][i] for i in parts["test"]} == {"test"}
    assert len(parts["train"]) + len(parts["val"]) + len(parts["test"]) == len(films)
    assert not sides(films["patient"], parts)


def test_official_drops_a_training_film_that_is_also_in_test():
    films = table(splits=("train", "test"))
    digests = [str(i) for i in range(len(films))]
    trained, tested = films["split"].index("train"), films["split"].index("test")
    digests[trained] = digests[tested]
    parts = split(films, "official", PNEUMONIA, digests)
    assert trained not in np.concatenate([parts["train"], parts["val"]])
    assert tested in parts["test"]


def test_official_uses_a_val_that_is_large_enough():
    films = table(splits=("train", "val", "test"))
    parts = split(films, "official", PNEUMONIA, [str(i) for i in range(len(films))])
    assert {films["split"][i] for i in parts["val"]} == {"val"}


def test_wrong_protocols_name_the_valid_ones():
    with pytest.raises(ValueError, match="official, paper, strict"):
        split(table(), "kfold", PNEUMONIA, [str(i) for i in range(180)])
    with pytest.raises(SourceError, match="strict"):
        split(table(splits=("train",)), "official", PNEUMONIA, [str(i) for i in range(180)])


@pytest.fixture(scope="module")
def kermany(tmp_path_factory) -> Films:
    return decode(
        load_xrays(str(REAL)), Preprocess(size=(16, 16)), cache=tmp_path_factory.mktemp("films"), progress=False
    )


@needs_films
def test_counts_of_the_real_collection(kermany):
    table_, digests = kermany.table, kermany.digests
    assert len(table_) == 5856 and not kermany.failures
    own = np.array(table_["split"])
    label = np.array(table_["label"])
    assert [[int(((own == s) & (label == c)).sum()) for c in (0, 1)] for s in ("train", "val", "test")] == [
        [1341, 3875],
        [8, 8],
        [234, 390],
    ]
    parts = split(table_, "paper", PNEUMONIA, digests)
    assert {s: np.bincount(label[rows]).tolist() for s, rows in parts.items()} == {
        "train": [1114, 2951],
        "val": [232, 653],
        "test": [237, 669],
    }
    official = split(table_, "official", PNEUMONIA, digests)
    assert np.bincount(label[official["test"]]).tolist() == [234, 390]
    assert len(official["train"]) + len(official["val"]) == 5216 + 16
    assert 0.12 < len(official["val"]) / 5232 < 0.18
    assert {s: len(rows) for s, rows in split(table_, "strict", PNEUMONIA, digests).items()} == {
        "train": 4128,
        "val": 851,
        "test": 877,
    }


@needs_films
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_patient_on_two_sides_of_the_real_collection(kermany, protocol):
    parts = split(kermany.table, protocol, PNEUMONIA, kermany.digests)
    report = audit_splits(kermany.table, parts, PNEUMONIA, kermany.digests)
    assert not report["straddling_patients"]["paper" if protocol == "paper" else "strict"]
    assert len(report["identical_groups"]) == 30
    assert len(report["identical_across_patients"]) == 1
    # The paper's own protocol has one pair of identical films on two sides; ours have none.
    assert len(report["identical_across_parts"]) == (1 if protocol == "paper" else 0)
    assert "NORMAL" in as_markdown(report)


@needs_films
def test_aetiology_is_read_from_the_names():
    dataset = load_xrays(str(REAL), labels=AETIOLOGY)
    assert np.bincount(dataset["label"]).tolist() == [1583, 2780, 1493]


def test_how_a_table_writes_patients_changes_no_split():
    written = [f"{i:08d}" for i in range(1, 40)]
    assert merged_patients(written, written) == [str(i) for i in range(1, 40)]
    assert merged_patients(["0", "a007", "007"], list("xyz")) == ["0", "a007", "7"]
