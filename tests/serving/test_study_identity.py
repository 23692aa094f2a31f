"""What a result may take over from its film's header."""

from __future__ import annotations

import pytest

pydicom = pytest.importorskip("pydicom")

from hf_pneumo.serving.study_identity import keep_valid  # noqa: E402


def test_names_and_uids_stay_and_private_elements_go():
    header = pydicom.Dataset()
    header.PatientName, header.PatientID, header.SOPClassUID = "Doe^Jane", "42", "1.2.840.10008.5.1.4.1.1.1.1"
    header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID = "1.2.3", "1.2.3.4", "1.2.3.4.5"
    header.InstitutionName = "Somewhere"
    header.Rows, header.Columns = 2, 2
    header.add_new(0x00110010, "LO", "PRIVATE")
    keep_valid(header)
    assert str(header.PatientName) == "Doe^Jane" and header.StudyInstanceUID == "1.2.3"
    assert 0x00110010 not in header and header.SpecificCharacterSet == "ISO_IR 192"
