"""What is said of a checkpoint: figures at a threshold, counted by hand, the rows of like films, the shown map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.evaluation.explanations.localization import LocalizationReport, MethodMapReport, measure_maps
from hf_pneumo.reporting.checkpoint_report import Report

SHIPPED = Path(__file__).parents[2] / "space" / "checkpoints"


def test_rates_follow_the_share_of_ill_people() -> None:
    from operating import Rates

    rates = Rates(sensitivity=0.9, specificity=0.8)
    # Of 1,000 films 100 have it: 90 are found, 10 missed; of 900 without it 180 are called positive.
    assert (rates.missed(0.1), rates.false_alarms(0.1)) == (pytest.approx(10), pytest.approx(180))
    assert rates.wrong(0.1) == pytest.approx(190)
    assert rates.positive_predictive_value(0.1) == pytest.approx(90 / 270)
    assert rates.negative_predictive_value(0.1) == pytest.approx(720 / 730)
    assert Rates(0.0, 1.0).positive_predictive_value(0.5) is None
    assert Rates(1.0, 0.0).negative_predictive_value(0.5) is None


def test_films_are_counted_from_the_threshold_on() -> None:
    from operating import ScoredFilms

    films = ScoredFilms(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]), unknown=0)
    assert (films.at(0.4).sensitivity, films.at(0.4).specificity) == (1.0, 0.5)
    assert (films.at(0.41).sensitivity, films.at(0.41).specificity) == (0.5, 1.0)
    assert films.roc()[0] == (0.0, 0.0) and films.roc()[-1] == (1.0, 1.0) and (0.5, 1.0) in films.roc()
    assert sum(count for *_, count in films.reliability()) == 4 and films.prevalence == 0.5
    assert not ScoredFilms(np.ones(2), np.ones(2), unknown=0).has_both


@pytest.mark.parametrize("name", ["pneumonia-children", "pneumonia-adults"])
def test_at_its_own_threshold_the_page_says_what_the_results_file_says(name: str) -> None:
    from measured import Measured
    from operating import ScoredFilms

    from hf_pneumo.models.config import read_config

    config = read_config(SHIPPED / name)
    measured = Measured.of(SimpleNamespace(path=SHIPPED / name, config=config, name=name))
    films = measured.films["PNEUMONIA" if "PNEUMONIA" in measured.films else next(iter(measured.films))]
    assert isinstance(films, ScoredFilms)
    rates = films.at(config.operating_point.thresholds[0])
    assert rates.sensitivity == pytest.approx(measured.test.value("sensitivity"))
    assert rates.specificity == pytest.approx(measured.test.value("specificity"))
    assert measured.test.controls  # trivial models stand beside it


def test_adults_are_shown_beside_the_view_alone_and_like_films_are_marked() -> None:
    import html_trust
    from measured import Measured

    from hf_pneumo.models.config import read_config

    folder = SHIPPED / "pneumonia-adults"
    measured = Measured.of(SimpleNamespace(path=folder, config=read_config(folder), name=folder.name))
    (name, films), *_ = measured.films.items()
    text = html_trust.operating(films, measured.test, name, 0.5, 0.1)
    assert "view alone, AP or PA" in text and "this model, at this threshold" in text
    assert text.count('role="img"') == 2 and "ROC curve; area 0." in text
    film = SimpleNamespace(view="AP", age=45.0)
    rows = html_trust.groups(measured.report, film).split("<tr")
    marked = [row for row in rows if "like this film" in row]
    assert len(marked) == 4 and all("view AP" in row or "age 40 to 59" in row for row in marked)  # test and external
    assert "like this film" not in html_trust.groups(measured.report, None)


def test_the_map_that_is_shown_stands_beside_what_beats_it() -> None:
    import html_trust

    truths = np.ones((1, 4, 4), bool)
    figures = measure_maps(truths.astype(float), truths, ["a"], resamples=2)

    def row(value: float) -> MethodMapReport:
        found = replace(figures, films=66, pixel_auprc=Estimate(value, value - 0.1, value + 0.1))
        return MethodMapReport(**vars(found))

    report = LocalizationReport(
        baselines={"centre": row(0.3), "prior": row(0.5)},
        methods={"gradcam": row(0.1)},
        variants={"default": {"hirescam": row(0.4)}},
    )
    text = html_trust.shown_map(Report(localizations={"localization-nih512": report}), "hirescam", "default")
    assert "0.400" in text and "0.100" not in text and "no better than mean boxes of other patients" in text
    text = html_trust.shown_map(Report(localizations={"localization-nih512": report}), "layercam", "plain")
    assert "was never measured" in text
