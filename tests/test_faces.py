"""What a package offers by name never hides a module of the same name."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import hf_pneumo


def test_every_module_can_be_reached_by_its_dotted_name() -> None:
    for found in pkgutil.walk_packages(hf_pneumo.__path__, "hf_pneumo."):
        module = import_module(found.name)
        place = hf_pneumo
        for name in found.name.split(".")[1:]:
            place = getattr(place, name)
        assert place is module, f"{found.name} is hidden by {place!r}"


def test_explanations_are_made_by_the_package_and_its_parts() -> None:
    import hf_pneumo.explain.cam as cam

    assert cam.cam_pass is hf_pneumo.explain.cam_pass
    assert callable(hf_pneumo.explain.explain) and callable(hf_pneumo.explain.cell_offset)
