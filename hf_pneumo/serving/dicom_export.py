"""A result as DICOM objects of the same study: a Secondary Capture of the heatmap and a structured report.

A viewer then shows both beside the film. The report follows TID 1500 "Imaging Measurement Report" of DICOM PS3.16: one
group of measurements per label (TID 1501) and one region per box (TID 1410), each with the algorithm that made it.
Every code is of DICOM or SNOMED CT, so that any receiver knows it: a label without a certain code is a "Finding" whose
tracking identifier is the label.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from hf_pneumo.imaging.decoder_warnings import quiet
from hf_pneumo.imaging.dicom import read_dicom_dataset
from hf_pneumo.models.config import NO_VERDICT
from hf_pneumo.serving.file_names import content_name
from hf_pneumo.serving.result_uids import ResultUids
from hf_pneumo.serving.study_identity import keep_valid

MANUFACTURER = "hf_pneumo"
_NEEDED = ("SOPInstanceUID", "Rows", "Columns")
_HEATMAP_SERIES, _REPORT_SERIES = 9001, 9002  # above the numbers scanners use

_FINDINGS: dict[str, Code] = {
    "pneumonia": Code("233604007", "SCT", "Pneumonia"),
    "bacteria": Code("53084003", "SCT", "Bacterial pneumonia"),
    "virus": Code("75570004", "SCT", "Viral pneumonia"),
    "normal": codes.SCT.Normal,
    "no finding": codes.SCT.ImagingResultNormal,
    "atelectasis": Code("46621007", "SCT", "Atelectasis"),
    "cardiomegaly": codes.SCT.Cardiomegaly,
    "consolidation": Code("95436008", "SCT", "Lung consolidation"),
    "edema": codes.SCT.PulmonaryEdema,
    "effusion": codes.SCT.PleuralEffusion,
    "emphysema": Code("87433001", "SCT", "Pulmonary emphysema"),
    "fibrosis": Code("51615001", "SCT", "Fibrosis of lung"),
    "fracture": Code("125605004", "SCT", "Fracture of bone"),
    "infiltration": codes.DCM.Infiltrate,
    "lung lesion": codes.SCT.Lesion,
    "lung opacity": codes.DCM.Opacity,
    "mass": codes.SCT.Mass,
    "nodule": codes.SCT.Nodule,
    "pleural effusion": codes.SCT.PleuralEffusion,
    "pneumothorax": codes.SCT.Pneumothorax,
    "support devices": codes.SCT.DeviceAppliedToPatient,
}
_CHEST_FILM = Code("399208008", "SCT", "Plain chest X-ray")
_VERDICTS: dict[str, Code] = {
    "positive": codes.SCT.Present,
    "negative": codes.SCT.Absent,
    "uncertain": codes.SCT.Indeterminate,
    NO_VERDICT: codes.DCM.PresenceUndetermined,
}
_VERDICT = codes.DCM.PresenceOfProperty  # at the operating point
_BOX_SCORE = codes.DCM.Saliency


ScoredBox = tuple[float, float, float, float, float]  # x, y, w, h in pixels, and the score in [0, 1]


class DicomOutError(ValueError):
    """A result that cannot be filed beside its film; the message is one sentence with the fix."""


@dataclass(frozen=True)
class Filed:
    """The files that were written, the report last; sentences on what of the film's header they could not take over."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def write_dicom_result(
    source: str | os.PathLike[str],
    overlay: np.ndarray,
    out_dir: str | os.PathLike[str],
    *,
    probabilities: Mapping[str, float],
    model: str,
    revision: str | None = None,
    verdicts: Mapping[str, str] | None = None,
    boxes: Sequence[ScoredBox] = (),
    box_finding: str | None = None,
    method: str | None = None,
    name: str | None = None,
) -> Filed:
    """Write `<name>-<hash>-heatmap.dcm` and `<name>-<hash>-report.dcm` into `out_dir`.

    source: the film's DICOM file; patient, study and character set are taken from it. Series and instances are new, but
    the same for the same result, so that a result that is written or sent again replaces itself.
    overlay: uint8 (H, W, 3), the film with its heatmap. probabilities: by label, in [0, 1]. verdicts: "positive",
    "negative", "uncertain" or "not judged" by label. boxes: (x, y, w, h, score) in the overlay's pixels, score in
    [0, 1], of the label `box_finding`. method: how the heatmap was made. name: by default the film's; the hash is of
    its content. Raises DicomOutError (ValueError) for a film without a UID, to which nothing could refer, and for
    arguments out of range, XrayReadError for a file that is no DICOM object.
    """
    header = study_header(source)
    _check(overlay, probabilities, verdicts or {}, boxes, box_finding)
    boxes = _in_stored_pixels(boxes, overlay, header)
    algorithm = _algorithm(model, revision, [f"heatmap: {method}"] if method else None)
    with header_faults():
        notes = keep_valid(header)
        says = (model, revision, method, dict(probabilities), dict(verdicts or {}), boxes, box_finding)
        uids = ResultUids.of(header, says, overlay.tobytes())
        groups = _label_groups(header, uids, algorithm, probabilities, verdicts or {})
        finding = box_finding or ""  # as checked, there are no boxes without one
        groups += [_region(header, uids, algorithm, box, finding, i) for i, box in enumerate(boxes, start=1)]
        report = _report(header, uids, groups, model, revision)
        objects = {"heatmap": _heatmap(header, uids, overlay, model, revision, method), "report": report}
    return Filed(save_objects(objects, source, out_dir, name), notes)


