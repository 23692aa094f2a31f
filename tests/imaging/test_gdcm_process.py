"""GDCM in a process of its own: samples out, or an end that does no harm."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hf_pneumo.imaging import gdcm_process

pytest.importorskip("gdcm")
HEADER = {
    "rows": 2, "columns": 2, "samples": 1, "allocated": 8, "stored": 8, "signed": 0, "photometric": "MONOCHROME2",
    "syntax": "1.2.840.10008.1.2.4.70",
}  # fmt: skip


def test_what_is_no_frame_gives_no_samples():
    call = [sys.executable, gdcm_process.__file__]
    done = subprocess.run(call, input=json.dumps(HEADER).encode() + b"\n" + bytes(16), capture_output=True, timeout=60)
    assert len(done.stdout) != 4 or not any(done.stdout)
