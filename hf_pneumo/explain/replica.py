"""A throwaway copy of a network that shares its weights, so that explaining never touches the network itself.

Hooks, training flags, in-place activations and fused attention are shared state: switching them for the length of a
call, and back, is a race between threads. A replica has its own module objects over the same parameter storage; it is
changed freely and then forgotten. Nothing is restored because nothing was changed, also when an exception passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

_OWN = (
    "_modules",
    "_parameters",
    "_buffers",
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
    "_non_persistent_buffers_set",
)


def unwrap(model: nn.Module) -> nn.Module:
    """The network inside torch.compile, DataParallel or DistributedDataParallel wrappers."""
    while True:
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def replicate(model: nn.Module, change: Callable[[str, nn.Module], nn.Module | None] | None = None) -> nn.Module:
    """A replica of the whole network in evaluation mode, whose parameters need no gradient.

    `change(name, module)` sees every replicated module after its children and may alter it, or return another in its
    place.
    """
    return _replicate(model, "", change, {})


def _replicate(
    module: nn.Module,
    name: str,
    change: Callable[[str, nn.Module], nn.Module | None] | None,
    done: dict[int, nn.Module],
) -> nn.Module:
    if id(module) in done:
        return done[id(module)]
    copy = _shell(module)
    done[id(module)] = copy
    copy.__dict__["training"] = False
    copy._parameters = {key: None if value is None else value.detach() for key, value in module._parameters.items()}
    for key, child in module._modules.items():
        if child is not None:
            copy._modules[key] = _replicate(child, f"{name}.{key}" if name else key, change, done)
    replaced = change(name, copy) if change else None
    if replaced is not None:
        done[id(module)] = replaced
    return done[id(module)]


def _shell(module: nn.Module) -> nn.Module:
    """The module object anew, with its own registers over the same tensors and children."""
    copy = module.__new__(type(module))
    copy.__dict__ = module.__dict__.copy()
    for key in _OWN:
        if key in copy.__dict__:
            copy.__dict__[key] = copy.__dict__[key].copy()
    return copy


def with_replaced(model: nn.Module, modules: Mapping[str, nn.Module]) -> nn.Module:
    """The network with the modules of the given dotted names replaced; only the path from the root to each is
    copied."""
    root = _shell(model)
    copied = {"": root}
    for name, module in modules.items():
        parent, parts = root, name.split(".")
        for depth, part in enumerate(parts[:-1], start=1):
            path = ".".join(parts[:depth])
            if path not in copied:
                copied[path] = _shell(parent._modules[part])
                parent._modules[part] = copied[path]
            parent = copied[path]
        parent._modules[parts[-1]] = module
    return root


def evaluating(model: nn.Module) -> nn.Module:
    """The network itself where every module is in evaluation mode already, else a replica that is."""
    found: list[nn.Module | None] = [model]
    for module in found:  # Module.modules() names and compares as it goes, and takes ten times as long
        if module is not None:
            if module.training:
                return replicate(model)
            found += module._modules.values()
    return model


class Tap(nn.Module):
    """A module whose output becomes a leaf of the autograd graph, kept in `output`; what follows is recorded.

    Run under torch.no_grad, the network costs its plain inference up to here, and a graph only from here on.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.training = module.training
        self.output: torch.Tensor | None = None

    def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
        output = self.module(*args, **kwargs)
        if not isinstance(output, torch.Tensor):
            raise ValueError(
                f"`layer` gives a {type(output).__name__}, not one tensor; take a layer inside or after it."
            )
        torch.set_grad_enabled(True)  # until the caller's torch.no_grad ends
        self.output = output.detach().requires_grad_()
        return self.output.clone()  # an in-place activation may follow, which a leaf does not allow

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)  # some networks read a child's attributes
