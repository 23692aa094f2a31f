"""The part of a film's header that its results take over: what is valid is copied, the rest left out and named.

A wrong date or an over-long identifier, of which archives are full, must neither cost a result nor spoil its
conformance. Values are never quoted in a note, since they are the patient's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_description, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, generate_uid

from hf_pneumo.imaging.dicom_elements import values_of

# Patient and study attributes of PS3.3 C.7.1.1, C.7.2.1 and C.7.2.2 that a result may carry. The first are type 2:
# present, but empty where the film has nothing valid.
_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_TYPE_3 = (
    "IssuerOfPatientID",
    "PatientBirthTime",
    "EthnicGroup",
    "PatientComments",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "AdditionalPatientHistory",
)
# Where the study's own date or time is missing, the series' or the film's are the next best: they lie within the study.
_INSTEAD = {
    f"Study{kind}": (f"Series{kind}", f"Acquisition{kind}", f"Content{kind}", f"PerformedProcedureStepStart{kind}")
    for kind in ("Date", "Time")
}
_IMAGE = ("PatientOrientation", "BurnedInAnnotation", "LossyImageCompression", "Rows", "Columns")
_UIDS = ("SOPClassUID", "SOPInstanceUID")
_PLACES = ("StudyInstanceUID", "SeriesInstanceUID")

# Longest text per value, in characters (PS3.5 table 6.2-1); a person name has that many per component group.
_LENGTHS = {"SH": 16, "LO": 64, "PN": 64, "ST": 1024, "LT": 10240}
_TIME = r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"
# How ACR-NEMA, before DICOM, wrote a date and a time: receivers are asked to read it (PS3.5 6.2).
_ACR_NEMA = {"DA": re.compile(r"(\d{4})\.(\d\d)\.(\d\d)"), "TM": re.compile(r"(\d\d):(\d\d):(\d\d)")}
_PATTERNS = {
    "DA": r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "TM": _TIME,
    "AS": r"\d{3}[DWMY]",
    "DS": r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?",
    "US": r"\d+",
}
_CODES = {"PatientSex": "M|F|O", "BurnedInAnnotation": "YES|NO", "LossyImageCompression": "00|01"}
_DIRECTION = r"(?!.*L.*R|.*R.*L|.*A.*P|.*P.*A|.*H.*F|.*F.*H)(?!(.).*\1)[LRAPHF]{1,3}"
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_BLOCK = re.compile(r"[\0-\x08\x0b\x0e-\x1f\x7f]")  # LT and ST may hold several lines


def keep_valid(header: Dataset) -> tuple[str, ...]:
    """Leave in `header`, in place, only what a result may take over, valid and in Unicode; sentences on the rest.

    UIDs stay as they are where a peer can at least store them, since they are how the film is known to its archive. A
    film that names no study or series gets one of its own, derived from the film's UID: it is in none that a result
    could disturb, and a result must name both (PS3.3 C.7.2.1, C.17.2.1).
    """
    notes: list[str] = []
    _make_unicode(header, notes)
    kept = Dataset()
    for name in (*_TYPE_2, *_TYPE_3, *_IMAGE):
        value = _valid(header, name, notes) or _instead(header, name)
        if value or name in _TYPE_2:
            setattr(kept, name, int(str(value)) if value and dictionary_VR(name) == "US" else value or "")
    for name in (*_UIDS, *_PLACES):
        setattr(kept, name, UID(str(header.get(name) or "").strip("\0 "), validation_mode=0))
    for name in _PLACES:
        if not kept[name].value:
            notes.append(f"{_called(name)} is missing; the result bears one derived from the film's own UID.")
            setattr(kept, name, generate_uid(entropy_srcs=["hf_pneumo", name, kept.SOPInstanceUID]))
    if not re.fullmatch(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.\d[\d.]*", kept.SOPClassUID):
        notes.append(f"{_called('SOPClassUID')} is no image; the film is referred to as computed radiography.")
        kept.SOPClassUID = ComputedRadiographyImageStorage
    kept.SpecificCharacterSet = "ISO_IR 192"
    meta = getattr(header, "file_meta", Dataset())
    header.clear()
    header.update(kept)
    header.file_meta = meta
    return tuple(notes)


def _make_unicode(header: Dataset, notes: list[str]) -> None:
    """Decode text by the header's character sets, or as Latin-1 where they are unknown or their bytes are others."""
    stated = [str(name) for name in values_of(header, "SpecificCharacterSet")]
    if not set(stated) <= set(python_encoding) or ("ISO_IR 192" in stated and not _is_utf8(header)):
        notes.append(f"{_called('SpecificCharacterSet')} is unknown or wrong; letters may be wrong.")
        for name in (*_TYPE_2, *_TYPE_3):
            raw = header.get_item(name)
            if raw is not None and isinstance(raw.value, bytes):
                setattr(header, name, raw.value.decode("latin-1").rstrip("\0 "))
    else:
        header.decode()


