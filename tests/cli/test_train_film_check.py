"""Training the film check is the run of its settings."""

from __future__ import annotations

from hf_pneumo.cli import train_film_check
from hf_pneumo.training.film_check import FilmCheckConfig


def test_its_options_are_the_settings():
    assert train_film_check.Arguments is FilmCheckConfig
