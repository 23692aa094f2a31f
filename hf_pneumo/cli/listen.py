"""A PACS node: takes DICOM films over, judges the chest radiographs, and sends heatmap and report into their studies.

    hf-pneumo listen --checkpoint C --spool SPOOL --port 11112 --allow PACS@10.0.0.2 --send-to PACS@10.0.0.2:104
    hf-pneumo listen --checkpoint C --spool SPOOL --watch FOLDER --output RESULTS

A film is in SPOOL on disk before it is acknowledged, and leaves it when its results have reached every peer; a process
that dies, by power failure or otherwise, loses nothing: start it again on the same SPOOL. On SIGTERM it waits at
most five seconds for what is in work. Log lines and metrics hold nothing that identifies a person.
"""

from __future__ import annotations

import hashlib
import logging
import signal
import ssl
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from hf_pneumo.imaging.xray import Limits
from hf_pneumo.serving.courier import Courier
from hf_pneumo.serving.folder_watch import FolderWatch
from hf_pneumo.serving.metrics import Metrics, MetricsServer
from hf_pneumo.serving.node import Judge, Node, Writer
from hf_pneumo.serving.peers import FolderPeer, Peer, StoragePeer, WebPeer, named_once
from hf_pneumo.serving.spool import Spool
from hf_pneumo.serving.storage_scp import ScpOptions, StorageScp, callers, tls_client, tls_server

if TYPE_CHECKING:
    from hf_pneumo.models.folder import CheckpointFolder
    from hf_pneumo.serving.outcome import Outcome

logger = logging.getLogger(__name__)

MIB, GIB = 1024**2, 1024**3


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    spool: str = field(metadata={"help": "folder of the queue, on a disk that outlives the process"})
    port: int = field(default=0, metadata={"help": "port of the DICOM listener; 0 for none"})
    host: str = field(default="127.0.0.1", metadata={"help": "address that the DICOM listener listens on"})
    title: str = field(default="HF_PNEUMO", metadata={"help": "own AE title"})
    allow: list[str] | None = field(
        default=None, metadata={"help": "who may call: AE@host, or AE from any host; several may follow"}
    )
    watch: str | None = field(default=None, metadata={"help": "also take the new DICOM files of this folder"})
    send_to: list[str] | None = field(
        default=None, metadata={"help": "send results by C-STORE to AE@host:port; several may follow"}
    )
    stow: list[str] | None = field(
        default=None, metadata={"help": "send results by STOW-RS to this DICOMweb service; several may follow"}
    )
    output: str | None = field(default=None, metadata={"help": "write results into this folder"})
    cert: str | None = field(default=None, metadata={"help": "PEM file with our certificate: callers must use TLS"})
    key: str | None = field(default=None, metadata={"help": "PEM file with the certificate's key"})
    ca: str | None = field(
        default=None, metadata={"help": "PEM file of the authority that must have signed the peers' certificates"}
    )
    send_with_tls: bool = field(default=False, metadata={"help": "also use TLS towards the peers of --send-to"})
    max_object_mb: int = field(default=Limits().bytes // MIB, metadata={"help": "largest object, in MiB"})
    max_per_minute: int = field(default=0, metadata={"help": "objects that one host may send a minute; 0: any number"})
    max_spool_gb: float = field(default=50.0, metadata={"help": "films that the spool may hold, in GiB"})
    metrics_port: int = field(default=0, metadata={"help": "port of /metrics and /healthz; 0 for none"})
    metrics_host: str = field(default="127.0.0.1", metadata={"help": "address that they listen on"})
    device: str = field(default="cpu", metadata={"help": "torch device, such as cpu or cuda"})

    def __post_init__(self) -> None:
        if not (self.port or self.watch):
            raise ValueError("nothing would arrive; give --port to listen, --watch to watch a folder, or both")
        if not (self.send_to or self.stow or self.output):
            raise ValueError("the results would have no place; give --send-to, --stow or --output")
        if not 0 < len(self.title.strip()) <= 16:
            raise ValueError("--title is no AE title; give 1 to 16 characters")
        for url in self.stow or ():
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"--stow {url!r} is no web address; write https://host/dicom-web")
        if bool(self.cert) != bool(self.key) or (self.send_with_tls or self.ca) and not self.cert:
            raise ValueError("TLS needs --cert and --key")
        if self.port and not self.allow and not (self.ca or _is_loopback(self.host)):
            raise ValueError(f"--host {self.host} can be reached from outside; say who may call with --allow AE@host")


