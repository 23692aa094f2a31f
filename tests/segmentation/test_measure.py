"""Dice and folds: values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.imaging.lungs import LungField
from hf_pneumo.segmentation.measure import FilmScore, dice, milliseconds, patient_folds, score, summary
from hf_pneumo.segmentation.samples import drawn_phantoms


def test_dice_by_hand():
    a, b = np.zeros((2, 4, 4), bool)
    a[:, :2], b[:2] = True, True
    assert dice(a, b) == 0.5 and dice(a, a) == 1 and dice(a, ~a) == 0
    assert dice(a & ~a, b & ~b) == 1


def test_a_finder_that_knows_the_answer_scores_one_and_disputed_places_do_not_count():
    samples = drawn_phantoms(3, 1)
    fields = iter([LungField(lungs[::2, ::2].astype(np.float32), 1.0) for lungs in samples.lungs])
    measured = summary(score(samples, lambda film: next(fields)))
    assert measured.mean > 0.97 and measured.films == measured.found == 3 and measured.inside > 0.97
    samples.trusted[:] = samples.lungs
    assert summary(score(samples, lambda film: LungField(np.zeros((80, 80), np.float32), 0.0))).mean == 1.0


def test_the_summary_is_of_the_scores():
    figures = summary([FilmScore(0.0, 0.5, False), *[FilmScore(1.0, 0.5, True)] * 3])
    assert (figures.mean, figures.median, figures.inside, figures.found) == (0.75, 1.0, 0.5, 3)
    assert figures.tenth == pytest.approx(0.3)


def test_no_patient_lies_on_both_sides_of_a_fold():
    patients = np.array(list("aabbbccdde"))
    seen = []
    for train, test in patient_folds(patients, 3):
        assert not set(patients[train]) & set(patients[test])
        seen += test.tolist()
    assert sorted(seen) == list(range(10))
    with pytest.raises(ValueError, match="at most 5"):
        list(patient_folds(patients, 6))


def test_every_size_of_film_is_timed():
    times = milliseconds(lambda film: LungField(np.zeros((80, 80), np.float32), 0.0))
    assert list(times) == ["224 x 224", "512 x 512", "2000 x 2000"] and all(t >= 0 for t in times.values())
