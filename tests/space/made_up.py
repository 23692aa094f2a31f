"""Made-up checkpoints whose verdicts are known beforehand, a DICOM file of a person with a name, and a free port."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import numpy as np
import pydicom
import torch
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.training_record import DataRecord

APP = Path(__file__).parents[2] / "space"
NAME = "DOE_JANE_19700101"  # must turn up nowhere but in the browser of whoever dropped it in
TRAINED = DataRecord(source="made-up films", protocol="official", films={"train": 1234, "val": 5})


def checkpoint(folder: Path, architecture: str, labels: LabelSet, point: OperatingPoint, biases: list[float]) -> Path:
    """A checkpoint of random weights whose logits stay near ``biases``, whatever the film."""
    torch.manual_seed(0)
    network = build(architecture, len(labels.names)).eval()
    with torch.no_grad():
        network.get_classifier().weight.mul_(0.2)
        network.get_classifier().bias.copy_(torch.tensor(biases))
    size = (160, 160) if "vit" in architecture else (96, 96)
    return save(
        folder, network, CheckpointConfig(architecture, labels, Preprocess(size), operating_point=point, data=TRAINED)
    )


def dicom(pixels: np.ndarray) -> bytes:
    """A digital X-ray, 12 bits, MONOCHROME1, of a person with a name."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.Modality, dataset.ViewPosition = "DOE^JANE", NAME, "DX", "PA"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME1"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = np.rint((1 - pixels) * 4095).astype("<u2").tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
