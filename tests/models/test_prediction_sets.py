"""All answers that a film may have at a stated coverage."""

from __future__ import annotations

import json

import numpy as np

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.models.prediction_sets import PredictionSets, choices, true_answers

SETS = PredictionSets(0.9, ((0.4, 0.7),), "val")


def test_an_answer_is_in_the_set_up_to_its_own_quantile():
    name = PNEUMONIA.score_names[0]
    assert SETS.of_film(PNEUMONIA, np.array([0.7, 0.3])) == {name: PNEUMONIA.names}
    assert SETS.of_film(PNEUMONIA, np.array([0.9, 0.1])) == {name: PNEUMONIA.names[:1]}


def test_an_empty_set_is_returned_whole():
    strict = PredictionSets(0.9, ((0.1, 0.1),))
    assert strict.members(PNEUMONIA, np.array([[0.5, 0.5]]))[0].tolist() == [[True, True]]


def test_questions_and_their_right_answers():
    (question,) = choices(PNEUMONIA, np.array([[0.2, 0.8]]))
    assert question.answers == PNEUMONIA.names and true_answers(PNEUMONIA, np.array([1]))[0].tolist() == [1]


def test_there_and_back_through_json():
    assert PredictionSets.from_dict(json.loads(json.dumps(SETS.to_dict()))) == SETS
