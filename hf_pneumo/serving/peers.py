"""Where results go: a storage SCP by C-STORE, a DICOMweb server by STOW-RS, or a folder."""

from __future__ import annotations

import os
import re
import shutil
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE

from hf_pneumo.files import replacing
from hf_pneumo.imaging.decoder_warnings import quiet

CONNECT_SECONDS = 10.0  # for a connection and for the negotiation
ANSWER_SECONDS = 60.0  # for the answer to one object
_ADDRESS = re.compile(r"([^@]{1,16})@(\[[0-9a-fA-F:.]+\]|[^\s:@\[\]]+):(\d{1,5})")
# PS3.4 table B.2-1: the object will never be taken. All of A7xx, and what has no status, may go away.
_NEVER_STORED = re.compile("A9..|C...|0117|0122|0124")
_NEVER_STORED_HTTP = (400, 409, 413, 415)


class DeliveryError(Exception):
    """A result has not reached a peer; the message names no person. ``for_good``: trying again will not help."""

    def __init__(self, message: str, *, for_good: bool = False):
        super().__init__(message)
        self.for_good = for_good


class Peer(Protocol):
    """A place that takes DICOM files over; ``name`` tells it from others, from one start to the next."""

    @property
    def name(self) -> str: ...

    def send(self, path: Path) -> None:
        """Hand one DICOM file over; returns when the peer has it, else raises DeliveryError."""


@dataclass(frozen=True)
class StoragePeer:
    """A storage SCP; ``calling``: our own AE title; ``tls``: how the connection is encrypted, None for plain."""

    title: str
    host: str
    port: int
    calling: str
    tls: ssl.SSLContext | None = None

    @classmethod
    def parse(cls, address: str, calling: str, tls: ssl.SSLContext | None = None) -> StoragePeer:
        """From "AE@host:port"; raises ValueError for anything else."""
        match = _ADDRESS.fullmatch(address)
        if not match or not 0 < int(match[3]) < 65536:
            raise ValueError(f"--send-to {address!r} is no address; write AE@host:port, such as PACS@10.0.0.2:104")
        return cls(match[1].strip(), match[2].strip("[]"), int(match[3]), calling, tls)

    @property
    def name(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"

    def send(self, path: Path) -> None:
        """C-STORE, one association for one object."""
        with quiet():
            meta = dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True).file_meta
        entity = AE(ae_title=self.calling)
        entity.acse_timeout = entity.connection_timeout = CONNECT_SECONDS
        entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
        entity.add_requested_context(UID(meta.MediaStorageSOPClassUID), meta.TransferSyntaxUID)
        tls = (self.tls, self.host) if self.tls else None
        association = entity.associate(self.host, self.port, ae_title=self.title, tls_args=tls)
        if not association.is_established:
            if association.rejected_contexts:
                raise DeliveryError("the peer takes no such object", for_good=True)
            rejected = association.is_rejected
            raise DeliveryError("the peer rejects the association" if rejected else "the peer does not answer")
        try:
            with quiet():
                status = association.send_c_store(path)
        except (ValueError, RuntimeError) as error:  # pynetdicom: the association broke, or the file is damaged
            raise DeliveryError(f"the object cannot be sent ({type(error).__name__})") from None
        finally:
            if association.is_established:
                association.release()
        _check_status(status)


def _check_status(answer: Dataset) -> None:
    if "Status" not in answer:
        raise DeliveryError("the peer broke off")
    code = f"{answer.Status:04X}"
    if code != "0000" and not re.fullmatch("B...|0107|0116", code):  # warnings: the object is stored
        raise DeliveryError(f"the peer answers status {code}", for_good=bool(_NEVER_STORED.fullmatch(code)))


@dataclass(frozen=True)
class WebPeer:
    """A DICOMweb server; ``url``: of the service, without /studies. Credentials come from ~/.netrc."""

    url: str

    @property
    def name(self) -> str:
        return self.url

    def send(self, path: Path) -> None:
        """STOW-RS of one object (PS3.18 10.5)."""
        import requests
        from dicomweb_client.api import DICOMwebClient

        client = DICOMwebClient(self.url, timeout=ANSWER_SECONDS)
        client.set_http_retry_params(retry=False)  # the courier tries again, and remembers it over a restart
        try:
            with quiet():
                answer = client.store_instances([dcmread(path)])
        except requests.HTTPError as error:
            code = error.response.status_code if error.response is not None else 0
            raise DeliveryError(f"the server answers HTTP {code}", for_good=code in _NEVER_STORED_HTTP) from None
        except (OSError, ValueError) as error:  # requests' own errors are of OSError
            raise DeliveryError(f"the server does not answer ({type(error).__name__})") from None
        if answer.get("FailedSOPSequence"):
            raise DeliveryError("the server did not store the object")


@dataclass(frozen=True)
class FolderPeer:
    """A folder on this machine; made where there is none."""

    folder: Path

    @property
    def name(self) -> str:
        return f"folder {os.fspath(self.folder)}"

    def send(self, path: Path) -> None:
        """Copy, whole or not at all."""
        try:
            with replacing(self.folder / path.name) as temporary:
                shutil.copyfile(path, temporary)
        except OSError as error:
            raise DeliveryError(f"the folder cannot be written ({error.strerror or type(error).__name__})") from None


def named_once(peers: Sequence[Peer]) -> tuple[Peer, ...]:
    """``peers`` without those that are named twice."""
    return tuple({peer.name: peer for peer in peers}.values())
