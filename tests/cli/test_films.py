"""Which films a command reads."""

from __future__ import annotations

import pytest
from PIL import Image

from hf_pneumo.cli.films import find_films, open_films


def test_the_films_below_a_folder_and_a_remark_on_the_rest(tmp_path, caplog):
    Image.new("L", (8, 8)).save(tmp_path / "film.png")
    (tmp_path / "notes.txt").write_text("notes")
    with caplog.at_level("INFO", "hf_pneumo"):
        assert find_films(str(tmp_path)) == [tmp_path / "film.png"]
    assert "text" in caplog.text and open_films(str(tmp_path / "film.png")).films == (tmp_path / "film.png",)


def test_a_folder_without_films_and_one_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="holds no films: it is empty"):
        open_films(str(tmp_path))
    with pytest.raises(ValueError, match="`images` .*neither a file nor a folder"):
        open_films(str(tmp_path / "nothing"))
