"""What a header says of the film beside its pixels."""

from __future__ import annotations

import pytest

pydicom = pytest.importorskip("pydicom")

from hf_pneumo.imaging.dicom_projection import age, header_notes, pixel_ratio, projection, view  # noqa: E402


def header(**elements):
    made = pydicom.Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(("position", "expected"), [("PA", "PA"), ("LLAT", "LL"), ("", None), ("ODD", None)])
def test_views_by_their_names(position, expected):
    assert view(header(ViewPosition=position)) == expected


def test_an_orientation_that_only_laterals_have_is_one():
    assert view(header(PatientOrientation=["P", "F"])) == "LATERAL"


@pytest.mark.parametrize(
    ("orientation", "mirrored", "turns"),
    [
        (["L", "F"], False, 0),
        (["R", "F"], True, 0),
        (["R", "H"], False, 2),
        (["F", "R"], False, 1),
        (["X", "F"], False, 0),
    ],
)
def test_how_a_frontal_film_hangs(orientation, mirrored, turns):
    notes: list[str] = []
    said = projection(header(PatientOrientation=orientation), notes)
    assert (said.mirrored, said.quarter_turns) == (mirrored, turns) and bool(notes) == (mirrored or bool(turns))


@pytest.mark.parametrize(("text", "years"), [("045Y", 45), ("018M", 1.5), ("old", None)])
def test_ages(text, years):
    assert age(header(PatientAge=text)) == (None if years is None else pytest.approx(years))


def test_pixels_that_are_not_square():
    assert pixel_ratio(header(PixelSpacing=["0.2", "0.1"]), []) == 2
    notes: list[str] = []
    assert pixel_ratio(header(PixelSpacing=["9", "0.1"], PixelAspectRatio=["2", "1"]), notes) == 2 and len(notes) == 1


def test_a_header_of_another_examination_is_noted():
    assert header_notes(header(Modality="DX", BodyPartExamined="CHEST")) == []
    assert (
        len(header_notes(header(Modality="CT", BodyPartExamined="HAND", PresentationIntentType="FOR PROCESSING"))) == 3
    )
