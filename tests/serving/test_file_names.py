"""Names of new files: one for each input, short enough, and the input's own where that will do."""

from __future__ import annotations

import os
from pathlib import Path

from hf_pneumo.serving.file_names import LONGEST, content_name, exact_uri, output_names

ROOT = Path("films")


def test_a_stem_is_taken_where_it_is_the_only_one() -> None:
    files = [ROOT / "a.png", ROOT / "P1/IM1.dcm", ROOT / "P2/IM1.dcm", ROOT / "b.c.dcm"]
    assert list(output_names(files, ROOT).values()) == ["a", "P1_IM1.dcm", "P2_IM1.dcm", "b.c"]
    assert output_names([Path("films/a.png")], Path("films/a.png")) == {Path("films/a.png"): "a"}


def test_every_input_has_another_name_that_fits() -> None:
    odd = [b"a/b.png", b"a_b.png", b"A/b.png", b"c/a/b.png", b"c_a/b.png", b"\xe4.png", b"\xe5.png", b"1\n2.png",
           b"x" * 250 + b".png", b"x" * 251 + b".png", b"u-findings.png", b".a.png", "ü".encode() * 120]  # fmt: skip
    files = [ROOT / os.fsdecode(name) for name in odd]
    names = list(output_names(files, ROOT, reserved="-findings").values())
    assert len({name.casefold() for name in names}) == len(files)
    for name in names:
        assert len(name.encode()) <= LONGEST and name.isprintable() and not name.startswith(".")
        assert "/" not in name and not name.endswith("-findings")
    assert names == list(output_names(files, ROOT, reserved="-findings").values())


def test_a_hash_of_the_content_keeps_films_of_one_name_apart(tmp_path: Path) -> None:
    for folder, content in (("P1", b"1"), ("P2", b"2"), ("P3", b"1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "IM1").write_bytes(content)
    first, second, third = (content_name("IM1", tmp_path / folder / "IM1") for folder in ("P1", "P2", "P3"))
    assert first == third != second and first.startswith("IM1-")
    assert len(content_name("x" * 400, tmp_path / "P1/IM1")) <= LONGEST


def test_the_exact_path_is_given_where_the_name_cannot_be_shown() -> None:
    assert exact_uri(ROOT / "ü.png") == ""
    assert exact_uri(Path("/a") / os.fsdecode(b"\xe4.png")) == "file:///a/%E4.png"
    assert exact_uri(Path("/a/1\n2.png")) == "file:///a/1%0A2.png"
