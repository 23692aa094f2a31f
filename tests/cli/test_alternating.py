"""Calls are timed in turns."""

from __future__ import annotations

from hf_pneumo.cli.alternating import WARM_UP, alternate


def test_each_is_called_once_a_round_the_order_rotating_and_the_first_rounds_do_not_count():
    order: list[str] = []
    seconds = alternate({name: (lambda name=name: order.append(name)) for name in "abc"}, 4)
    assert {name: len(times) for name, times in seconds.items()} == {"a": 4, "b": 4, "c": 4}
    rounds = ["".join(order[i : i + 3]) for i in range(0, len(order), 3)]
    assert len(rounds) == WARM_UP + 4 and rounds[WARM_UP : WARM_UP + 3] == ["abc", "bca", "cab"]
