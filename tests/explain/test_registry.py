"""The methods by name."""

from __future__ import annotations

import pytest

from hf_pneumo.explain.registry import find, methods


def test_quick_ones_come_first_and_every_name_finds_its_method():
    costs = [method.cost for method in methods().values()]
    assert costs[0] == "quick" and set(costs) == {"quick", "moderate", "slow"}
    assert all(find(name) is method or find(name) == method for name, method in methods().items())


def test_options_are_the_methods_own():
    assert find("gradcam").options == () and find("gradcam").accepts("layer")
    assert {"window", "stride"} <= set(find("occlusion").options) and not find("occlusion").accepts("layer")


def test_an_unknown_name_is_told_with_all():
    with pytest.raises(ValueError, match="'gradcan' is unknown; allowed are gradcam, "):
        find("gradcan")
