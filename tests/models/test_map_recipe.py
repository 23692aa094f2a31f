"""How a checkpoint's maps are made."""

from __future__ import annotations

import json

import pytest

from hf_pneumo.models.map_recipe import MapRecipe


def test_there_and_back_through_json():
    recipe = MapRecipe("hirescam", "stride16", ("A", "B"), (224, 448), "flips", (1.0, -2.0), True)
    assert MapRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_only_what_is_set_is_an_option():
    assert MapRecipe().options == {"smoothing": "none", "offset": (0.0, 0.0)}
    assert MapRecipe(layer="stride8", sizes=(224,)).options.keys() == {"smoothing", "offset", "layer", "sizes"}


def test_an_unknown_key_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match="'layers'.*known are .*layer"):
        MapRecipe.from_dict({"layers": "x"})
