"""Targets and masks by hand for every policy, and No Finding's agreement with the rest."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.data.observations import CHEXPERT_14
from hf_pneumo.data.uncertain_labels import POLICIES, agree_on_no_finding, targets

NAN = np.nan
NAMES = ("Edema", "Pneumonia", "Fracture", "Pleural Effusion")
ROW = np.array([[1, 0, -1, NAN]])


@pytest.mark.parametrize(
    ("policy", "blanks", "values", "mask"),
    [
        ("u-ones", "zero", [1, 0, 1, 0], [1, 1, 1, 1]),
        ("u-zeros", "zero", [1, 0, 0, 0], [1, 1, 1, 1]),
        ("u-ignore", "zero", [1, 0, 0, 0], [1, 1, 0, 1]),
        ("u-ones", "ignore", [1, 0, 1, 0], [1, 1, 1, 0]),
        ("u-ignore", "ignore", [1, 0, 0, 0], [1, 1, 0, 0]),
    ],
)
def test_known_targets(policy: str, blanks: str, values: list[float], mask: list[int]) -> None:
    found, counted = targets(ROW, policy=policy, blanks=blanks, names=NAMES)
    assert found.dtype == np.float32 and counted.dtype == bool
    assert found.tolist() == [values] and counted.tolist() == [list(map(bool, mask))]


@pytest.mark.parametrize(("policy", "low", "high"), [("u-ones-lsr", 0.55, 0.85), ("u-zeros-lsr", 0.0, 0.3)])
def test_smoothed_targets_are_uniform_in_the_paper_s_range(policy: str, low: float, high: float) -> None:
    labels = np.full((5000, 1), -1.0)
    found, mask = targets(labels, policy=policy, names=("Edema",), rng=np.random.default_rng(0))
    assert mask.all() and low <= found.min() and found.max() <= high
    assert found.mean() == pytest.approx((low + high) / 2, abs=0.005)
    again, _ = targets(labels, policy=policy, names=("Edema",), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(found, again)
    certain, _ = targets(np.array([[1.0], [0.0]]), policy=policy, names=("Edema",), rng=np.random.default_rng(0))
    assert certain.tolist() == [[1], [0]]
    with pytest.raises(ValueError, match="`rng` is missing"):
        targets(labels, policy=policy, names=("Edema",))


def test_no_finding_agrees_with_the_rest() -> None:
    names = ("No Finding", "Edema", "Support Devices")
    labels = np.array([[1, 1, NAN], [1, -1, NAN], [1, NAN, 1], [NAN, 0, 1], [0, NAN, NAN]])
    ones, _ = targets(labels, policy="u-ones", names=names)
    assert ones[:, 0].tolist() == [0, 0, 1, 0, 0]
    zeros, _ = targets(labels, policy="u-zeros", names=names)
    assert zeros[:, 0].tolist() == [0, 1, 1, 0, 0]
    values, mask = targets(labels, policy="u-ignore", blanks="ignore", names=names)
    # row 2: nothing found, so edema is known to be absent; devices say nothing about findings
    assert mask.tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0]]
    assert values[2].tolist() == [1, 0, 1]
    _, never_labelled = targets([[1, NAN], [1, NAN]], blanks="ignore", names=("No Finding", "Fracture"))
    assert never_labelled.tolist() == [[True, False]] * 2


def test_agreement_changes_neither_its_input_nor_other_label_sets() -> None:
    values, mask = np.array([[1.0, 1.0]], dtype=np.float32), np.ones((1, 2), dtype=bool)
    agreed, _ = agree_on_no_finding(values, mask, names=("No Finding", "Edema"))
    assert agreed.tolist() == [[0, 1]] and values.tolist() == [[1, 1]]
    same, _ = agree_on_no_finding(values, mask, names=("Edema", "Pneumonia"))
    assert same.tolist() == [[1, 1]]


@pytest.mark.parametrize("policy", POLICIES)
def test_targets_stay_in_range_and_masked_ones_are_zero(policy: str) -> None:
    rng = np.random.default_rng(1)
    labels = rng.choice([1, 0, -1, NAN], size=(200, 14))
    for blanks in ("zero", "ignore"):
        found, mask = targets(labels, policy=policy, blanks=blanks, rng=np.random.default_rng(2))
        assert found.min() >= 0 and found.max() <= 1
        assert not found[~mask].any()
        known = (labels == 1) & mask
        known[:, CHEXPERT_14.index("No Finding")] = False
        assert (found[known] == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [[2.0]]}, "`labels` holds 2 for Edema in row 0"),
        ({"labels": [1.0]}, r"`labels` has shape \(1,\)"),
        ({"policy": "u-max"}, "`policy` is 'u-max'; choose one of u-ones"),
        ({"blanks": "one"}, "`blanks` is 'one'; choose one of zero, ignore"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        targets(**{"labels": [[1.0]], "names": ("Edema",), **arguments})
