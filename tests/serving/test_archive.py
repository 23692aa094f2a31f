"""The archive: every file accounted for, whatever it does to its decoder, and a killed run goes on where it was."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import archive_scorers

from hf_pneumo.serving.archive import Scorer, score_archive
from hf_pneumo.serving.shards import Key, Row, ShardError, Shards, read_shard

KEY = Key("pneumonia", "abc", "d1", ("NORMAL", "PNEUMONIA"))


def scorer(folder: Path, key: Key = KEY) -> Scorer:
    return Scorer(archive_scorers.make, (str(folder / "calls"),), key)


def rows(output: Path) -> dict[str, Row]:
    every = [row for shard in sorted(output.glob("shard-*.parquet")) for row in read_shard(shard)]
    assert len({row.path for row in every}) == len(every)  # nothing doubled
    return {row.path: row for row in every}


def write(folder: Path, contents: dict[bytes, bytes]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        with open(os.fsencode(folder) + b"/" + name, "wb") as stream:
            stream.write(content)
    return [folder / os.fsdecode(name) for name in contents]


def test_every_file_has_a_row_whatever_it_does_to_its_decoder(tmp_path):
    contents = {b"%d.dcm" % i: b"film %d" % i for i in range(20)}
    contents |= {b"c": b"crash", b"h": b"hang", b"m": b"hungry", b"w": b"wrong", b"p": b"page", b"\xe4\n": b"odd name"}
    paths = [*write(tmp_path / "films", contents), tmp_path / "films" / "gone"]
    summary = score_archive(paths, scorer(tmp_path), tmp_path / "out", workers=2, seconds=5)
    answers = rows(tmp_path / "out")
    assert set(answers) == {str(path) for path in paths}
    assert summary.statuses == {"judged": 21, "not judged": 1, "error": 5} and summary.films == 27
    reason = {Path(path).name: row.reason for path, row in answers.items() if row.status == "error"}
    assert reason["c"] == "its decoder died (signal 11)" and reason["h"] == "its decoder took more than 5 seconds"
    assert reason["m"] == "its decoder needs more memory than it may take"
    assert reason["w"] == "KeyError: 'tag\\n(0028,0010)'" and reason["gone"].startswith("cannot be read: No such file")
    judged = answers[str(tmp_path / "films" / "3.dcm")]
    assert judged.probabilities == pytest.approx((0.94, 0.06)) and judged.boxes[0].w == 3
    assert judged.notes == ("a note",) and judged.seconds > 0 and len(judged.sha256) == 64


def test_a_film_that_is_known_is_not_scored_again(tmp_path):
    paths = write(tmp_path / "films", {b"a": b"film", b"b": b"other"})
    score_archive(paths, scorer(tmp_path), tmp_path / "out", workers=1)
    twins = write(tmp_path / "films", {b"c": b"film", b"d": b"third"})
    summary = score_archive([*paths, *twins], scorer(tmp_path), tmp_path / "out", workers=1, resume=True)
    assert (summary.known, summary.films) == (2, 2)
    calls = (tmp_path / "calls").read_bytes().split(b"\n")[:-1]
    assert sorted(calls) == [b"film", b"other", b"third"]
    answers = rows(tmp_path / "out")
    assert answers[str(paths[0])].probabilities == answers[str(twins[0])].probabilities


def test_shards_of_another_model_or_of_another_run_are_left_alone(tmp_path):
    paths = write(tmp_path / "films", {b"a": b"film"})
    score_archive(paths, scorer(tmp_path), tmp_path / "out", workers=1)
    with pytest.raises(ShardError, match="--resume"):
        score_archive(paths, scorer(tmp_path), tmp_path / "out")
    with pytest.raises(ShardError, match="of pneumonia .revision abc., not of other"):
        score_archive(paths, scorer(tmp_path, Key("other", "", "d1", KEY.labels)), tmp_path / "out", resume=True)


def test_the_index_follows_the_shards(tmp_path):
    with Shards(tmp_path, KEY, rows=2) as shards:
        for name in "abcde":
            shards.add(Row(name, name * 64, "error", "x"))
    assert len(list(tmp_path.glob("shard-*"))) == 3
    (tmp_path / "index.sqlite").unlink()
    with Shards(tmp_path, KEY, resume=True) as shards:
        assert len(shards) == 5 and list(shards.missing([Path("a"), Path("f")])) == [Path("f")]
    (tmp_path / "shard-000001.parquet").unlink()  # c and d
    with Shards(tmp_path, KEY, resume=True) as shards:
        assert list(shards.missing(map(Path, "abcde"))) == [Path("c"), Path("d")]


def test_a_shard_that_cannot_be_written_keeps_those_before_it(tmp_path, monkeypatch):
    from hf_pneumo.serving import shards as module

    paths = write(tmp_path / "films", {b"%d" % i: b"film %d" % i for i in range(5)})
    real, written = module.pq.write_table, []

    def full(table, path):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        real(table, path)

    monkeypatch.setattr(module, "SHARD_ROWS", 2)
    monkeypatch.setattr(module.Shards.__init__, "__kwdefaults__", {"resume": False, "rows": 2})
    monkeypatch.setattr(module.pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        score_archive(paths, scorer(tmp_path), tmp_path / "out", workers=1)
    assert len(rows(tmp_path / "out")) == 2 and not list((tmp_path / "out").glob("*.part"))
    monkeypatch.setattr(module.pq, "write_table", real)
    summary = score_archive(paths, scorer(tmp_path), tmp_path / "out", workers=1, resume=True)
    assert (summary.known, summary.films) == (2, 3) and len(rows(tmp_path / "out")) == 5


KILLED = """
import sys; from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
import archive_scorers
from hf_pneumo.serving import shards
from hf_pneumo.serving.archive import Scorer, score_archive
shards.Shards.__init__.__kwdefaults__["rows"] = 7
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    key = shards.Key("pneumonia", "abc", "d1", ("NORMAL", "PNEUMONIA"))
    score_archive(sorted((folder / "films").iterdir()), Scorer(archive_scorers.make, (str(folder / "calls"),), key),
                  folder / "out", workers=2, resume=True)
