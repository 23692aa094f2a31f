"""Every image that pydicom brings along, read here and by pydicom's own pipeline; each exception has its reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

from hf_pneumo.imaging.reader import XrayReadError, read_xray

FILES = {}
for _path in sorted(map(Path, get_testdata_files())):
    with warnings.catch_warnings(action="ignore"):
        if _path.is_file() and _path.suffix not in (".json", ".txt", ".dump", ".gz", ".icc"):
            FILES.setdefault(_path.name, _path)

# Refused, here and by pydicom, and why: the words are those of the message.
REFUSED = {
    "liver_1frame.dcm": "allocates 1 bits",  # a mask
    "liver_expb_1frame.dcm": "allocates 1 bits",
    "MR_truncated.dcm": "cut short",
    "JPEG2000-embedded-sequence-delimiter.dcm": "max_pixels",  # its code stream is cut; what follows is no header
    "meta_missing_tsyntax.dcm": "Rows",  # the element of the pixels, and no image
    "nested_priv_SQ.dcm": "Rows",
}
# Read here; pydicom raises. The film must then be that of another file.
OTHERWISE = {
    "JPEG-lossy.dcm": "JPGExtended.dcm",  # 12-bit JPEG, of which pydicom's decoders refuse the header of this file
    "badVR.dcm": "rtdose_expb.dcm",  # NumberOfFrames is "1A"
}
# 12-bit JPEG (process 4), which none of pydicom's free decoders reads: dcmtk decodes the pixels for the oracle.
BY_DCMTK = {"JPGExtended.dcm"}
# Their display window lies beside all values: pydicom gives a flat picture, here the window is left out.
WINDOW_BESIDE = {"17166", "17196"}
# Pixels of these are not square (PixelSpacing): pydicom leaves them so, the film is resampled.
RESAMPLED = {"6293": (16, 18), "6924": (16, 18)}


def oracle(path: Path) -> np.ndarray:
    """float (H, W) in [0, 1] of the first frame by pydicom's functions."""
    dataset = pydicom.dcmread(decoded_by_dcmtk(path) if path.name in BY_DCMTK else path, force=True)
    values = pixel_array(dataset, index=0)
    if path.name in WINDOW_BESIDE:
        del dataset.WindowCenter, dataset.WindowWidth
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(values, dataset)
        return luma(coloured / np.iinfo(coloured.dtype).max)
    if values.ndim == 3:
        return luma(values / (2.0**dataset.BitsStored - 1))
    shown = grey(values, dataset)
    return 1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


def decoded_by_dcmtk(path: Path) -> BytesIO:
    with TemporaryDirectory() as folder:
        decoded = Path(folder, path.name)
        subprocess.run(["dcmdjpeg", path, decoded], check=True)
        return BytesIO(decoded.read_bytes())


def luma(channels: np.ndarray) -> np.ndarray:
    return channels[..., :3] @ [0.299, 0.587, 0.114]


def grey(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    units = apply_modality_lut(values, dataset)
    if "WindowCenter" not in dataset and "VOILUTSequence" not in dataset:
        low, high = units.min(), units.max()
        if dataset.BitsStored == 8:
            low, high = 0, 255
        return (units - low) / max(high - low, 1e-12)
    lowest = -(2 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
    ends = np.array([lowest, lowest + 2**dataset.BitsStored - 1]) * float(dataset.get("RescaleSlope", 1))
    low, high = ends + float(dataset.get("RescaleIntercept", 0))
    return (apply_voi_lut(units, dataset) - low) / (high - low)


def has_pixels(path: Path) -> bool:
    with warnings.catch_warnings(action="ignore"):
        try:
            return "PixelData" in pydicom.dcmread(path, force=True, specific_tags=["PixelData"])
        except Exception:
            return False


IMAGES = [name for name, path in FILES.items() if has_pixels(path)]


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.filterwarnings("ignore")
def test_as_pydicom_shows_it(name):
    if name in REFUSED:
        with pytest.raises(XrayReadError, match=REFUSED[name]):
            read_xray(FILES[name])
        return
    if name in BY_DCMTK and not shutil.which("dcmdjpeg") and not os.environ.get("REQUIRE_DICOM_TOOLS"):
        pytest.skip("dcmtk is not installed")
    film = read_xray(FILES[name])
    if name in OTHERWISE:
        np.testing.assert_allclose(film.pixels, read_xray(FILES[OTHERWISE[name]]).pixels, atol=1.01 / 255)
        return
    shown = oracle(FILES[name]).astype(np.float32)
    if name in RESAMPLED:
        assert film.pixels.shape == RESAMPLED[name]
        shown = np.asarray(Image.fromarray(shown).resize(film.pixels.shape[::-1], Image.Resampling.BILINEAR))
    np.testing.assert_allclose(film.pixels, shown, atol=1.01 / 255)
