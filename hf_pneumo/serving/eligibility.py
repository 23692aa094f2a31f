"""Which DICOM objects are for the judge: frontal chest radiographs, as far as the header says."""

from __future__ import annotations

import os
import re
from enum import StrEnum

from pydicom import dcmread
from pydicom.dataset import Dataset

from hf_pneumo.imaging import dicom_projection
from hf_pneumo.imaging.decoder_warnings import quiet
from hf_pneumo.imaging.dicom_elements import values_of, word
from hf_pneumo.imaging.xray import XrayReadError

RADIOGRAPHS = ("CR", "DX")
_ELEMENTS = [*dicom_projection.KEYWORDS.split(), "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Rows"]
_CHEST = re.compile("CHEST|THORAX|LUNG")


class PassedOver(StrEnum):
    """Why an object is not for the judge, in words that stay the same from object to object."""

    NO_IMAGE = "no image"
    MODALITY = "not a radiograph"
    BODY_PART = "another body part than the chest"
    LATERAL = "lateral view"
    RAW = "raw detector data"


def read_header(path: str | os.PathLike[str]) -> Dataset:
    """The elements of a DICOM file that decide; none names a person. Raises XrayReadError for a damaged file."""
    try:
        with quiet():
            return dcmread(path, stop_before_pixels=True, force=True, specific_tags=_ELEMENTS)
    except OSError:
        raise
    except Exception as error:  # pydicom raises almost anything on damaged files, and quotes them
        kind = type(error).__name__
    raise XrayReadError(f"The DICOM header is damaged ({kind}); export the film again.")


def passed_over(header: Dataset) -> PassedOver | None:
    """Why the object with this header is not for the judge; None for a chest radiograph that may be frontal.

    A header that names no body part and no view is for the judge, which looks at the picture itself.
    """
    part = word(header, "BodyPartExamined")
    if word(header, "Modality") not in RADIOGRAPHS:
        return PassedOver.MODALITY
    if not values_of(header, "Rows"):
        return PassedOver.NO_IMAGE
    if part and not _CHEST.search(part):
        return PassedOver.BODY_PART
    if dicom_projection.view(header) in dicom_projection.SIDE_VIEWS:
        return PassedOver.LATERAL
    if word(header, "PresentationIntentType") == "FOR PROCESSING":
        return PassedOver.RAW
    return None
