"""A real archive on this machine: films sent to it and to a node are judged, and results lie in their studies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pacs_parts import film, free_port, uid_of

from hf_pneumo.cli import listen
from hf_pneumo.imaging.phantom import make_phantom

CHECKPOINT = Path(__file__).resolve().parents[2] / "space" / "checkpoints" / "pneumonia-children"
ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = [name for name, there in {
    "Orthanc": ORTHANC,
    "orthanc-dicomweb": PLUGIN.exists(),
    "dcmsend (apt: dcmtk)": shutil.which("dcmsend"),
    "dciodvfy (apt: dicom3tools)": shutil.which("dciodvfy"),
}.items() if not there]  # fmt: skip
if MISSING and not os.environ.get("REQUIRE_ORTHANC"):
    pytest.skip(f"not installed: {', '.join(MISSING)}", allow_module_level=True)

FILMS = 6


class Orthanc:
    """The archive: DICOM and HTTP on loopback ports, its files in a temporary folder."""

    def __init__(self, folder: Path, node_port: int):
        self.http, self.dicom = free_port(), free_port()
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomModalities": {"node": ["HF_PNEUMO", "127.0.0.1", node_port]},
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.process = subprocess.Popen([ORTHANC, str(folder / "orthanc.json")], stderr=subprocess.PIPE, text=True)
        assert any("Orthanc has started" in line for line in self.process.stderr)
        threading.Thread(target=self.process.stderr.read, daemon=True).start()  # else its pipe would fill

    def ask(self, place: str, body: str | None = None) -> bytes:
        data = None if body is None else body.encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{place}", data, timeout=120) as answer:
            return answer.read()

    def send_on(self, uid: str) -> None:
        """Send an object to the node, as a rule of the archive would."""
        (found,) = json.loads(self.ask("/tools/lookup", uid))
        self.ask("/modalities/node/store", found["ID"])

    def studies(self) -> dict[str, list[tuple[str, bytes]]]:
        """By study, the modality and the file of each instance."""
        found: dict[str, list[tuple[str, bytes]]] = {}
        for instance in json.loads(self.ask("/instances")):
            tags = json.loads(self.ask(f"/instances/{instance}/simplified-tags"))
            content = self.ask(f"/instances/{instance}/file")
            found.setdefault(tags["StudyInstanceUID"], []).append((tags["Modality"], content))
        return found


@pytest.fixture
def node_port() -> int:
    return free_port()


@pytest.fixture
def archive(tmp_path: Path, node_port: int) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path, node_port)
    yield server
    server.process.terminate()
    server.process.wait(30)


def dcmsend(port: int, title: str, *paths: Path) -> None:
    subprocess.run(["dcmsend", "-aet", "SENDER", "-aec", title, "127.0.0.1", str(port), *map(str, paths)], check=True)


def complaints(path: Path) -> str:
    """What the validator says of a file's conformance."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in lines if line.startswith(("Error", "Warning")))


def films(folder: Path) -> list[Path]:
    paths = []
    for number in range(FILMS):
        pixels = make_phantom(number, size=256, opacities=number % 2).film.gray8
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(film(number, pixels))
    return paths


@contextmanager
def node_running(arguments: listen.Arguments) -> Iterator[None]:
    judge, write, model = listen.judge_of(arguments)
    ready, ended = threading.Event(), threading.Event()
    events = {"model": model, "ended": ended, "ready": ready}
    thread = threading.Thread(target=listen.serve, args=(arguments, judge, write), kwargs=events)
    thread.start()
    try:
        assert ready.wait(60)
        yield
    finally:
        ended.set()
        thread.join(30)


def wait_until_done(spool: Path, count: int) -> None:
    """Until `count` objects have been passed over, or their results have reached every peer."""
    end = time.monotonic() + 300
    while len(list(spool.glob("done/*/*.json"))) < count:
        assert time.monotonic() < end, f"{[str(path.relative_to(spool)) for path in spool.rglob('*')]}"
        threading.Event().wait(0.2)


def test_results_are_back_in_their_studies_and_conform(archive: Orthanc, node_port: int, tmp_path: Path) -> None:
    paths, hand = films(tmp_path), tmp_path / "hand.dcm"
    hand.write_bytes(film("hand", BodyPartExamined="HAND"))
    arguments = listen.Arguments(
        checkpoint=str(CHECKPOINT),
        spool=str(tmp_path / "spool"),
        port=node_port,
        allow=["SENDER@127.0.0.1", "ORTHANC@127.0.0.1"],
        send_to=[f"ORTHANC@127.0.0.1:{archive.dicom}"],
        stow=[f"http://127.0.0.1:{archive.http}/dicom-web"],
    )
    dcmsend(archive.dicom, "ORTHANC", *paths, hand)
    with node_running(arguments):
        dcmsend(node_port, "HF_PNEUMO", *paths[:3], hand)
        for number in range(3, FILMS):
            archive.send_on(uid_of(number))
        wait_until_done(tmp_path / "spool", FILMS + 1)
    records = [json.loads(path.read_text()) for path in (tmp_path / "spool").glob("done/*/*.json")]
    assert sorted(record["status"] for record in records) == ["judged"] * FILMS + ["passed over"]
    assert list((tmp_path / "spool" / "failed").iterdir()) == []
    studies = archive.studies()
    for number in range(FILMS):  # each once, though it was sent by C-STORE and by STOW-RS
        assert sorted(kind for kind, _ in studies[uid_of(f"study {number}")]) == ["CR", "OT", "SR"]
    assert [kind for kind, _ in studies[uid_of("study hand")]] == ["CR"]
    for kind, content in (pair for study in studies.values() for pair in study):
        if kind != "CR":
            (tmp_path / "result.dcm").write_bytes(content)
            assert complaints(tmp_path / "result.dcm") == ""
