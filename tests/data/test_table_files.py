"""Which files of a folder make its table."""

from __future__ import annotations

import pytest

from hf_pneumo.data.table_files import OWN_SPLIT, is_table, read_films_table
from hf_pneumo.data.table_reader import TableError

CHEXPERT = "Path,Frontal/Lateral,Pneumonia\n{}/patient1/view1_frontal.jpg,Frontal,1\n"


def test_a_file_is_its_own_table_and_films_lie_beside_it(tmp_path):
    (tmp_path / "films.csv").write_text("image,class\na.png,NORMAL\n")
    table, root = read_films_table(tmp_path / "films.csv")
    assert root == tmp_path and table["image"].tolist() == ["a.png"] and is_table(tmp_path / "films.csv")


def test_several_tables_are_one_with_their_split_and_the_only_other_one_is_the_test(tmp_path):
    for name in ("train", "valid"):
        (tmp_path / f"{name}.csv").write_text(CHEXPERT.format(name))
    table, root = read_films_table(tmp_path)
    assert is_table(tmp_path) and root == tmp_path and table[OWN_SPLIT].tolist() == ["train", "test"]


def test_a_folder_without_one_is_none(tmp_path):
    (tmp_path / "notes.csv").write_text("a,b\n")
    assert not is_table(tmp_path)


def test_mimics_labels_without_its_metadata_are_refused(tmp_path):
    (tmp_path / "mimic-cxr-2.0.0-chexpert.csv").write_text("subject_id,study_id,Pneumonia\n1,2,1.0\n")
    with pytest.raises(TableError, match="needs the metadata table"):
        read_films_table(tmp_path)