def run(arguments: Arguments) -> None:
    ended = threading.Event()
    judge, write, model = judge_of(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    # At their lowest level these would repeat values of the objects that pass.
    for name in ("pynetdicom", "dicomweb_client", "pydicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    serve(arguments, judge, write, model=model, ended=ended)


def serve(
    arguments: Arguments,
    judge: Judge,
    write: Writer,
    *,
    model: str,
    ended: threading.Event,
    ready: threading.Event | None = None,
) -> None:
    """Take films over and have them judged by ``judge`` until ``ended`` is set; ``model`` names what judges.

    ``ready`` is set once films may come.
    """
    peers, scp_options = _peers(arguments), _scp_options(arguments)
    metrics = Metrics()
    with ExitStack() as at_end:
        spool = Spool(arguments.spool, model=model, max_bytes=int(arguments.max_spool_gb * GIB))
        at_end.callback(spool.close)
        node = Node(spool, judge, write, Courier(spool, peers, metrics), metrics)
        if arguments.metrics_port:
            server = MetricsServer(metrics, node.trouble, host=arguments.metrics_host, port=arguments.metrics_port)
            server.start()
            at_end.callback(server.stop)
        at_end.callback(node.stop)
        node.start()
        if arguments.watch:
            watch = FolderWatch(Path(arguments.watch), spool, metrics, max_bytes=scp_options.max_object_bytes)
            at_end.callback(watch.stop)
            watch.start()
        if arguments.port:
            scp = StorageScp(spool, scp_options, metrics)
            at_end.callback(scp.stop)
            scp.start()
        logger.info("ready; %s", ", ".join(f"{n} {folder}" for folder, n in spool.lengths().items()))
        if ready:
            ready.set()
        ended.wait()
        logger.info("ending")


def judge_of(arguments: Arguments) -> tuple[Judge, Writer, str]:
    """The product's judge and writer, and what identifies the model: weights, thresholds and preprocessing."""
    from hf_pneumo.serving.dicom_outcome import write_outcome
    from hf_pneumo.serving.predictor import Predictor

    predictor = Predictor(arguments.checkpoint, device=arguments.device)

    def write(film: Path, outcome: Outcome, folder: Path, name: str) -> object:
        return write_outcome(film, outcome, folder, name=name)

    return predictor.predict, write, _model_digest(predictor.checkpoint)


def _model_digest(checkpoint: CheckpointFolder) -> str:
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        digest.update((checkpoint.path / name).read_bytes())
    return digest.hexdigest()


def _peers(arguments: Arguments) -> tuple[Peer, ...]:
    tls = tls_client(*_certificate(arguments)) if arguments.send_with_tls else None
    peers: list[Peer] = [StoragePeer.parse(address, arguments.title, tls) for address in arguments.send_to or ()]
    peers += [WebPeer(service) for service in arguments.stow or ()]
    peers += [FolderPeer(Path(arguments.output).absolute())] if arguments.output else []
    return named_once(peers)


def _scp_options(arguments: Arguments) -> ScpOptions:
    return ScpOptions(
        title=arguments.title,
        host=arguments.host,
        port=arguments.port,
        callers=callers(arguments.allow or ()),
        max_object_bytes=arguments.max_object_mb * MIB,
        max_per_minute=arguments.max_per_minute,
        tls=tls_server(*_certificate(arguments)) if arguments.cert else None,
    )


def _certificate(arguments: Arguments) -> tuple[str, str, str | None]:
    """Certificate, key and authority; ValueError where there are none that fit."""
    certificate, key = arguments.cert or "", arguments.key or ""
    for path in filter(None, (certificate, key, arguments.ca)):
        if not Path(path).is_file():
            raise ValueError(f"{path} is no file; give PEM files as --cert, --key and --ca")
    try:
        ssl.create_default_context(cafile=arguments.ca).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        sentence = f"--cert, --key and --ca do not fit ({error.reason}); give PEM files of one certificate"
        raise ValueError(sentence) from None
    return certificate, key, arguments.ca


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
