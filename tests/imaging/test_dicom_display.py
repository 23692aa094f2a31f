"""Stored values as they are meant to be displayed, by way of a whole film."""

from __future__ import annotations

import numpy as np

from hf_pneumo.imaging.reader import read_xray

VALUES = np.linspace(0, 4000, 150 * 150).astype(np.uint16).reshape(150, 150)


def test_a_window_maps_its_ends_to_black_and_white(dicom):
    film = read_xray(dicom(VALUES, WindowCenter=2000, WindowWidth=1000))
    dark, bright = film.pixels[VALUES < 1400], film.pixels[VALUES > 2600]
    assert dark.max() < 0.01 and bright.min() > 0.99


def test_monochrome1_is_inverted_last(dicom):
    plain, inverted = (
        read_xray(dicom(VALUES, PhotometricInterpretation=f"MONOCHROME{kind}", WindowCenter=2000, WindowWidth=4000))
        for kind in (2, 1)
    )
    np.testing.assert_allclose(inverted.pixels, 1 - plain.pixels, atol=0.01)
