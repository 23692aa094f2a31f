"""The PACS node with a stand-in for its judge: what arrives, is refused and goes back, whenever a process ends."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pacs_parts
import pytest
from pacs_parts import Archive, StandIn, film, free_port, send, uid_of
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from hf_pneumo.serving.courier import FIRST_WAIT, LONGEST_WAIT, Courier, Owed
from hf_pneumo.serving.folder_watch import FolderWatch
from hf_pneumo.serving.metrics import Metrics, MetricsServer
from hf_pneumo.serving.node import Node
from hf_pneumo.serving.peers import DeliveryError, FolderPeer, StoragePeer
from hf_pneumo.serving.spool import Spool
from hf_pneumo.serving.storage_scp import (
    SPOOL_FULL,
    SUCCESS,
    TOO_LARGE,
    TOO_MANY,
    Caller,
    ScpOptions,
    StorageScp,
    callers,
    tls_client,
    tls_server,
)


class Parts:
    """A node whose judge and courier do one step when they are told to, and a listener in threads."""

    def __init__(self, folder: Path, *peers: object, **options: object):
        self.spool = Spool(folder / "spool", max_bytes=options.pop("max_bytes", 10**9))
        self.metrics, self.stand_in = Metrics(), StandIn()
        self.now = 1000.0
        self.courier = Courier(self.spool, peers, self.metrics, clock=lambda: self.now)
        self.node = Node(self.spool, self.stand_in.judge, self.stand_in.write, self.courier, self.metrics)
        options = ScpOptions(port=0, **options)
        self.scp = StorageScp(self.spool, options, self.metrics, clock=lambda: self.now)
        self.port = self.scp.start()

    def work_off(self) -> None:
        """Judge all that waits."""
        while self.node.work(0):
            pass


class FakePeer:
    """Takes what it is sent; raises what `answers` holds first."""

    def __init__(self, name: str = "peer", *answers: DeliveryError):
        self.name, self.answers, self.files = name, list(answers), []

    def send(self, path: Path) -> None:
        if self.answers:
            raise self.answers.pop(0)
        self.files.append((path.name, path.read_bytes()))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Parts]]:
    made: list[Parts] = []

    def build(*peers: object, **options: object) -> Parts:
        made.append(Parts(tmp_path, *(peers or (FakePeer(),)), **options))
        return made[-1]

    yield build
    for parts in made:
        parts.scp.stop()


def test_a_film_comes_back_as_picture_and_report_in_its_study(make, tmp_path: Path) -> None:
    with Archive() as archive:
        parts = make(StoragePeer.parse(archive.address, "HF_PNEUMO"))
        assert send(parts.port, film(1), film(2)) == [SUCCESS, SUCCESS]
        parts.work_off()
        for key in parts.spool.outgoing():
            parts.courier.deliver(parts.courier.peers[0], key)
    assert sorted(study for study, _ in archive.objects) == sorted([uid_of("study 1"), uid_of("study 2")] * 2)
    assert len({uid for _, uid in archive.objects}) == 4
    assert parts.spool.lengths() == {"incoming": 0, "working": 0, "outgoing": 0, "failed": 0} and parts.spool.bytes == 0
    assert parts.metrics.value("received_total", source="any") == 2 and parts.metrics.total("sent") == 4
    assert parts.metrics.value("judged_total", verdict="normal") == 2


def test_a_film_is_on_disk_before_it_is_acknowledged(make) -> None:
    parts = make()
    put, order = parts.spool.put, []
    parts.spool.put = lambda content: (put(content), order.append(parts.spool.lengths()["incoming"]))[0]
    assert send(parts.port, film()) == [SUCCESS] and order == [1]
    parts.spool.close()
    taken = Spool(parts.spool.folder).take(0)
    assert taken.path.read_bytes()[128:132] == b"DICM"


def test_a_film_sent_again_is_judged_once(make) -> None:
    parts = make()
    assert send(parts.port, film(), film()) == [SUCCESS, SUCCESS]
    parts.work_off()
    assert send(parts.port, film(), calling="OTHER") == [SUCCESS]
    parts.work_off()
    assert parts.stand_in.judged == [uid_of(1)]
    assert parts.metrics.total("received") == 1 and parts.metrics.total("repeated") == 2


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BodyPartExamined": "HAND"}, "another body part than the chest"),
        ({"Modality": "CT"}, "not a radiograph"),
        ({"Modality": "OT"}, "not a radiograph"),
        ({"ViewPosition": "LL"}, "lateral view"),
        ({"PatientOrientation": ["A", "F"], "ViewPosition": ""}, "lateral view"),
        ({"Modality": "DX", "PresentationIntentType": "FOR PROCESSING"}, "raw detector data"),
        ({"BodyPartExamined": "", "ViewPosition": ""}, None),
        ({"Modality": "DX", "BodyPartExamined": "PORT CHEST", "ViewPosition": "AP"}, None),
    ],
)
def test_what_is_no_chest_film_is_passed_over_with_a_reason(make, elements: dict, reason: str | None) -> None:
    parts = make()
    send(parts.port, film(**elements))
    parts.work_off()
    assert len(parts.stand_in.judged) == len(parts.spool.outgoing()) == (reason is None)
    assert parts.metrics.value("passed_over_total", reason=str(reason)) == (reason is not None)
    assert parts.spool.lengths()["incoming"] == parts.spool.lengths()["failed"] == 0


def test_a_film_that_is_not_judged_gets_a_report_alone(make) -> None:
    peer = FakePeer()
    parts = make(peer)
    send(parts.port, film(PixelData=b"\x01" * 256))
    parts.work_off()
    parts.courier.deliver(peer, parts.spool.outgoing()[0])
    assert [name for name, _ in peer.files] == [f"{uid_of(1)}-report.dcm"]
    assert parts.metrics.value("not_judged_total", reason="lateral") == 1


def test_a_film_that_cannot_be_read_is_set_aside_and_the_next_is_judged(make) -> None:
    parts = make()
    send(parts.port, film(1, PixelData=b"\0" * 256), film(2))
    parts.work_off()
    assert parts.spool.lengths()["failed"] == 1 and len(parts.spool.outgoing()) == 1
    (note,) = (parts.spool.folder / "failed").glob("*.json")
    assert json.loads(note.read_text()) == {"reason": "cannot be read: The film is damaged; export it again."}
    assert parts.metrics.value("failed_total", reason="cannot be read") == 1


def test_a_judge_that_breaks_costs_one_film_and_quotes_nothing(make, caplog) -> None:
    parts = make()
    caplog.set_level(logging.DEBUG, "hf_pneumo")

    def broken(path: Path) -> None:
        raise LookupError(pacs_parts.NAME)

    parts.node.judge = broken
    send(parts.port, film())
    parts.work_off()
    (note,) = (parts.spool.folder / "failed").glob("*.json")
    assert json.loads(note.read_text()) == {"reason": "the judge failed: LookupError"}
    assert pacs_parts.NAME not in caplog.text


def test_no_log_line_identifies_anybody(make, caplog) -> None:
    caplog.set_level(logging.DEBUG, "hf_pneumo")
    parts = make(FakePeer("peer", DeliveryError("the peer does not answer")))
    send(parts.port, film(1), film(2, BodyPartExamined="HAND"), film(3, PixelData=b"\0" * 256))
    parts.work_off()
    parts.courier.deliver(parts.courier.peers[0], parts.spool.outgoing()[0])
    assert len(caplog.records) == 4
    for secret in (pacs_parts.NAME, "Doe", "ID-7", "19600102", "A1", *map(uid_of, (1, 2, 3, "study 1"))):
        assert secret not in caplog.text


def test_a_full_disk_puts_the_film_back_and_tells(make, monkeypatch) -> None:
    parts = make()
    send(parts.port, film())

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(parts.node._stopping, "wait", lambda timeout: None)
    with monkeypatch.context() as patch:
        patch.setattr(parts.node, "write", no_room)
        parts.node.work(0)
    assert parts.spool.lengths() == {"incoming": 1, "working": 0, "outgoing": 0, "failed": 0}
    assert parts.node._trouble == "results cannot be written (No space left on device)"
    parts.work_off()
    assert len(parts.spool.outgoing()) == 1 and parts.node._trouble == ""


def test_a_full_spool_or_disk_is_told_to_the_sender(make, monkeypatch) -> None:
    parts = make(max_bytes=len(film(1)) + 500)
    assert send(parts.port, film(1), film(2)) == [SUCCESS, SPOOL_FULL]
    parts.work_off()

    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_room)
        assert send(parts.port, film(2)) == [SPOOL_FULL]
    assert send(parts.port, film(2)) == [SUCCESS]
    assert parts.metrics.value("refused_total", reason="no room in the spool") == 2


def test_an_object_over_the_limit_is_refused_and_one_far_over_it_breaks_off(make) -> None:
    parts = make(max_object_bytes=30_000)
    large = film(2, Rows=200, Columns=200, PixelData=b"\x64" * 40_000)
    huge = film(3, Rows=1000, Columns=1000, PixelData=b"\x64" * 1_000_000)
    assert send(parts.port, film(1), large, film(4)) == [SUCCESS, TOO_LARGE, SUCCESS]
    assert send(parts.port, huge) == [None]
    assert parts.metrics.value("refused_total", reason="object is too large") == 2
    assert parts.spool.lengths()["incoming"] == 2


def test_a_peer_may_send_so_many_objects_a_minute(make) -> None:
    parts = make(max_per_minute=2)
    assert send(parts.port, film(1), film(2), film(3)) == [SUCCESS, SUCCESS, TOO_MANY]
    parts.now += 61
    assert send(parts.port, film(3)) == [SUCCESS]


@pytest.mark.parametrize(
    ("allowed", "calling", "accepted"),
    [
        ((), "ANYBODY", True),
        (("SENDER",), "SENDER", True),
        (("SENDER@127.0.0.1",), "SENDER", True),
        (("OTHER@10.0.0.1", "SENDER@localhost"), "SENDER", True),
        (("SENDER@127.0.0.1",), "STRANGER", False),
        (("SENDER@10.0.0.1",), "SENDER", False),
    ],
)
def test_who_may_call(make, allowed: tuple[str, ...], calling: str, accepted: bool) -> None:
    parts = make(callers=callers(allowed))
    assert send(parts.port, film(), calling=calling) == ([SUCCESS] if accepted else [])
    assert parts.metrics.value("refused_total", reason="peer is not allowed") == (not accepted)
    assert parts.spool.lengths()["incoming"] == accepted


def test_a_call_for_another_title_is_rejected(make) -> None:
    assert send(make().port, film(), called="SOMEBODY") == []


@pytest.mark.parametrize("text", ["", "@10.0.0.1", "PACS@", "A" * 17])
def test_a_caller_that_names_nobody_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="--allow"):
        Caller.parse(text)


def test_echo_is_answered(make) -> None:
    entity = AE("SENDER")
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", make().port, ae_title="HF_PNEUMO")
    assert association.send_c_echo().Status == SUCCESS
    association.release()


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[str, str]:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    names = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", names[0], "-keyout", names[1]]
    subprocess.run(command, check=True, capture_output=True)
    return names


def test_with_tls_only_a_peer_with_a_certificate_gets_in(make, certificate) -> None:
    parts = make(tls=tls_server(*certificate, certificate[0]))
    trusting = tls_client(*certificate, certificate[0])
    assert send(parts.port, film(1), tls=(trusting, "127.0.0.1")) == [SUCCESS]
    without = ssl.create_default_context(cafile=certificate[0])
    assert send(parts.port, film(2), tls=(without, "127.0.0.1")) == []
    assert send(parts.port, film(3)) == []
    assert send(parts.port, film(4), tls=(trusting, "127.0.0.1")) == [SUCCESS], "others do not stop the listener"


def test_results_are_sent_with_tls(make, certificate, tmp_path: Path) -> None:
    receiver = make(tls=tls_server(*certificate, certificate[0]))
    peer = StoragePeer.parse(f"HF_PNEUMO@127.0.0.1:{receiver.port}", "NODE", tls_client(*certificate, certificate[0]))
    (tmp_path / "result.dcm").write_bytes(film())
    peer.send(tmp_path / "result.dcm")
    assert receiver.spool.lengths()["incoming"] == 1


# --- delivery


def with_results(make, *peers: object) -> tuple[Parts, str]:
    parts = make(*peers)
    parts.spool.put(film())
    parts.work_off()
    return parts, parts.spool.outgoing()[0]


def owed_to(parts: Parts, key: str) -> list[Owed]:
    return [Owed.read(path) for path in (parts.spool.folder / "outgoing" / key).glob("owed-*.json")]


def test_attempts_are_put_off_longer_and_longer_and_remembered(make) -> None:
    away = [DeliveryError("the peer does not answer") for _ in range(12)]
    peer = FakePeer("peer", *away)
    parts, key = with_results(make, peer)
    waits = []
    for _ in away:
        parts.courier.deliver(peer, key)
        (owed,) = owed_to(parts, key)
        waits.append(owed.due - parts.now)
    assert waits == [min(LONGEST_WAIT, FIRST_WAIT * 2**n) for n in range(12)] and owed.attempts == 12
    parts.courier.deliver(peer, key)
    assert len(peer.files) == 2 and parts.spool.outgoing() == []
    assert parts.metrics.value("retried_total", peer="peer") == 12


def test_after_an_object_has_arrived_only_the_others_are_sent(make) -> None:
    peer = FakePeer()
    parts, key = with_results(make, peer)
    send_one = peer.send

    def send_then_break(path: Path) -> None:
        if peer.files:
            raise DeliveryError("the peer broke off")
        send_one(path)

    peer.send = send_then_break
    parts.courier.deliver(peer, key)
    (owed,) = owed_to(parts, key)
    assert len(owed.files) == 1 and len(peer.files) == 1
    peer.send = send_one
    parts.courier.deliver(peer, key)
    assert len({name for name, _ in peer.files}) == len(peer.files) == 2


def test_a_peer_that_is_away_holds_up_no_other(make) -> None:
    away, here = FakePeer("away", DeliveryError("the peer does not answer")), FakePeer("here")
    parts, key = with_results(make, away, here)
    parts.courier.deliver(away, key)
    parts.courier.deliver(here, key)
    assert len(here.files) == 2 and [owed.peer for owed in owed_to(parts, key)] == ["away"]
    parts.courier.deliver(away, key)
    assert here.files == away.files and parts.spool.record(key)["status"] == "judged"


def test_a_result_that_is_refused_for_good_is_set_aside_and_the_others_arrive(make) -> None:
    peer = FakePeer("peer", DeliveryError("the peer takes no such object", for_good=True))
    parts, key = with_results(make, peer)
    parts.courier.deliver(peer, key)
    assert [name for name, _ in peer.files] == [f"{uid_of(1)}-report.dcm"]
    aside = sorted(path.name for path in (parts.spool.folder / "failed").iterdir())
    assert aside == [f"{key}-{uid_of(1)}-heatmap.dcm", f"{key}-{uid_of(1)}-heatmap.json"]
    assert parts.spool.outgoing() == []


@pytest.mark.parametrize(
    ("status", "fault"),
    [(0x0000, None), (0xB000, None), (0xA700, False), (0x0110, False), (0xA900, True), (0xC000, True)],
)
def test_the_peer_s_status_says_whether_to_try_again(tmp_path: Path, status: int, fault: bool | None) -> None:
    StandIn.write(write(tmp_path / "film.dcm", film()), pacs_parts.StandInOutcome(), tmp_path, "x")
    with Archive(answers=[status]) as archive:
        peer = StoragePeer.parse(archive.address, "HF_PNEUMO")
        if fault is None:
            peer.send(tmp_path / "x-report.dcm")
        else:
            with pytest.raises(DeliveryError, match=f"{status:04X}") as failed:
                peer.send(tmp_path / "x-report.dcm")
            assert failed.value.for_good is fault
        with pytest.raises(DeliveryError, match="no such object") as failed:
            peer.send(tmp_path / "film.dcm")
        assert failed.value.for_good
    with pytest.raises(DeliveryError, match="does not answer") as failed:
        peer.send(tmp_path / "x-report.dcm")
    assert not failed.value.for_good


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("address", ["PACS", "PACS@host", "@host:104", "PACS@host:0", "PACS@host:99999", "A B@:1"])
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(ValueError, match="--send-to"):
        StoragePeer.parse(address, "HF_PNEUMO")


def test_a_courier_in_threads_delivers_what_the_last_process_left(make, tmp_path: Path) -> None:
    with Archive() as archive:
        parts, _ = with_results(make, StoragePeer.parse(archive.address, "HF_PNEUMO"))
        courier = Courier(parts.spool, parts.courier.peers, Metrics())
        courier.start()
        archive.wait_for(2)
        courier.stop(10)
    assert parts.spool.outgoing() == []


# --- folder


def test_a_folder_is_watched(make, tmp_path: Path) -> None:
    results = FolderPeer(tmp_path / "results")
    parts = make(results)
    folder = tmp_path / "films"
    (folder / "deep").mkdir(parents=True)
    watch = FolderWatch(folder, parts.spool, parts.metrics)
    path = write(folder / "deep" / "film", film(1)[:400])
    write(folder / "notes.txt", b"no film")
    assert watch.look() == 0, "a file may still grow"
    path.write_bytes(film(1))
    assert watch.look() == 0
    assert watch.look() == 1 and watch.look() == 0
    write(folder / "copy.dcm", film(1)), write(folder / "other.dcm", film(2))
    assert [watch.look(), watch.look()] == [0, 1]
    assert FolderWatch(folder, parts.spool, parts.metrics).look() == 0
    parts.work_off()
    for key in parts.spool.outgoing():
        parts.courier.deliver(results, key)
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert names == sorted(f"{uid_of(n)}-{kind}.dcm" for n in (1, 2) for kind in ("heatmap", "report"))
    assert parts.metrics.value("passed_over_total", reason="no DICOM image") == 1


def test_a_file_waits_while_the_spool_is_full(make, tmp_path: Path) -> None:
    parts = make(max_bytes=len(film(1)) + 100)
    (tmp_path / "films").mkdir()
    watch = FolderWatch(tmp_path / "films", parts.spool, parts.metrics)
    for number in (1, 2):
        write(tmp_path / "films" / f"{number}.dcm", film(number))
    assert [watch.look(), watch.look(), watch.look()] == [0, 1, 0]
    parts.work_off()
    assert watch.look() == 1


# --- metrics


def test_metrics_and_health_are_served(make) -> None:
    parts = make()
    send(parts.port, film(1), film(2, BodyPartExamined="HAND"))
    parts.node.work(0)
    server = MetricsServer(parts.metrics, lambda: trouble)
    server.start()
    trouble = ""
    text = get(server.port, "/metrics")[1]
    for line in (
        'hf_pneumo_received_total{source="any"} 2.0',
        'hf_pneumo_judged_total{verdict="normal"} 1.0',
        'hf_pneumo_queue{folder="incoming"} 1.0',
        'hf_pneumo_queue{folder="outgoing"} 1.0',
        "hf_pneumo_judge_seconds_count 1.0",
    ):
        assert line in text.splitlines()
    assert get(server.port, "/healthz") == (200, "ok\n") and get(server.port, "/")[0] == 404
    trouble = "the judge has ended"
    assert get(server.port, "/healthz") == (503, "the judge has ended\n")
    server.stop()


def get(port: int, place: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{place}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


# --- the process


class Process:
    """A node with the stand-in judge, in a process of its own."""

    def __init__(self, folder: Path, archive: Archive, seconds: float):
        self.port = free_port()
        words = [str(seconds), "--spool", str(folder), "--port", str(self.port), "--send-to", archive.address]
        command = [sys.executable, pacs_parts.__file__, *words]
        paths = os.pathsep.join([str(Path(pacs_parts.__file__).parents[1]), os.environ["PYTHONPATH"]])
        environment = os.environ | {"PYTHONPATH": paths}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log = [next(line for line in self.process.stderr if "ready" in line)]

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.log += self.process.communicate(timeout=20)[1].splitlines()
        return self.process.returncode


def test_kill_9_in_mid_stream_loses_and_doubles_nothing(tmp_path: Path) -> None:
    films = [film(number) for number in range(12)]
    expected = {uid_of(f"study {number}") for number in range(12)}
    with Archive() as archive:
        node = Process(tmp_path / "spool", archive, 0.05)
        acknowledged = send(node.port, *films[:9])
        archive.wait_for(5)
        assert node.end(signal.SIGKILL) == -signal.SIGKILL and acknowledged == [SUCCESS] * 9
        node = Process(tmp_path / "spool", archive, 0.05)
        assert send(node.port, *films) == [SUCCESS] * 12  # the sender does not know, and sends all again
        archive.wait_for(24)
        assert node.end(signal.SIGTERM) == 0
    assert {study for study, _ in archive.objects} == expected and len(set(archive.objects)) == 24
    assert len(archive.objects) <= 25, "only the object that was under way may come twice"
    spool = Spool(tmp_path / "spool", model="stand-in")
    assert spool.lengths() == {"incoming": 0, "working": 0, "outgoing": 0, "failed": 0}
    assert not any(pacs_parts.NAME in line or uid_of(1) in line for line in node.log)


def test_sigterm_gives_a_long_film_back(tmp_path: Path) -> None:
    with Archive() as archive:
        node = Process(tmp_path / "spool", archive, 600)
        assert send(node.port, film()) == [SUCCESS]
        assert node.end(signal.SIGTERM) == 0
    assert Spool(tmp_path / "spool", model="stand-in").take(0).attempt == 0 and archive.objects == []
