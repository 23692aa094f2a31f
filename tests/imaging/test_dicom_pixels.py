"""What is stored: size and depth, mended where the header contradicts the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.imaging.dicom_pixels import stored_values
from hf_pneumo.imaging.xray import Limits, XrayReadError

VALUES = np.arange(150 * 140, dtype=np.uint16).reshape(150, 140) % 4096


def test_the_values_come_back(dicom):
    from io import BytesIO

    import pydicom

    dataset = pydicom.dcmread(BytesIO(dicom(VALUES, bits=12)), force=True)
    np.testing.assert_array_equal(np.asarray(stored_values(dataset, Limits()).values).reshape(VALUES.shape), VALUES)


def test_too_large_a_film_is_refused_before_it_is_decoded(dicom):
    from io import BytesIO

    import pydicom

    dataset = pydicom.dcmread(BytesIO(dicom(VALUES)), force=True)
    with pytest.raises(XrayReadError, match="pixels"):
        stored_values(dataset, Limits(pixels=100))
