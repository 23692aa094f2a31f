"""A published collection comes back through load_dataset, with patients, splits and duplicates, ready to train on."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import load_dataset
from hub_server import HubServer
from huggingface_hub import DatasetCard, HfApi
from PIL import Image

from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA
from hf_pneumo.data.sources import load_xrays
from hf_pneumo.hub.dataset import OWNED, collect, stage_dataset
from hf_pneumo.hub.upload import Destination, compare, push

OWNER = HfApi(token="hf_owner_write_token")
REPO = "owner/films"
TO = Destination(REPO, kind="dataset", token=OWNER.token)
SIDES = {"train", "val", "test"}


@pytest.fixture(autouse=True)
def no_parquet_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "USE_PARQUET_EXPORT", False)  # a look-up at another host


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up films in the Kaggle layout with Kermany's file names; two have the same pixels."""
    root, generator = tmp_path_factory.mktemp("kaggle"), np.random.default_rng(0)
    counts = {"train": 24, "val": 1, "test": 6}
    for split, n in counts.items():
        offset = {"train": 0, "val": 100, "test": 200}[split]
        for i in range(n):
            names = {"NORMAL": f"IM-{offset + i:04d}-0001.jpeg", "PNEUMONIA": f"person{offset + i}_virus_{i}.jpeg"}
            for label, name in names.items():
                (root / split / label).mkdir(parents=True, exist_ok=True)
                film = Image.fromarray(generator.integers(0, 256, (24, 20), dtype=np.uint8))
                film.save(root / split / label / name, quality=90)
    twin = root / "train/NORMAL/IM-0003-0002.jpeg"
    twin.write_bytes((root / "train/NORMAL/IM-0004-0001.jpeg").read_bytes())
    return root


@pytest.fixture(scope="module")
def collection(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    return collect(str(folder), PNEUMONIA, cache=str(tmp_path_factory.mktemp("cache")))


def publish(collection, staged: Path, **how: object) -> str:
    stage_dataset(collection, staged, repo=REPO, source="kaggle", **how)
    return push(staged, TO, message="Publish", owned=OWNED).commit


def test_it_comes_back_with_films_as_a_source(collection, folder: Path, hub: HubServer, tmp_path: Path) -> None:
    publish(collection, tmp_path / "staged", with_images=True)
    back = load_dataset(REPO)
    assert {name: len(part) for name, part in back.items()} == {"train": 49, "validation": 2, "test": 12}
    assert back["test"].features["label"].names == ["NORMAL", "PNEUMONIA"]
    source = load_xrays(REPO)
    assert set(source.column_names) == set(load_xrays(str(folder)).column_names)
    key = ("file_name", "label", "patient", "subgroup", "split")
    expected = {tuple(row[name] for name in key) for row in load_xrays(str(folder))}
    assert {tuple(row[name] for name in key) for row in source} == expected
    row = next(row for row in source if row["file_name"] == "person7_virus_7.jpeg")
    assert row["image"]["bytes"] == (folder / "train/PNEUMONIA/person7_virus_7.jpeg").read_bytes()


def test_columns_of_the_audit(collection, hub: HubServer, tmp_path: Path) -> None:
    publish(collection, tmp_path / "staged")
    rows = [row for part in load_dataset(REPO).values() for row in part]
    assert "image" not in rows[0] and len(rows) == 63
    twins = {row["file_name"]: row for row in rows if row["duplicate_group"] is not None}
    assert set(twins) == {"IM-0003-0002.jpeg", "IM-0004-0001.jpeg"}
    assert len({row["strict"] for row in twins.values()}) == 1  # pixel-identical films stand on one side
    for protocol in ("official", "paper", "strict"):
        assert {row[protocol] for row in rows} == SIDES
        of = {row["paper_patient" if protocol == "paper" else "patient"]: row[protocol] for row in rows}
        assert all(of[row["paper_patient" if protocol == "paper" else "patient"]] == row[protocol] for row in rows)
    assert {row["official"] for row in rows if row["split"] == "test"} == {"test"}


def test_the_card(collection, hub: HubServer, tmp_path: Path) -> None:
    publish(collection, tmp_path / "staged")
    card = DatasetCard.load(OWNER.hf_hub_download(REPO, "README.md", repo_type="dataset"))
    assert (card.data.license, card.data.size_categories) == ("cc-by-4.0", ["n<1K"])
    assert card.data.source_datasets == ["hf-vision/chest-xray-pneumonia"]
    assert "Identical groups: 1" in card.text and "63 chest X-rays" in card.text and "{{" not in card.text
    assert "arxiv:2511.00456" in OWNER.dataset_info(REPO).tags


def test_the_same_collection_makes_the_same_files(collection, hub: HubServer, tmp_path: Path) -> None:
    commit = publish(collection, tmp_path / "1", with_images=True)
    stage_dataset(collection, tmp_path / "2", repo=REPO, source="kaggle", with_images=True)
    assert not compare(tmp_path / "2", TO, owned=OWNED)
    assert publish(collection, tmp_path / "3", with_images=True) == commit


def test_without_films_what_was_there_goes(collection, hub: HubServer, tmp_path: Path) -> None:
    publish(collection, tmp_path / "1", with_images=True)
    hub.store.write("datasets", REPO, "data/train-00007.parquet", b"PAR1")
    publish(collection, tmp_path / "2")
    assert "data/train-00007.parquet" not in OWNER.list_repo_files(REPO, repo_type="dataset")


def test_phantoms_and_what_is_refused(tmp_path: Path) -> None:
    phantoms = collect("phantom:12", PNEUMONIA, cache=str(tmp_path / "cache"))
    stage_dataset(phantoms, tmp_path / "ok", repo=REPO, source="phantom:12")
    assert "license: apache-2.0" in (tmp_path / "ok/README.md").read_text()
    with pytest.raises(ValueError, match="`output` .* is not empty"):
        stage_dataset(phantoms, tmp_path / "ok", repo=REPO, source="phantom:12")
    with pytest.raises(ValueError, match="`task` 'multilabel' has several labels a film"):
        collect("phantom:12", MULTILABEL)
    unknown = collect_unknown(tmp_path)
    with pytest.raises(ValueError, match="`license` of 'mine' is not known; give the one"):
        stage_dataset(unknown, tmp_path / "no", repo=REPO, source="mine")
    assert "official" in unknown.refused and set(unknown.parts) == {"paper", "strict"}


def collect_unknown(tmp_path: Path):
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for i in range(10):
            film = Image.fromarray(np.full((20, 20), 20 * i + (label == "NORMAL"), np.uint8))
            film.save(tmp_path / "mine" / label / f"{label.lower()}-{i}-a.png")
    return collect(str(tmp_path / "mine"), PNEUMONIA, cache=str(tmp_path / "cache"))
