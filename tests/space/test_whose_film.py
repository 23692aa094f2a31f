"""Whose film it is chooses the checkpoint, and validation films say what a score was worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import whose_film
from model_registry import Shelf
from validation_films import Alike, ValidationFilms

from hf_pneumo.data.labels import PNEUMONIA, LabelSet
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.checkpoint import Checkpoint, load
from hf_pneumo.models.config import OperatingPoint
from hf_pneumo.models.population import Population
from hf_pneumo.serving.predictor import Predictor

CHILDREN = Population((1, 5), ("AP",), ("Guangzhou",))
ADULTS = Population((18, 90), ("AP", "PA"), ("Bethesda", "Delhi"))


def of(checkpoint: Checkpoint, name: str, population: Population | None) -> Predictor:
    return Predictor(replace(checkpoint, name=name, config=replace(checkpoint.config, population=population)))


def test_the_patients_age_chooses_the_checkpoint(sick, many) -> None:
    one, fourteen = load(sick), load(many)
    places = [of(one, "c", CHILDREN), of(fourteen, "findings", ADULTS), of(one, "a", ADULTS), of(one, "x", None)]
    shelf = Shelf(places)
    assert whose_film.checkpoint_for(shelf, whose_film.CHILD) == "c"
    assert whose_film.checkpoint_for(shelf, whose_film.ADULT) == "a"  # one verdict before many
    assert whose_film.choices(shelf) == [("A child (1 to 5 years)", "child"), ("An adult (18 to 90 years)", "adult")]
    assert whose_film.in_words(ADULTS) == "adults of 18 to 90 years, AP and PA films, of Bethesda and Delhi"
    assert whose_film.choices(Shelf([of(one, "x", None)])) == []


@pytest.mark.parametrize(("age", "group"), [(None, None), (0.1, "child"), (17.9, "child"), (18.0, "adult")])
def test_groups_of_age(age, group) -> None:
    assert whose_film.group_of_age(age) == group


def predictions(labels: LabelSet, scores: np.ndarray, classes: np.ndarray) -> Predictions:
    frame = pd.DataFrame({"probability": scores, "label": classes})
    return Predictions(frame, labels, OperatingPoint())


def test_of_films_that_scored_alike_the_sick_are_counted() -> None:
    scores = np.linspace(0, 1, 1001)
    films = ValidationFilms(predictions(PNEUMONIA, scores, (scores > 0.5).astype(int)))
    assert films.alike("PNEUMONIA", 0.9) == Alike(100, 100, 0)
    assert films.alike("PNEUMONIA", 0.1) == Alike(100, 0, 0)
    assert films.alike("PNEUMONIA", 0.5).positive in range(48, 53)
    assert films.share("PNEUMONIA") == pytest.approx(0.4995, abs=1e-3)


def test_few_films_say_nothing_and_films_between_are_counted_apart() -> None:
    scores = np.linspace(0, 1, 60)
    assert ValidationFilms(predictions(PNEUMONIA, scores, (scores > 0.5).astype(int))).alike("PNEUMONIA", 0.9) is None
    labels = LabelSet("opacity", ("NORMAL", "OTHER", "OPACITY"), normal="NORMAL", finding="OPACITY")
    scores = np.linspace(0, 1, 400)
    classes = np.where(scores < 0.5, 0, np.where(np.arange(400) % 2, 1, 2))
    assert ValidationFilms(predictions(labels, scores, classes)).alike("OPACITY", 0.9) == Alike(100, 50, 50)
