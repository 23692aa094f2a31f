"""Boxes and masks from tables and pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.evaluation.explanations.annotations import boxes_by_image, mask_file, phantom_films, read_table

TABLE = "image,x,y,w,h,source\na.png,1,2,3,4,one\na.png,5,6,7,8,two\nb.png,,,,,one\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(TABLE)
    return path


def test_boxes_of_each_image_and_images_without(table):
    assert boxes_by_image(table) == {"a.png": [(1, 2, 3, 4), (5, 6, 7, 8)], "b.png": []}
    assert boxes_by_image(table, "two") == {"a.png": [(5, 6, 7, 8)]}


@pytest.mark.parametrize(("cells", "says"), [("a,b,3,4", "must be numbers"), ("1,2,0,4", "must be positive")])
def test_a_box_that_is_none_is_named_by_its_line(cells, says, tmp_path):
    (tmp_path / "x.csv").write_text(f"image,x,y,w,h\na.png,{cells}\n")
    with pytest.raises(ValueError, match=f"line 2: .*{says}"):
        boxes_by_image(tmp_path / "x.csv")


def test_a_missing_column_is_named(table):
    with pytest.raises(ValueError, match="finding"):
        read_table(table, ["finding"])


def test_a_mask_is_what_is_not_black(tmp_path):
    mask = np.zeros((160, 160), dtype=np.uint8)
    mask[:80, :40] = 200
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert mask_file(tmp_path / "mask.png", (16, 16)).sum() == pytest.approx(16 * 16 / 8, abs=8)


def test_half_of_the_phantoms_have_opacities(tmp_path):
    films = phantom_films(4, tmp_path)
    assert len(films) == 4 and sum(film.positive for film in films) == 2 and all(film.path.is_file() for film in films)
