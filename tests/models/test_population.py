"""For whom a model is: films outside are named, unknown ages and views are not."""

from __future__ import annotations

import pytest

from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.models.population import Population

ADULTS = Population((18, 90), ("AP", "PA"), ("one hospital",))
CHILDREN = Population((1, 5), ("AP",), ("another",))


@pytest.mark.parametrize(
    ("who", "age", "view", "said"),
    [
        (ADULTS, 18, "PA", []),
        (ADULTS, 17.9, "AP", ["under 18"]),
        (ADULTS, 90.5, None, []),
        (ADULTS, 91, None, ["over 90"]),
        (CHILDREN, None, "PA", ["PA view"]),
        (CHILDREN, 40, "PA", ["over 5", "PA view"]),
        (CHILDREN, None, None, []),
        (CHILDREN, 3, "LATERAL", []),  # said by the reader already
    ],
)
def test_what_lies_outside_is_said(who, age, view, said):
    sentences = who.outside(age, view)
    assert len(sentences) == len(said) and all(word in s for word, s in zip(said, sentences, strict=True))


def test_both_survive_json():
    recipe = MapRecipe("hirescam", "stride16", ("LUNG OPACITY", "NORMAL"), (128, 256), "flips", (-7.5, 0.0), True)
    assert MapRecipe.from_dict(recipe.to_dict()) == recipe and Population.from_dict(ADULTS.to_dict()) == ADULTS
    with pytest.raises(ValueError, match="layers"):
        MapRecipe.from_dict({"layers": "stride16"})
    with pytest.raises(ValueError, match="ages"):
        Population.from_dict({"ages": [1, 2]})
