"""Every test runs without network, account or the user's own cache; the Hub is a server on this machine.

All of it must be in the environment before the first import of a Hugging Face library."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hub_server import HubServer

TESTS = Path(__file__).parent
SCRATCH = Path(tempfile.mkdtemp(prefix="hf_pneumo-tests-"))
CONTACTS = SCRATCH / "contacts.txt"
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

# Reserved now, answered only once a test asks for the Hub: until then connections are refused at once.
# The protocol is named because asyncio switches off the 40 ms delay of small packets only then.
RESERVED = socket.socket(proto=socket.IPPROTO_TCP)
RESERVED.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
RESERVED.bind(("127.0.0.1", 0))

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the cores already
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if "huggingface_hub" in sys.modules:
    raise RuntimeError("huggingface_hub was imported before tests/conftest.py could set its environment.")
for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE"):
    os.environ.pop(name, None)
os.environ.update(
    HF_ENDPOINT=f"http://127.0.0.1:{RESERVED.getsockname()[1]}",
    HF_HOME=str(SCRATCH / "hf"),
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_UPDATE_CHECK="1",
    HF_UPDATE_DOWNLOAD_COUNTS="0",
    GRADIO_ANALYTICS_ENABLED="False",
    HF_PNEUMO_CONTACTS=str(CONTACTS),
    NO_PROXY="127.0.0.1,localhost",
    no_proxy="127.0.0.1,localhost",
    PYTHONPATH=os.pathsep.join(filter(None, (str(TESTS / "offline"), os.environ.get("PYTHONPATH")))),
)
sys.path[:0] = [str(TESTS), str(TESTS / "offline")]

import offline_guard  # noqa: E402

CONTACTS.touch()
offline_guard.install()


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """For tests of what surrounds them: intervals from twenty draws instead of a thousand, and no figures."""
    from hf_pneumo.evaluation import bootstrap
    from hf_pneumo.reporting import figures

    draw = bootstrap._draws
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_draws", lambda patients, count: draw(patients, min(count, 20)))
        patch.setattr(figures, "write_figure", lambda figure, path: path)
        yield


@pytest.fixture(autouse=True)
def no_other_host() -> Iterator[None]:
    """Fail the test that made this process, or a child, try to reach another machine."""
    before = CONTACTS.stat().st_size
    yield
    with CONTACTS.open(encoding="utf-8") as stream:
        stream.seek(before)
        assert not (contacts := stream.read()), f"contacted other hosts: {contacts}"


@pytest.fixture
def contacts() -> Path:
    """The list of attempts to reach other hosts."""
    return CONTACTS


@pytest.fixture(scope="session")
def hub_server() -> Iterator[HubServer]:
    """The loopback Hub at HF_ENDPOINT, started for the first test that asks for it."""
    from hub_server import HubServer

    server = HubServer(SCRATCH / "hub", RESERVED)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hub(hub_server: HubServer) -> Iterator[HubServer]:
    """The loopback Hub, emptied, up and without faults."""
    hub_server.reset()
    yield hub_server
    hub_server.reset()
