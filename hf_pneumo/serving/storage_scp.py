"""The DICOM listener: C-STORE into a spool and C-ECHO, for peers that may call, within limits (PS3.4 annex B)."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast

from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import, from a table

from hf_pneumo.serving.metrics import Metrics
from hf_pneumo.serving.spool import Spool, SpoolFull

if TYPE_CHECKING:
    from pynetdicom.events import EventHandlerType

logger = logging.getLogger(__name__)

SUCCESS = 0x0000
SPOOL_FULL, TOO_LARGE, TOO_MANY = 0xA700, 0xA701, 0xA702  # "Refused: Out of Resources", PS3.4 table B.2-1
_REJECT_CALLING = (0x01, 0x01, 0x03)  # permanent, by the user, calling AE title not recognised (PS3.8 table 9-21)
MINUTE = 60.0
# All that films are stored in, and nothing of video, which would be accepted to be passed over.
SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    *JPEGTransferSyntaxes,
    *JPEGLSTransferSyntaxes,
    *JPEG2000TransferSyntaxes,
    RLELossless,
]


@dataclass(frozen=True)
class Caller:
    """Who may call: an AE title, and the addresses that it may call from; None for any."""

    title: str
    addresses: frozenset[str] | None

    @classmethod
    def parse(cls, text: str) -> Caller:
        """From "AE@host" or "AE"; a host's name is looked up now. Raises ValueError where that is impossible."""
        title, _, host = text.strip().partition("@")
        if not 0 < len(title) <= 16 or (not host and "@" in text):
            raise ValueError(f"--allow {text!r} names no peer; write AE@host, such as PACS@10.0.0.2, or AE alone")
        if not host:
            return cls(title, None)
        return cls(title, _addresses(host, text))

    def is_calling(self, title: str, address: str) -> bool:
        """Whether this is who calls from ``address``; an IPv4 address may be written as IPv6."""
        plain = address.removeprefix("::ffff:")
        return title == self.title and (self.addresses is None or plain in self.addresses)


def _addresses(host: str, text: str) -> frozenset[str]:
    """The addresses of a host that is given by name, or as an address."""
    try:
        return frozenset({str(ip_address(host))})
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        raise ValueError(f"--allow {text!r}: the host has no address; check its name") from None
    return frozenset(str(address[4][0]) for address in found)


@dataclass(frozen=True)
class ScpOptions:
    """How the listener listens. ``callers``: who may call, all where there are none.

    ``max_object_bytes``: of one object; one of twice as many breaks the association off while it is being sent.
    ``max_per_minute``: objects of one peer, 0 for any number. ``tls``: how connections are encrypted, None for plain.
    """

    title: str = "HF_PNEUMO"
    host: str = "127.0.0.1"
    port: int = 11112
    callers: tuple[Caller, ...] = ()
    max_object_bytes: int = 256 * 1024**2
    max_per_minute: int = 0
    max_associations: int = 10
    tls: ssl.SSLContext | None = None


