"""Whose film it is, a child's or an adult's, and which checkpoint is for whom."""

from __future__ import annotations

from model_registry import Shelf

from hf_pneumo.models.population import Population

CHILD, ADULT = "child", "adult"
OF_AGE = 18  # years


def group_of_age(age: float | None) -> str | None:
    """The group of a patient of ``age`` in years; None where that is not known."""
    return None if age is None else ADULT if age >= OF_AGE else CHILD


def group_of(population: Population | None) -> str | None:
    """The group that a checkpoint is for; None where it does not say."""
    return population and group_of_age(population.ages[0])


def checkpoint_for(shelf: Shelf, group: str) -> str | None:
    """The first checkpoint on the shelf for ``group``, one verdict before many; None where there is none."""
    names = sorted(shelf.names, key=lambda name: not shelf.config(name).labels.exclusive)
    return next((name for name in names if group_of(shelf.config(name).population) == group), None)


def choices(shelf: Shelf) -> list[tuple[str, str]]:
    """(shown, group) of the groups that the shelf has checkpoints for, with the ages of the first one."""
    found = []
    for group, words in ((CHILD, "A child"), (ADULT, "An adult")):
        if name := checkpoint_for(shelf, group):
            youngest, oldest = shelf.config(name).population.ages
            found.append((f"{words} ({youngest} to {oldest} years)", group))
    return found


def in_words(population: Population) -> str:
    """For whom, as "children of 1 to 5 years, AP films, of Guangzhou ..."."""
    youngest, oldest = population.ages
    people = "adults" if group_of(population) == ADULT else "children"
    views, sites = (" and ".join(words) for words in (population.views, population.sites))
    return f"{people} of {youngest} to {oldest} years, {views} films, of {sites}"