def write_dicom_refusal(
    source: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    reason: str,
    sentence: str,
    model: str,
    revision: str | None = None,
    name: str | None = None,
) -> Filed:
    """Write `<name>-<hash>-report.dcm`, which says that the film was not judged and why; else as its neighbour.

    reason: a few words that are the same for every such film. sentence: for a reader.
    """
    header = study_header(source)
    algorithm = _algorithm(model, revision, None)
    with header_faults():
        notes = keep_valid(header)
        uids = ResultUids.of(header, (model, revision, reason, sentence))
        group = sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(
                uid=uids("not judged"), identifier=f"Not judged ({reason}): {sentence}"
            ),
            finding_type=codes.DCM.Finding,
            algorithm_id=algorithm,
            finding_sites=[sr.FindingSite(codes.SCT.Chest)],
            qualitative_evaluations=[sr.QualitativeEvaluation(_VERDICT, codes.DCM.PresenceUndetermined)],
            source_images=[sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
        )
        report = _report(header, uids, [group], model, revision)
    return Filed(save_objects({"report": report}, source, out_dir, name), notes)


def study_header(source: str | os.PathLike[str]) -> Dataset:
    """The film's header; DicomOutError where it lacks what a result refers to."""
    header = read_dicom_dataset(source)
    meta = getattr(header, "file_meta", Dataset())
    for name in ("SOPClassUID", "SOPInstanceUID"):  # the file's own header repeats both (PS3.10 7.1)
        if not header.get(name) and meta.get(f"MediaStorage{name}"):
            setattr(header, name, meta[f"MediaStorage{name}"].value)
    missing = [name for name in _NEEDED if not header.get(name)]
    if missing:
        raise DicomOutError(
            f"The film lacks {', '.join(missing)}, so no result can be filed beside it; export it again."
        )
    return header


@contextmanager
def header_faults() -> Iterator[None]:
    """Turn what the libraries say of a damaged header into a DicomOutError that quotes nothing of it."""
    failure = None
    try:
        with quiet():  # the libraries' warnings quote the patient's name
            yield
    except Exception as error:  # so do their errors; a damaged header makes them raise almost anything
        failure = type(error).__name__
    if failure:
        raise DicomOutError(f"The film's header breaks DICOM's rules ({failure}); correct it or export again.")


def save_objects(
    objects: Mapping[str, Dataset],
    source: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    name: str | None,
) -> tuple[Path, ...]:
    """Write each of ``objects``, by kind, whole or not at all; the names hold a hash of the film's content."""
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    stem = content_name(name or Path(source).stem, source)
    paths = []
    for kind, dataset in objects.items():
        path = out_dir / f"{stem}-{kind}.dcm"
        part = path.with_suffix(".part")
        with quiet():
            dataset.save_as(part, enforce_file_format=True)
        os.replace(part, path)
        paths.append(path)
    return tuple(paths)


def _algorithm(model: str, revision: str | None, parameters: list[str] | None) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(name=model, version=revision or "none", parameters=parameters)


def _check(
    overlay: np.ndarray,
    probabilities: Mapping[str, float],
    verdicts: Mapping[str, str],
    boxes: Sequence[ScoredBox],
    box_finding: str | None,
) -> None:
    if overlay.dtype != np.uint8 or overlay.ndim != 3 or overlay.shape[2] != 3:
        raise DicomOutError(f"`overlay` is {overlay.dtype} {overlay.shape}; give uint8 (H, W, 3).")
    if not probabilities:
        raise DicomOutError("`probabilities` is empty; give at least one label.")
    for label, value in probabilities.items():
        if not 0 <= value <= 1:
            raise DicomOutError(f"`probabilities` gives {label} {value}; it must lie in [0, 1].")
    for label, verdict in verdicts.items():
        if verdict not in _VERDICTS:
            raise DicomOutError(f"`verdicts` gives {label} {verdict!r}; allowed are {', '.join(_VERDICTS)}.")
    if boxes and not box_finding:
        raise DicomOutError("`box_finding` is missing; name the label that the boxes show.")
    height, width = overlay.shape[:2]
    for x, y, w, h, score in boxes:
        if not (0 <= x <= x + w <= width and 0 <= y <= y + h <= height and 0 <= score <= 1):
            raise DicomOutError(f"`boxes` holds {(x, y, w, h, score)}; the film has {width} x {height} pixels.")


