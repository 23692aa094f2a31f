"""A slow job ends when its page says so, when the page begins another, and when it has taken its time."""

from __future__ import annotations

import time

import pytest
import slow_work
from comparison import Comparison, compare
from html_comparison import grid
from model_registry import Desk
from slow_work import Jobs, Stopped, seconds

from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.serving.predictor import Predictor


@pytest.fixture(scope="module")
def desk(sick) -> Desk:
    return Desk(Predictor(sick))


def test_a_page_stops_its_own_job_and_no_other() -> None:
    jobs = Jobs()
    mine, other = jobs.begin("mine"), jobs.begin("other")
    mine.check()
    jobs.stop("mine")
    with pytest.raises(Stopped, match=r"^Stopped\.$"):
        mine.check()
    again = jobs.begin("other")
    again.check()
    with pytest.raises(Stopped):
        other.check()  # of two jobs of a page the last is wanted


def test_a_job_ends_with_its_budget(monkeypatch) -> None:
    monkeypatch.setattr(slow_work, "BUDGET", -1.0)
    with pytest.raises(Stopped, match="the most that one job may take"):
        Jobs().begin("mine").check()


def test_how_long_a_method_takes_is_known_from_its_first_steps(desk, monkeypatch) -> None:
    monkeypatch.setattr(slow_work, "PROBE", 0.0)
    begun = time.perf_counter()
    estimate = seconds(desk, "lime")
    assert time.perf_counter() - begun < estimate  # it was not run to its end
    assert seconds(desk, "rollout") is None  # a convolutional network has no attention


def test_a_slow_method_stops_in_the_middle_and_what_was_done_stays(desk) -> None:
    film = make_phantom(8, size=128, opacities=1).film
    told = []

    def progress(model: str, title: str, share: float) -> None:
        told.append((title, share))
        if title == "Occlusion" and share > 0.6:
            raise Stopped

    cells = []
    with pytest.raises(Stopped):
        for cell in compare(film, {"sick": desk}, ["gradcam", "occlusion"], progress):
            cells.append(cell)
    assert [cell.method for cell in cells] == ["gradcam"] and told[-1][1] < 0.95


def test_maps_stand_in_a_grid_with_their_agreement(desk) -> None:
    film = make_phantom(8, size=128, opacities=1).film
    names = ["gradcam", "hirescam", "rollout"]
    cells = compare(film, {"one": desk, "two": desk}, names, lambda *_: None)
    comparison = Comparison({(cell.model, cell.method): cell for cell in cells})
    assert comparison.between_models("gradcam") == pytest.approx(1.0)  # twice the same network
    assert set(comparison.agreement("one")) <= {"Grad-CAM", "HiResCAM"}
    text = grid(comparison, {})
    assert text.count("data-choice=") == 4 and text.count("does not suit this network") == 2
    assert "Agreement between models" in text and 'data-choice="two|hirescam"' in text
