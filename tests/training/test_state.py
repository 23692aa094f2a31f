"""The state of an unfinished run: what is restored goes on as if nothing had happened."""

from __future__ import annotations

import torch
from torch import nn

from hf_pneumo.training.state import STATE, load_state, read_progress, save_state


def pair() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    return network, torch.optim.AdamW(network.parameters(), lr=0.1)


def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_restored_run_takes_the_same_steps(tmp_path):
    network, optimizer = pair()
    step(network, optimizer)
    save_state(tmp_path, {"network": network}, optimizer, {"epoch": 1, "best": [0.5, -1.0]})
    step(network, optimizer)
    again, its_optimizer = pair()
    assert (
        load_state(tmp_path, {"network": again}, its_optimizer)
        == read_progress(tmp_path)
        == {"epoch": 1, "best": [0.5, -1.0]}
    )
    step(again, its_optimizer)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
