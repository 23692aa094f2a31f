"""UIDs that are the same for the same result."""

from __future__ import annotations

import pytest

pydicom = pytest.importorskip("pydicom")

from hf_pneumo.serving.result_uids import ResultUids  # noqa: E402


def test_the_same_result_has_the_same_uids_and_another_has_others():
    header = pydicom.Dataset()
    header.SOPInstanceUID = "1.2.3"
    first, again, other = (ResultUids.of(header, said) for said in ("a", "a", "b"))
    assert first("report") == again("report") != first("heatmap") and first("report") != other("report")
    assert first("report").is_valid
