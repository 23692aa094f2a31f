"""Frames by the decoders that read them right."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pydicom")

from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1

from hf_pneumo.imaging.frame_decoders import Layout, decode_frame
from hf_pneumo.imaging.xray import XrayReadError

VALUES = np.arange(12, dtype=np.uint16).reshape(3, 4)


def layout(**changes) -> Layout:
    given = {
        "rows": 3, "columns": 4, "samples": 1, "frames": 1, "allocated": 16, "stored": 12, "signed": False,
        "photometric": "MONOCHROME2", "planar": 0, "vr": "OW",
    }  # fmt: skip
    return Layout(**{**given, **changes})


def test_plain_samples_come_back():
    np.testing.assert_array_equal(decode_frame(VALUES.tobytes(), ExplicitVRLittleEndian, layout(), None), VALUES)


def test_damaged_frames_end_in_a_sentence_with_the_way_out():
    with pytest.raises(XrayReadError, match="export the film uncompressed|pip install"):
        decode_frame(b"damaged", JPEGLosslessSV1, layout(), None)
