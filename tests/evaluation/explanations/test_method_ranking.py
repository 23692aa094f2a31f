"""Which method a page shows first, and what it says beside it, from results files with known figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hf_pneumo.evaluation.explanations.localization import measure_maps
from hf_pneumo.evaluation.explanations.method_ranking import UNMEASURED, Evidence, read_evidence
from hf_pneumo.files import read_json, write_json


def row(value: float, lead: float = 0.01) -> dict:
    """Figures of a map whose lead over the centre is at least ``lead``, with 95 % certainty."""
    over = {"centre": {"pointing": {"value": lead + 0.05, "low": lead, "high": lead + 0.1}}}
    truths = np.zeros((1, 4, 4), bool)
    truths[0, 1] = True
    figures = measure_maps(truths.astype(float), truths, ["a"], resamples=2).to_json()
    return figures | {"pointing": {"value": value, "low": value - 0.1, "high": value + 0.1}, "over": over}


def localization(folder: Path, films: str, centre: float, **methods: float) -> None:
    report = {
        "methods": {name: row(value) for name, value in methods.items()}, "baselines": {"centre": row(centre)}
    }  # fmt: skip
    write_json(folder / "results" / f"localization-{films}.json", report)


def test_the_best_method_above_the_centre_comes_first(tmp_path):
    localization(tmp_path, "adults", 0.46, gradcam=0.50, layercam=0.52, cam=0.40, scorecam=0.9)
    evidence = read_evidence(tmp_path)
    # Score-CAM is slow and not offered.
    assert evidence.default(["gradcam", "layercam", "cam"]) == ("layercam", "plain")
    assert evidence.margin("layercam") == pytest.approx(0.06)
    assert evidence.caution("layercam") == ""
    assert "adults the map's maximum hits a box in 40% of films, the film's mere centre in 46%" in evidence.caution(
        "cam"
    )


def test_a_lead_that_may_be_chance_is_said(tmp_path):
    report = {"methods": {"gradcam": row(0.49, lead=-0.02)}, "baselines": {"centre": row(0.46)}}
    write_json(tmp_path / "results/localization-adults.json", report)
    caution = read_evidence(tmp_path).caution("gradcam")
    assert caution.startswith("Not clearly shown to locate") and "a lead whose 95 % interval holds zero" in caution


def test_the_films_where_a_method_does_worst_decide(tmp_path):
    localization(tmp_path, "adults", 0.46, gradcam=0.50, layercam=0.60)
    localization(tmp_path, "children", 0.30, gradcam=0.35, layercam=0.28)
    evidence = read_evidence(tmp_path)
    assert evidence.default(["gradcam", "layercam"]) == ("gradcam", "plain")
    assert "children" in evidence.caution("layercam")


def test_where_none_beats_the_centre_grad_cam_says_so(tmp_path):
    localization(tmp_path, "adults", 0.46, gradcam=0.38, layercam=0.46)
    evidence = read_evidence(tmp_path)
    assert evidence.default(["layercam", "gradcam"]) == ("gradcam", "plain")
    assert evidence.caution("gradcam").startswith("Not shown to locate")
    assert evidence.caution("layercam").startswith("Not shown to locate")
    assert evidence.caution("occlusion") == "How well such maps point was not measured for this checkpoint."


def test_a_refined_map_comes_first_where_it_points_best_and_is_offered(tmp_path):
    localization(tmp_path, "adults", 0.46, gradcam=0.50)
    path = tmp_path / "results/localization-adults.json"
    refined = {"lungs": {"gradcam": row(0.55)}, "smooth+lungs": {"gradcam": row(0.73)}, "crop": {"gradcam": row(0.9)}}
    write_json(path, read_json(path) | {"variants": refined})
    evidence = read_evidence(tmp_path)
    assert evidence.default(["gradcam"]) == ("gradcam", "plain")
    assert evidence.default(["gradcam"], ["plain", "lungs", "smooth+lungs"]) == ("gradcam", "smooth+lungs")
    assert evidence.caution("gradcam", "smooth+lungs") == ""
    assert evidence.caution("gradcam", "smooth").startswith("How well such maps point was not measured")


def test_without_measurements_nothing_is_claimed(tmp_path):
    evidence = read_evidence(tmp_path)
    assert evidence == Evidence({}, {})
    assert evidence.default(["layercam", "gradcam"]) == ("gradcam", "plain")
    assert evidence.caution("gradcam") == UNMEASURED


def test_methods_that_failed_the_sanity_check_are_named(tmp_path):
    checked = {name: {"films": 1, "levels": [], "passes": name == "gradcam"} for name in ("gradcam", "eigencam")}
    write_json(tmp_path / "results" / "faithfulness-a.json", {"randomisation": checked})
    write_json(tmp_path / "results" / "faithfulness-b.json", {"faithfulness": {}})
    assert read_evidence(tmp_path).failing == {"eigencam"}


def test_a_damaged_file_is_left_out(tmp_path):
    localization(tmp_path, "adults", 0.46, gradcam=0.50)
    (tmp_path / "results" / "localization-torn.json").write_text('{"methods": {')
    write_json(tmp_path / "results" / "localization-odd.json", {"methods": {"gradcam": row(0.1)}})
    assert set(read_evidence(tmp_path).pointing) == {"adults"}