def _is_utf8(header: Dataset) -> bool:
    """Whether the text that a result takes over is UTF-8, as far as it has not been decoded yet."""
    try:
        for name in (*_TYPE_2, *_TYPE_3):
            raw = header.get_item(name)
            if raw is not None and isinstance(raw.value, bytes):
                raw.value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _valid(header: Dataset, name: str, notes: list[str]) -> object:
    """The value of `name` as it may be written, cut where too long; None where it is absent, empty or invalid."""
    if name not in header:
        return None
    try:
        element = header[name]
        parts = [str(part) for part in element.value] if element.VM > 1 else [str(element.value or "")]
        if element.value is None or not any(parts):
            return None
        valid = list(_checked(name, parts, notes))
    except Exception:  # pydicom parses lazily and raises many kinds on malformed values
        valid = []
    if not valid:
        notes.append(f"{_called(name)} has no valid value and was left out.")
        return None
    return valid if len(valid) > 1 else valid[0]


def _instead(header: Dataset, name: str) -> object:
    """What stands for an attribute without a valid value, None where nothing does."""
    others = (_valid(header, other, []) for other in _INSTEAD.get(name, ()))
    return next(filter(None, others), None)


def _checked(name: str, parts: list[str], notes: list[str]) -> Iterator[str]:
    """Each of `parts`, or none at all where one of them is invalid."""
    vr = dictionary_VR(name)
    if name == "PatientOrientation":
        if len(parts) == 2 and all(re.fullmatch(_DIRECTION, part) for part in parts):
            yield from parts
        return
    text = "\\".join(parts)  # none of the others has several values: a backslash is an error in text
    if pattern := _CODES.get(name) or _PATTERNS.get(vr):
        text = _ACR_NEMA[vr].sub(r"\1\2\3", text) if vr in _ACR_NEMA else text
        if re.fullmatch(pattern, text.strip()) and (vr != "DA" or _is_day(text.strip())):
            yield text.strip()
        return
    clean = (_BLOCK if vr in ("ST", "LT") else _CONTROL).sub(" ", text.replace("\\", "/")).strip()
    short = _person(clean) if vr == "PN" else clean[: _LENGTHS[vr]].strip()
    if short != clean:
        notes.append(f"{_called(name)} is longer than the standard allows and was cut.")
    if short:
        yield short


def _is_day(text: str) -> bool:
    try:
        return bool(datetime.strptime(text, "%Y%m%d"))
    except ValueError:
        return False


def _person(name: str) -> str:
    """A person name of at most three component groups, each of five components and 64 characters."""
    return "=".join(_component_group(group) for group in name.split("=")[:3])


def _component_group(group: str) -> str:
    components = group.split("^")[:5]
    if len("^".join(components)) > _LENGTHS["PN"]:
        room = (_LENGTHS["PN"] - len(components)) // len(components)
        components = [component[:room] for component in components]
        return "^".join([*components, ""] if len(components) == 1 else components)
    return "^".join(components)


def _called(name: str) -> str:
    return f"The film's {dictionary_description(name)} ({name})"