def _in_stored_pixels(boxes: Sequence[ScoredBox], overlay: np.ndarray, header: Dataset) -> list[ScoredBox]:
    """Boxes in the film's pixels as stored, where reading has made them square."""
    down, across = int(header.Rows) / overlay.shape[0], int(header.Columns) / overlay.shape[1]
    return [(x * across, y * down, w * across, h * down, score) for x, y, w, h, score in boxes]


def _heatmap(
    header: Dataset, uids: ResultUids, overlay: np.ndarray, model: str, revision: str | None, method: str | None
) -> Dataset:
    capture = hd.sc.SCImage.from_ref_dataset(
        header,
        pixel_array=np.ascontiguousarray(overlay),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=uids("heatmap series"),
        series_number=_HEATMAP_SERIES,
        sop_instance_uid=uids("heatmap"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=model[:64],
        software_versions=(revision or "none")[:64],
        patient_orientation=("L", "F"),  # highdicom admits single letters only; the film's own follows
        series_description=f"Heatmap {method or ''}".strip()[:64],
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    capture.PatientOrientation = header.get("PatientOrientation", "")
    capture.BodyPartExamined = "CHEST"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.DerivationDescription = f"Heatmap of {model} over the film; not a diagnosis"[:1024]
    reference = Dataset()
    reference.ReferencedSOPClassUID = header.SOPClassUID
    reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
    capture.SourceImageSequence = [reference]
    if _is_lossy(header):
        capture.LossyImageCompression = "01"
    if header.get("BurnedInAnnotation"):
        capture.BurnedInAnnotation = header.BurnedInAnnotation
    return capture


def _is_lossy(header: Dataset) -> bool:
    """Whether the film's pixels have ever been compressed with loss."""
    meta = getattr(header, "file_meta", Dataset())
    return header.get("LossyImageCompression") == "01" or meta.get("TransferSyntaxUID") == JPEGBaseline8Bit


def _label_groups(
    header: Dataset,
    uids: ResultUids,
    algorithm: sr.AlgorithmIdentification,
    probabilities: Mapping[str, float],
    verdicts: Mapping[str, str],
) -> list[sr.MeasurementsAndQualitativeEvaluations]:
    return [
        sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(uid=uids("label", label), identifier=label),
            finding_type=finding_code(label),
            algorithm_id=algorithm,
            finding_sites=[sr.FindingSite(codes.SCT.Chest)],
            measurements=[sr.Measurement(codes.DCM.Probability, float(value), codes.UCUM.NoUnits)],
            qualitative_evaluations=[sr.QualitativeEvaluation(_VERDICT, _VERDICTS[verdicts[label]])]
            if label in verdicts
            else None,
            source_images=[sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
        )
        for label, value in probabilities.items()
    ]


def _report(header: Dataset, uids: ResultUids, groups: Sequence[object], model: str, revision: str | None) -> Dataset:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MANUFACTURER, model, revision or ""]),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=model,
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, device),
        ),
        procedure_reported=_CHEST_FILM,
        imaging_measurements=list(groups),
        title=codes.DCM.ImagingMeasurementReport,
    )
    return sr.ComprehensiveSR(
        evidence=[header],
        content=content,
        series_instance_uid=uids("report series"),
        series_number=_REPORT_SERIES,
        sop_instance_uid=uids("report"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_verified=False,
        series_description="Automated reading, unverified",
        manufacturer_model_name=model[:64],
        software_versions=(revision or "none")[:64],
    )


def _region(
    header: Dataset,
    uids: ResultUids,
    algorithm: sr.AlgorithmIdentification,
    box: ScoredBox,
    finding: str,
    number: int,
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    x, y, w, h, score = map(float, box)
    outline = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)])  # closed, pixels (column, row)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=uids("box", number), identifier=f"{finding} {number}"),
        referenced_region=sr.ImageRegion(
            graphic_type=sr.GraphicTypeValues.POLYLINE,
            graphic_data=outline,
            source_image=sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID),
        ),
        finding_type=finding_code(finding),
        algorithm_id=algorithm,
        measurements=[sr.Measurement(_BOX_SCORE, score, codes.UCUM.NoUnits)],
    )


def finding_code(label: str) -> Code:
    """The code of a label in SNOMED CT or DICOM; of one without a certain code that of a finding."""
    return _FINDINGS.get(re.sub(r"[\W_]+", " ", label).casefold(), codes.DCM.Finding)
