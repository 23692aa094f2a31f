"""Every protocol on made-up names: no patient on two sides, and no identical film where the protocol may forbid it."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_pneumo.data.audit import audit_splits
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.data.patients import aetiology, paper_patient, strict_patient
from hf_pneumo.data.schema import contract
from hf_pneumo.data.splits import PROTOCOLS, Parts, split


def films(seed: int) -> tuple[Dataset, list[str]]:
    """Names as Kermany's, with its traps: numbers that are bacteria and virus, several films a patient, and pixel-
    identical films of two patients, some of them on two sides of the source's own split."""
    generator = np.random.default_rng(seed)
    names = [f"person{i}_{kind}_{j}.jpeg" for i in range(60) for kind in ("bacteria", "virus") for j in range(2)]
    names += [f"IM-{i:04d}-000{j}.jpeg" for i in range(60) for j in (1, 2)]
    names += [f"NORMAL2-IM-{i:04d}-0001-000{j}.jpeg" for i in range(100, 140) for j in (1, 2)]
    patients = [strict_patient(name) for name in names]
    own = dict(
        zip(sorted(set(patients)), generator.choice(["train", "test"], len(set(patients)), p=(0.8, 0.2)), strict=True)
    )
    digests = [str(i) for i in range(len(names))]
    for a, b in generator.integers(0, len(names), (12, 2)):
        if aetiology(names[a]) == aetiology(names[b]):
            digests[b] = digests[a]
    rows = [
        {
            "image": {"path": name, "bytes": None},
            "label": int(aetiology(name) != "normal"),
            "file_name": name,
            "patient": patient,
            "subgroup": aetiology(name),
            "split": own[patient],
        }
        for name, patient in zip(names, patients, strict=True)
    ]
    features = contract(PNEUMONIA)
    rows = [{column: row.get(column) for column in features} for row in rows]
    return Dataset.from_list(rows, features=features), digests


def on_two_sides(keys: list[str], parts: Parts) -> set[str]:
    sides: dict[str, set[str]] = {}
    for side, rows in parts.items():
        for row in rows:
            sides.setdefault(keys[row], set()).add(side)
    return {key for key, found in sides.items() if len(found) > 1}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_patient_is_on_two_sides(protocol, seed):
    table, digests = films(seed)
    parts = split(table, protocol, PNEUMONIA, digests)
    used = np.concatenate(list(parts.values()))
    assert len(used) == len(set(used.tolist()))
    # A protocol answers for its own key: the paper's takes personN for one child, ours (number, aetiology).
    key = [paper_patient(n) for n in table["file_name"]] if protocol == "paper" else list(table["patient"])
    assert not on_two_sides(key, parts)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("protocol", ["official", "strict"])
def test_no_pixel_identical_film_is_on_two_sides(protocol, seed):
    table, digests = films(seed)
    parts = split(table, protocol, PNEUMONIA, digests)
    assert len(set(digests)) < len(digests) and not on_two_sides(digests, parts)


def test_the_papers_protocol_is_repeated_with_its_leak_and_the_audit_names_it():
    """It ignores pixels: to change that would be another split. The audit that stands in each card tells."""
    table, digests = films(0)
    parts = split(table, "paper", PNEUMONIA, digests)
    trained, tested = (int(next(i for i in parts[side] if table["label"][int(i)])) for side in ("train", "test"))
    digests[trained] = digests[tested] = "same"
    again = split(table, "paper", PNEUMONIA, digests)
    assert all(np.array_equal(parts[side], again[side]) for side in parts)
    leaks = audit_splits(table, again, PNEUMONIA, digests)["identical_across_parts"]
    assert [f"{side}/{table['file_name'][i]}" for i, side in sorted([(trained, "train"), (tested, "test")])] in leaks
