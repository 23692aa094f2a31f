"""Patients from paths: published namings, numbers that are a set's, and names that only a folder makes unique."""

from __future__ import annotations

import pytest

from hf_pneumo.data.patients import film_stem, paper_patient, patients_of


@pytest.mark.parametrize(
    ("path", "patient"),
    [
        ("CheXpert-v1.0/train/patient00042/study1/view1_frontal.jpg", "patient00042"),
        ("files/p10/p10000032/s50414267/02aa804e.jpg", "p10000032"),
        ("00000013_005.png", "00000013"),
        ("MCUCXR_0001_0.png", "MCUCXR_0001"),
        ("CXR12_1_IM-0001-3001.png", "CXR12"),
        ("set_a\\P1.png", "P1"),
        ("C:\\films\\set_a\\P1_2.png", "P1"),
        ("person7_virus_3.jpeg", "PERSON7-VIRUS"),
        ("NORMAL2-IM-0123-0001.jpeg", "NORMAL2-IM-0123"),
        ("1.2.840.113619.2.55.78", "1.2.840.113619.2.55.78"),
        ("left.png", "left"),
        ("Case-7/view.png", "Case-7"),
    ],
)
def test_one_path(path, patient):
    assert patients_of([path]) == [patient]


def test_identifiers_are_text():
    names = ["007_1.png", "7_1.png", "12e3.png", "1200e1.png", "2.10.png", "2.1.png"]
    assert patients_of(names) == ["007", "7", "12e3", "1200e1", "2.10", "2.1"]


def test_a_hospital_is_no_patient():
    names = [f"{site}_{i:04d}_{i % 2}.png" for site in ("MCUCXR", "CHNCXR") for i in range(40)]
    assert patients_of(names) == [name[:-6] for name in names]


def test_a_number_that_many_films_share_is_a_sets():
    names = [f"{name}_{i:03d}_{view}.png" for name in ("COVID19", "CXR8") for i in range(30) for view in ("ap", "pa")]
    assert patients_of(names) == [name.rpartition("_")[0] for name in names]
    assert len(set(patients_of([f"p{i // 10}_{i % 10}.png" for i in range(100)]))) == 10


def test_many_rows_of_one_film_are_one_film():
    assert set(patients_of(["00000013_005.png"] * 100)) == {"00000013"}


def test_repeated_names_count_within_their_folder():
    names = [f"{part}/{kind}/{i:03d}.png" for part in "ab" for kind in "cd" for i in range(3)]
    assert patients_of(names) == [name.removesuffix(".png") for name in names]
    assert patients_of(["a\\1_1.png", "a\\1_2.png", "b\\1_1.png"]) == ["a/1", "a/1", "b/1"]
    assert patients_of(["P1/IM0001", "P1/IM0002", "P2/IM0001"]) == ["P1", "P1", "P2"]
    assert patients_of(["train/person1_virus_6.jpeg", "x/person1_virus_6.jpeg"]) == ["PERSON1-VIRUS"] * 2


def test_the_papers_key_of_other_names():
    assert paper_patient("1.2.840.78") == "1.2.840.78" and paper_patient("a-b-c-d.png") == "A-B-C"
    assert paper_patient("train/NORMAL/000.png") != paper_patient("test/NORMAL/000.png")


def test_only_a_films_ending_is_none_of_its_name():
    assert [film_stem(name) for name in ("a/b.JPEG", "1.2.840.78", "x.dcm", "2.10")] == ["b", "1.2.840.78", "x", "2.10"]
