"""Shards: rows come back as they were written, whatever the path, and a damaged shard is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hf_pneumo.explain.box import Box
from hf_pneumo.serving.shards import Key, Row, ShardError, Shards, read_key, read_shard

KEY = Key("pneumonia", "abc", "d1", ("NORMAL", "PNEUMONIA"))


def test_rows_come_back_as_they_were(tmp_path):
    odd = os.fsdecode(b'films/\xe4\n,".dcm')
    rows = [
        Row(odd, "a" * 64, "judged", "", "pneumonia", (0.25, 0.75), (Box(1, 2, 3, 4, 0.5),), ("one", "two"), 1.5),
        Row("b", "", "error", "cannot be read: Permission denied"),
        Row("c", "c" * 64, "not judged", "no content"),
    ]
    with Shards(tmp_path, KEY) as shards:
        for row in rows:
            shards.add(row)
    (file,) = tmp_path.glob("shard-*.parquet")
    assert read_shard(file) == rows and read_key(file) == KEY
    assert read_shard(file, rows=[2, 1]) == [rows[2], rows[1]]


def test_what_is_no_shard_is_told(tmp_path):
    (tmp_path / "shard-000000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ShardError, match="is no shard .*take it away"):
        Shards(tmp_path, KEY, resume=True)


def test_half_a_shard_of_a_killed_run_is_taken_away(tmp_path):
    (tmp_path / "shard-000000.parquet.part").write_bytes(b"PAR1")
    with Shards(tmp_path, KEY) as shards:
        assert len(shards) == 0 and list(shards.missing([Path("a")])) == [Path("a")]
    assert not list(tmp_path.glob("*.part"))
