"""Files appear whole or not at all."""

from __future__ import annotations

import pytest

from hf_pneumo.files import read_json, replacing, write_json


def test_what_fails_halfway_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"x": 1} and list(path.parent.iterdir()) == [path]


def test_json_is_utf_8_and_ends_its_last_line(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Müller"})
    assert (tmp_path / "a.json").read_bytes().endswith('Müller"\n}\n'.encode())


def test_what_is_no_json_is_a_value_error(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")
