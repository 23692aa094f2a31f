"""The table of what serving costs, from the committed figures."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.benchmark_serve import serve_table
from hf_pneumo.cli.checkout import repository
from hf_pneumo.files import read_json

STORED = repository() / "results" / "benchmark-serve.json"


@pytest.mark.skipif(not STORED.is_file(), reason="serving was not measured in this checkout")
def test_every_checkpoint_has_its_column():
    stored = read_json(STORED)
    text = serve_table(stored)
    assert all(row["checkpoint"] in text for row in stored["rows"])