"""


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_run_that_is_killed_goes_on(tmp_path, moment):
    paths = write(tmp_path / "films", {b"%03d" % i: b"film %d" % i for i in range(60)})
    program = tmp_path / "program.py"
    program.write_text(KILLED.format(tests=str(Path(__file__).parent), root=str(Path(__file__).parents[2])))
    running = subprocess.Popen([sys.executable, str(program), str(tmp_path)], start_new_session=True)
    shards = 1 + 2 * moment
    while running.poll() is None and len(list((tmp_path / "out").glob("shard-*"))) < shards:
        time.sleep(0.005)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    subprocess.run([sys.executable, str(program), str(tmp_path)], check=True)
    assert set(rows(tmp_path / "out")) == {str(path) for path in paths}


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tmp_path):
    contents = {b"%03d" % i: b"film %d" % i for i in range(400)} | {b"c": b"crash", b"m": b"hungry", b"w": b"wrong"}
    paths = write(tmp_path / "films", contents)
    program = tmp_path / "program.py"
    program.write_text(KILLED.format(tests=str(Path(__file__).parent), root=str(Path(__file__).parents[2])))
    words, chance, killed = [sys.executable, str(program), str(tmp_path)], random.Random(0), 0
    for _ in range(20):
        running = subprocess.Popen(words, start_new_session=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(chance.uniform(0.2, 6))
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            killed += 1
        running.wait()
    subprocess.run(words, check=True)
    score_archive(paths, scorer(tmp_path), tmp_path / "whole", workers=2)
    one, other = rows(tmp_path / "out"), rows(tmp_path / "whole")
    assert killed >= 10 and set(one) == set(other) == {str(path) for path in paths}
    assert {path: replace(row, seconds=0) for path, row in one.items()} == {
        path: replace(row, seconds=0) for path, row in other.items()
    }


@pytest.mark.slow
def test_a_disk_that_is_full_loses_nothing_that_was_written(tmp_path):
    paths = write(tmp_path / "films", {b"%03d" % i: b"film %d" % i for i in range(60)})
    (tmp_path / "out").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(tmp_path / "out")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        program = tmp_path / "program.py"
        program.write_text(KILLED.format(tests=str(Path(__file__).parent), root=str(Path(__file__).parents[2])))
        words = [sys.executable, str(program), str(tmp_path)]
        full = subprocess.run(words, capture_output=True, text=True)
        assert full.returncode and "OSError" in full.stderr.splitlines()[-1]
        before = rows(tmp_path / "out")
        assert 0 < len(before) < 60 and not list((tmp_path / "out").glob("*.part"))
        subprocess.run(["mount", "-o", "remount,size=10m", str(tmp_path / "out")], check=True)
        subprocess.run(words, check=True)
        assert set(rows(tmp_path / "out")) == {str(path) for path in paths}
    finally:
        subprocess.run(["umount", str(tmp_path / "out")], check=True)
