"""Elements read without trust."""

from __future__ import annotations

import pytest

pydicom = pytest.importorskip("pydicom")

from hf_pneumo.imaging.dicom_elements import integer, real, reals, values_of, word, words  # noqa: E402


@pytest.fixture
def dataset():
    made = pydicom.Dataset()
    made.WindowCenter, made.Rows, made.ViewPosition = ["40", "60"], 7, " pa "
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    return made


def test_one_value_and_several(dataset):
    assert values_of(dataset, "Rows") == [7] and values_of(dataset, "Columns") == []
    assert reals(dataset, "WindowCenter") == [40, 60] and real(dataset, "WindowCenter") == 40
    assert integer(dataset, "Rows") == 7 and integer(dataset, "Columns") is None


def test_words_are_in_capitals_without_blanks(dataset):
    assert word(dataset, "ViewPosition") == "PA" and words(dataset, "ImageType") == ["ORIGINAL", "PRIMARY"]
    assert word(dataset, "Modality") == ""


def test_what_is_no_number_counts_as_absent(dataset):
    dataset[0x00281050] = pydicom.DataElement(0x00281050, "DS", ["1"])
    dataset[0x00281050]._value = "wide"
    assert real(dataset, "WindowCenter") is None and reals(dataset, "WindowCenter") == []
