"""Class folders: every film has a row or a reason, whatever the folders are called; faults are said before any work."""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.data.audit import as_markdown, audit_splits
from hf_pneumo.data.film_cache import decode, refuse_contradictions
from hf_pneumo.data.labels import AETIOLOGY, PNEUMONIA
from hf_pneumo.data.sources import SourceError, load_xrays
from hf_pneumo.imaging.preprocess import Preprocess


def put(root: Path, *names: str) -> None:
    """Films that all differ, by their name and folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(zlib.crc32(os.fsencode(name)))
        Image.fromarray(generator.integers(0, 255, (16, 16), dtype=np.uint8)).save(path, "png")


def splits(root: Path, per_class: int = 2) -> None:
    put(root, *(f"{s}/{c}/{c}{i}-{s}.png" for s in ("train", "test") for c in ("NORMAL", "PNEUMONIA")
                for i in range(per_class)))  # fmt: skip


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_names_of_folders_in_any_case_and_films_without_ending(tmp_path, caplog):
    put(tmp_path, "Train/normal/1.2.3.78", "Train/Pneumonia/b.jfif", "VALIDATION/NORMAL/c", "test/pneumonia/d.jp2")
    dataset = load_xrays(str(tmp_path))
    assert dataset["split"] == ["train", "train", "val", "test"] and dataset["label"] == [0, 1, 0, 1]
    assert not warnings(caplog)


def test_nearly_right_names_are_taken_and_said(tmp_path, caplog):
    put(tmp_path, "train/NORMAL /a.png", "train/PNEUMONIA/b.png", "dev/NORMAL/c.png", "test/PNEUMONIA/d.png")
    assert load_xrays(str(tmp_path))["split"] == ["train", "train", "val", "test"]
    first, second = warnings(caplog)
    assert "the folder 'NORMAL '" in first and first.endswith("is taken for NORMAL")
    assert "the folder 'dev'" in second and second.endswith("is taken for val")


def test_folders_that_name_no_class_are_refused_or_mapped(tmp_path, caplog):
    splits(tmp_path)
    put(tmp_path, "train/COVID19/x.png", "test/COVID19/y.png")
    with pytest.raises(SourceError, match=r"2 films in folders that name no class .*test/COVID19 \(1\), train/COVID19"):
        load_xrays(str(tmp_path))
    mapped = load_xrays(str(tmp_path), classes={"normal": "NORMAL", "covid19": "PNEUMONIA"})
    assert len(mapped) == 6 and set(mapped["subgroup"]) == {"normal", "covid19"}
    assert (
        "left out 4 films in folders that `classes` does not name" in caplog.text and "train/PNEUMONIA" in caplog.text
    )
    with pytest.raises(ValueError, match="labels are NORMAL, PNEUMONIA"):
        load_xrays(str(tmp_path), classes={"COVID19": "COVID"})


def test_folders_that_name_no_split_are_refused_beside_those_that_do(tmp_path):
    splits(tmp_path)
    put(tmp_path, "holdout/NORMAL/x.png")
    with pytest.raises(SourceError, match=r"beside them folders that name none: holdout \(1 films\)"):
        load_xrays(str(tmp_path))


def test_without_splits_folders_above_classes_have_any_name(tmp_path):
    put(tmp_path, "Montgomery/NORMAL/a.png", "Shenzhen/PNEUMONIA/b.png")
    assert load_xrays(str(tmp_path))["split"] == ["", ""]


def test_films_below_a_class_folder_and_none_of_its_masks(tmp_path, caplog):
    put(tmp_path, "NORMAL/images/a.png", "NORMAL/masks/a.png", "PNEUMONIA/P7/study/b.png", "own.png")
    dataset = load_xrays(str(tmp_path))
    assert dataset["file_name"] == ["a.png", "b.png"] and dataset["patient"] == ["a", "P7"]
    loose, drawn = warnings(caplog)
    assert loose == "left out 1 films that lie in no class folder: own.png"
    assert drawn == "left out 1 films that lie in folders of masks or other drawings: NORMAL/masks/a.png"


def test_classes_within_each_other_are_refused_but_causes_are_not(tmp_path):
    put(tmp_path / "a", "PNEUMONIA/BACTERIA/b.png", "PNEUMONIA/virus/c.png", "NORMAL/d.png")
    assert load_xrays(str(tmp_path / "a"), labels=AETIOLOGY)["label"] == [0, 1, 2]
    put(tmp_path / "b", "NORMAL/PNEUMONIA/b.png", "NORMAL/c.png")
    with pytest.raises(SourceError, match="within that of another class, NORMAL/PNEUMONIA"):
        load_xrays(str(tmp_path / "b"))


def test_a_nested_copy_counts_once_and_is_said(tmp_path, caplog):
    splits(tmp_path / "set", 3)
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    shutil.copytree(tmp_path / "copy", tmp_path / "set/set")
    put(tmp_path / "set", "__MACOSX/set/train/NORMAL/._NORMAL0-train.png")
    dataset = load_xrays(str(tmp_path / "set"))
    assert len(dataset) == 12 and not any("set/set/" in image["path"] for image in dataset["image"])
    (told,) = warnings(caplog)
    assert told.startswith("left out 12 films that are there once more, byte for byte") and "set/test/NORMAL" in told


def test_a_copy_without_splits_counts_once_too(tmp_path):
    splits(tmp_path)
    for path in list(tmp_path.rglob("*.png")):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.parent.name)
    assert sorted(load_xrays(str(tmp_path))["split"]) == ["test"] * 4 + ["train"] * 4


def test_same_names_with_other_content_are_other_films(tmp_path):
    put(tmp_path, *(f"{s}/{c}/{i:03d}.png" for s in ("train", "test") for c in ("NORMAL", "PNEUMONIA")
                    for i in range(10)))  # fmt: skip
    dataset = load_xrays(str(tmp_path))
    assert len(set(dataset["patient"])) == len(set(dataset["file_name"])) == len(dataset) == 40


def test_one_film_under_two_classes_is_refused(tmp_path):
    splits(tmp_path)
    shutil.copy(tmp_path / "train/NORMAL/NORMAL0-train.png", tmp_path / "test/PNEUMONIA/other")
    with pytest.raises(SourceError, match="1 films under two.*test/PNEUMONIA/other = train/NORMAL/NORMAL0-train"):
        load_xrays(str(tmp_path))


def test_the_same_pixels_under_two_classes_are_audited_and_refused(tmp_path):
    splits(tmp_path / "set")
    with Image.open(tmp_path / "set/train/NORMAL/NORMAL0-train.png") as film:
        film.save(tmp_path / "set/train/PNEUMONIA/again.bmp")
    dataset = load_xrays(str(tmp_path / "set"))
    films = decode(dataset, Preprocess(size=(8, 8)), cache=tmp_path / "cache", progress=False)
    with pytest.raises(SourceError, match="1 pictures under two labels, .* NORMAL0-train.png = again.bmp; leave each"):
        refuse_contradictions(films)
    refuse_contradictions(films.select([0, 1]))
    report = audit_splits(films.table, {"train": np.arange(9)}, PNEUMONIA, films.digests)
    assert report["identical_across_classes"] == [["NORMAL0-train.png", "again.bmp"]]
    assert "Identical across classes: 1 (NORMAL0-train.png = again.bmp)" in as_markdown(report)


def test_linked_classes_are_followed_and_refused_where_they_contradict(tmp_path):
    put(tmp_path / "disk", "NORMAL/a.png", "PNEUMONIA/b.png")
    (tmp_path / "set").mkdir()
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "set/loop").symlink_to(tmp_path / "set")
    assert load_xrays(str(tmp_path / "set"))["label"] == [0, 1]
    (tmp_path / "set/train").mkdir()
    (tmp_path / "set/train/PNEUMONIA").symlink_to(tmp_path / "disk/NORMAL")
    with pytest.raises(SourceError, match="is a link to .*same films"):
        load_xrays(str(tmp_path / "set"))


def test_names_that_are_not_utf8_or_hold_a_line_end_are_rows(tmp_path):
    put(tmp_path / "set", "NORMAL/a.png", "PNEUMONIA/b\nc.png")
    odd = os.fsdecode(os.fsencode(tmp_path / "set/NORMAL") + b"/\xe4.png")
    put(tmp_path / "set", odd)
    dataset = load_xrays(str(tmp_path / "set"))
    assert sorted(dataset["file_name"]) == ["\\xe4.png", "a.png", "b\nc.png"]
    films = decode(dataset, Preprocess(size=(8, 8)), cache=tmp_path / "cache", progress=False)
    assert len(films) == 3 and not films.failures


def test_an_empty_tree_says_what_is_there(tmp_path):
    put(tmp_path, "healthy/a.png", "sick/b.png")
    (tmp_path / "films.tsv").write_text("image\tlabel\n")
    with pytest.raises(SourceError, match=r"expected NORMAL/PNEUMONIA .*healthy \(1 films\).*give it: films.tsv"):
        load_xrays(str(tmp_path))
