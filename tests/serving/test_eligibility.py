"""Which objects are for the judge, by their header."""

from __future__ import annotations

import pytest

pydicom = pytest.importorskip("pydicom")

from hf_pneumo.serving.eligibility import PassedOver, passed_over  # noqa: E402


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({}, None),
        ({"BodyPartExamined": "CHEST", "ViewPosition": "PA"}, None),
        ({"Modality": "CT"}, PassedOver.MODALITY),
        ({"Rows": None}, PassedOver.NO_IMAGE),
        ({"BodyPartExamined": "HAND"}, PassedOver.BODY_PART),
        ({"ViewPosition": "LL"}, PassedOver.LATERAL),
        ({"PresentationIntentType": "FOR PROCESSING"}, PassedOver.RAW),
    ],
)
def test_what_the_header_says_decides(elements, reason):
    header = pydicom.Dataset()
    for name, value in {"Modality": "DX", "Rows": 10, **elements}.items():
        if value is not None:
            setattr(header, name, value)
    assert passed_over(header) is reason
