"""How long a study takes, in words."""

from __future__ import annotations

import pytest

from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA
from hf_pneumo.experiments.time_estimate import in_words, noise_films


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12000, "3 h 20 min"), (7260, "2 h 01 min")]
)
def test_durations_for_people(seconds, words):
    assert in_words(seconds) == words


def test_noise_has_every_label():
    films = noise_films(PNEUMONIA, 5, 16)
    assert films.gray.shape == (5, 16, 16) and films.table["label"][:] == [0, 1, 0, 1, 0]
    assert len(noise_films(MULTILABEL, 2, 16).table["label"][0]) == 14
