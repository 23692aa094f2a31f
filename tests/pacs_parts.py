"""What tests of a PACS node share: small films, a stand-in for the judge, an archive that takes results; no network.

As a program it is a node with the stand-in judge, for tests that kill one: `pacs_parts.py SECONDS [options of listen]`.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import AE, evt

from hf_pneumo.imaging.xray import XrayReadError
from hf_pneumo.serving.result_uids import ResultUids

NAME = "Doe^Jane"  # must stand in no log


def uid_of(name: object) -> str:
    return generate_uid(entropy_srcs=["film", str(name)])


def film(name: object = 1, pixels: np.ndarray | None = None, **elements: object) -> bytes:
    """A DICOM film as a file's bytes, with a study of its own; `elements` are put over an ordinary chest film's."""
    gray = np.full((16, 16), 100, np.uint8) if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, uid_of(name)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid_of(f"study {name}"), uid_of(f"series {name}")
    dataset.PatientName, dataset.PatientID, dataset.PatientSex, dataset.PatientBirthDate = NAME, "ID-7", "F", "19600102"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20200304", "101112", "S1", "A1"
    dataset.ReferringPhysicianName, dataset.PatientOrientation = "Roe^Richard", ["L", "F"]
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.Rows, dataset.Columns = gray.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelData = 7, np.ascontiguousarray(gray).tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@dataclass(frozen=True)
class StandInOutcome:
    """What the stand-in says of a film."""

    status: str = "judged"
    verdict: str = "normal"
    reason: str = ""


@dataclass
class StandIn:
    """A judge that knows a film's answer by its first pixel: 0 cannot be read, 1 is not judged, others are judged."""

    seconds: float = 0.0
    judged: list[str] = field(default_factory=list)

    def judge(self, path: Path) -> StandInOutcome:
        time.sleep(self.seconds)
        dataset = dcmread(path)
        self.judged.append(str(dataset.SOPInstanceUID))
        first = int(dataset.PixelData[0])
        if first == 0:
            raise XrayReadError("The film is damaged; export it again.")
        return StandInOutcome("not judged", "", "lateral") if first == 1 else StandInOutcome()

    @staticmethod
    def write(path: Path, outcome: StandInOutcome, folder: Path, name: str) -> None:
        """A picture and a report of a judged film, the report alone of another."""
        header = dcmread(path, stop_before_pixels=True)
        uids = ResultUids.of(header, outcome)
        kinds = {"heatmap": SecondaryCaptureImageStorage} if outcome.status == "judged" else {}
        for kind, sop_class in (kinds | {"report": ComprehensiveSRStorage}).items():
            result = Dataset()
            result.file_meta = FileMetaDataset()
            result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            result.SOPClassUID, result.SOPInstanceUID, result.SeriesInstanceUID = sop_class, uids(kind), uids(kind, "s")
            result.StudyInstanceUID, result.PatientName = header.StudyInstanceUID, header.PatientName
            result.save_as(folder / f"{name}-{kind}.dcm", enforce_file_format=True)


class Archive:
    """A storage SCP on this machine that remembers what it was sent; `answers` are its statuses, the last for ever."""

    def __init__(self, port: int | None = None, answers: Iterable[int] = (0,)):
        self.port = port or free_port()
        self.answers = list(answers)
        self.objects: list[tuple[str, str]] = []  # study and object, in the order of arrival
        self._arrival = threading.Condition()
        self._entity = AE("ARCHIVE")
        for context in (SecondaryCaptureImageStorage, ComprehensiveSRStorage):
            self._entity.add_supported_context(context)

    def __enter__(self) -> Archive:
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._entity.shutdown()

    @property
    def address(self) -> str:
        return f"ARCHIVE@127.0.0.1:{self.port}"

    def wait_for(self, count: int, timeout: float = 60.0) -> None:
        """Until `count` different objects are there."""
        with self._arrival:
            came = self._arrival.wait_for(lambda: len(set(self.objects)) >= count, timeout)
        assert came, f"{len(set(self.objects))} of {count} objects have arrived"

    def _store(self, event: evt.Event) -> int:
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == 0:
            with self._arrival:
                self.objects.append((str(event.dataset.StudyInstanceUID), str(event.dataset.SOPInstanceUID)))
                self._arrival.notify_all()
        return status


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def send(
    port: int, *films: bytes, calling: str = "SENDER", called: str = "HF_PNEUMO", tls: tuple | None = None
) -> list:
    """Send films by C-STORE in one association; the statuses, or [] where the association was not accepted."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    datasets = [dcmread(io.BytesIO(content)) for content in films]
    for sop_class in {dataset.SOPClassUID for dataset in datasets}:
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title=called, tls_args=tls)
    if not association.is_established:
        return []
    statuses = [association.send_c_store(dataset).get("Status") for dataset in datasets]
    association.release()
    return statuses


def main(words: list[str]) -> None:
    """A node whose judge takes words[0] seconds a film; ends on SIGTERM as the product's does."""
    import logging
    import signal

    from hf_pneumo.cli.listen import Arguments, serve
    from hf_pneumo.cli.options import parse

    logging.basicConfig(level=logging.INFO)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    stand_in = StandIn(float(words[0]))
    arguments = parse(Arguments, ["--checkpoint", "none", *words[1:]], prog="node", description="")
    serve(arguments, stand_in.judge, stand_in.write, model="stand-in", ended=ended)


if __name__ == "__main__":
    main(sys.argv[1:])
