"""Films decoded once: one array, one digest each."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_pneumo.data.film_cache import Films, decode
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.data.sources import load_xrays
from hf_pneumo.imaging.preprocess import Preprocess


def films(digests: tuple[str, ...]) -> Films:
    gray = np.arange(len(digests) * 4, dtype=np.uint8).reshape(-1, 2, 2)
    return Films(gray, Dataset.from_dict({"file_name": [f"{d}.png" for d in digests]}), digests, ())


def test_rows_are_selected_in_their_order():
    chosen = films(("a", "b", "c")).select(np.array([2, 0]))
    assert chosen.digests == ("c", "a") and chosen.table["file_name"][:] == ["c.png", "a.png"]
    assert chosen.gray[:, 0, 0].tolist() == [8, 0] and len(chosen) == 2


def test_the_fingerprint_is_of_the_films_and_not_of_their_order():
    assert films(("a", "b")).fingerprint == films(("a", "b")).select([1, 0]).fingerprint
    assert films(("a", "b")).fingerprint != films(("a", "c")).fingerprint


@pytest.fixture(scope="module")
def source() -> Dataset:
    return load_xrays("phantom:10", labels=PNEUMONIA)


def test_a_second_run_reads_what_the_first_has_decoded(source, tmp_path):
    spec = Preprocess(size=(32, 32))
    first, second = (decode(source, spec, cache=tmp_path, progress=False) for _ in range(2))
    assert first.gray.shape == (10, 32, 32) and np.array_equal(first.gray, second.gray)
    assert first.digests == second.digests and len(set(first.digests)) == 10 and not first.failures
