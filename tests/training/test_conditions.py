"""A run goes on only as it began: what its losses depend on is recorded and compared."""

from __future__ import annotations

import numpy as np
import pytest
from accelerate import Accelerator
from datasets import Dataset

from hf_pneumo.data.film_cache import Films
from hf_pneumo.training.conditions import check_conditions, conditions_of, films_digest


def films(*digests: str, labels: list[int] | None = None) -> Films:
    table = Dataset.from_dict({"label": labels or [0] * len(digests)})
    return Films(np.zeros((len(digests), 8, 8), np.uint8), table, digests, ())


def conditions(**changes: object) -> dict[str, str | int]:
    found = conditions_of(Accelerator(cpu=True), films("a", "b"), films("c"), batch_size=6, teacher_sha256="ab" * 32)
    return found | changes


def test_the_same_conditions_pass() -> None:
    check_conditions(conditions(), conditions())
    for name in ("processes", "batch size", "accumulated batches", "precision", "version of torch", "version of timm",
                 "version of accelerate", "training films", "validation films", "teacher's weights"):  # fmt: skip
        assert name in conditions()


@pytest.mark.parametrize("name", sorted(conditions()))
def test_every_change_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match="`resume`") as refused:
        check_conditions(conditions(), conditions(**{name: "another"}))
    assert f"{name} was {conditions()[name]}, is another" in str(refused.value)
    assert str(refused.value).count(", is ") == 1


def test_a_state_that_says_nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    check_conditions(None, conditions())
    assert "does not say" in caplog.text


def test_other_films_labels_and_orders_have_other_digests() -> None:
    told = [films("a", "b"), films("b", "a"), films("a", "c"), films("a"), films("a", "b", labels=[0, 1])]
    assert len({films_digest(own) for own in told}) == 5