class RateLimit:
    """At most ``most`` objects a minute of each address, 0 for any number."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic):
        self.most, self.clock = most, clock
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def admits(self, address: str) -> bool:
        """Whether ``address`` may send another object now; counts it where it may."""
        if not self.most:
            return True
        now = self.clock()
        with self._lock:
            times = self._times.setdefault(address, deque())
            while times and times[0] <= now - MINUTE:
                times.popleft()
            if len(times) >= self.most:
                return False
            times.append(now)
            return True


@dataclass
class _Arriving:
    """Bytes of the object that each association is sending."""

    bytes: dict[int, int] = field(default_factory=dict)

    def add(self, association: Association, count: int) -> int:
        key = id(association)
        self.bytes[key] = self.bytes.get(key, 0) + count
        return self.bytes[key]

    def end(self, association: Association) -> None:
        self.bytes.pop(id(association), None)


class StorageScp:
    """Listens in threads, from :meth:`start` to :meth:`stop`; every object that it acknowledges is in ``spool``."""

    def __init__(
        self,
        spool: Spool,
        options: ScpOptions,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.spool, self.options, self.metrics = spool, options, metrics
        self.rate = RateLimit(options.max_per_minute, clock=clock)
        self._arriving = _Arriving()
        self._entity = _entity(options)

    def start(self) -> int:
        """Begin to listen; returns the port. Raises OSError where it is taken."""
        options = self.options
        server: Any = self._entity.start_server(  # never None unless it blocks, and its socket is open then
            (options.host, options.port), block=False, evt_handlers=self._handlers(), ssl_context=options.tls
        )
        return int(server.socket.getsockname()[1])

    def stop(self) -> None:
        """End; what is being sent is not acknowledged, so its sender still has it."""
        self._entity.shutdown()

    def _handlers(self) -> list[EventHandlerType]:
        return [
            (evt.EVT_REQUESTED, self._admit),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_PDU_RECV, self._count),
            (evt.EVT_CONN_CLOSE, lambda event: self._arriving.end(event.assoc)),
        ]

    def _admit(self, event: evt.Event) -> None:
        """Reject an association of whom nobody allowed."""
        title, address = _caller(event.assoc)
        callers = self.options.callers
        if callers and not any(caller.is_calling(title, address) for caller in callers):
            self.metrics.refused("peer is not allowed")
            logger.warning("rejected an association: the peer is not among those of --allow")
            event.assoc.acse.send_reject(*_REJECT_CALLING)

    def _count(self, event: evt.Event) -> None:
        """Break off an association that sends an object far over the limit, before it fills the memory."""
        items = getattr(event.pdu, "presentation_data_value_items", ())
        count = sum(len(item.presentation_data_value) for item in items)
        if count and self._arriving.add(event.assoc, count) > 2 * self.options.max_object_bytes:
            self._arriving.add(event.assoc, -(1 << 62))  # told once, though more may be under way
            self.metrics.refused("object is too large")
            logger.warning("broke an association off: its object is over twice the limit")
            event.assoc.abort(block=False)

    def _store(self, event: evt.Event) -> int | Dataset:
        """Queue the object, then acknowledge it."""
        self._arriving.end(event.assoc)
        title, address = _caller(event.assoc)
        request = cast(C_STORE, event.request)
        size = request.DataSet.getbuffer().nbytes if isinstance(request.DataSet, BytesIO) else 0
        if size > self.options.max_object_bytes:
            return self._refuse(TOO_LARGE, "object is too large")
        if not self.rate.admits(address):
            return self._refuse(TOO_MANY, "too many objects a minute")
        try:
            new = self.spool.put(event.encoded_dataset())
        except SpoolFull:
            return self._refuse(SPOOL_FULL, "no room in the spool")
        source = title if self.options.callers else "any"  # a title that anybody may make up is no label
        (self.metrics.received if new else self.metrics.repeated)(source)
        return SUCCESS

    def _refuse(self, status: int, reason: str) -> Dataset:
        self.metrics.refused(reason)
        logger.warning("refused an object: %s", reason)
        answer = Dataset()
        answer.Status, answer.ErrorComment = status, reason
        return answer


def _entity(options: ScpOptions) -> AE:
    entity = AE(ae_title=options.title)
    entity.require_called_aet = True
    entity.maximum_associations = options.max_associations
    entity.network_timeout = entity.dimse_timeout = 60
    entity.acse_timeout = 30
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, SYNTAXES)
    entity.add_supported_context(Verification)
    return entity


def _caller(association: Association) -> tuple[str, str]:
    """The calling AE title and the address, as text."""
    caller = association.requestor
    title = caller.primitive.calling_ae_title if caller.primitive else ""
    return str(title).strip(), str(caller.address)


def tls_server(certificate: str, key: str, authority: str | None) -> ssl.SSLContext:
    """TLS for a listener (PS3.15 B.9); with ``authority`` peers must show a certificate that it has signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.load_cert_chain(certificate, key)
    if authority:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def tls_client(certificate: str, key: str, authority: str | None) -> ssl.SSLContext:
    """TLS for calls to peers, who must show a certificate signed by ``authority``, by default one that we trust."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    context.load_cert_chain(certificate, key)
    return context


def callers(texts: Iterable[str]) -> tuple[Caller, ...]:
    """The callers that ``texts`` name; see :meth:`Caller.parse`."""
    return tuple(map(Caller.parse, texts))
