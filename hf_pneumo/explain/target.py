"""What is to be explained: one linear combination of the logits for each image; no torch but where there is some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

Class = int | str
OneTarget = Class | tuple[Class, Class] | None
Target: TypeAlias = "OneTarget | Sequence[OneTarget] | torch.Tensor | np.ndarray"


@dataclass(frozen=True)
class Targets:
    """`weights` (B, K) make the score of each image out of its K logits; `names` (B) say in words what it is."""

    weights: torch.Tensor
    names: tuple[str, ...]

    def score(self, logits: torch.Tensor) -> torch.Tensor:
        """Scores (B,) of logits (B, K)."""
        return (logits.float() * self.weights).sum(1)


def label_names(model: nn.Module, count: int) -> tuple[str, ...] | None:
    """The labels of a network with `count` logits, from `pretrained_cfg["label_names"]`; None when unknown.

    A network with one logit may name its positive class alone or (negative, positive).
    """
    config = getattr(model, "pretrained_cfg", None)
    if config is None:
        return None
    names = config.get("label_names") if hasattr(config, "get") else getattr(config, "label_names", None)
    if not names or isinstance(names, str) or len(names) not in ((1, 2) if count == 1 else (count,)):
        return None
    return tuple(str(name) for name in names)


def per_image(target: Target, count: int) -> list[OneTarget]:
    """One target for each of `count` images: a list or 1-D array is taken image by image, anything else for all alike.

    A tuple of two is a contrast. Raises ValueError when a list has another length than the batch.
    """
    if getattr(target, "ndim", None) in (0, 1):  # a tensor or an array
        values = cast("np.ndarray", target)
        target = [int(value) for value in values] if values.ndim else int(values)
    if isinstance(target, list):
        if len(target) != count:
            raise ValueError(
                f"`target` lists {len(target)} targets for {count} images; give one for each, or a single one for all "
                "(a contrast of two classes is a tuple)."
            )
        return target
    return [cast(OneTarget, target)] * count  # the checker keeps Sequence in mind, of which only lists are meant


def resolve(target: Target | Targets, logits: torch.Tensor, names: tuple[str, ...] | None) -> Targets:
    """The scores to explain, for logits (B, K) of networks whose labels are `names` (or None).

    A target is None (the predicted class), an index, a label, "not LABEL", or a tuple of two of these: the first minus
    the second. With one logit z, class 1 has the score z and class 0 has -z.
    Raises TypeError or ValueError for a target that the network does not have.
    """
    if isinstance(target, Targets):  # resolved before, on another view of the same images
        return target
    rows, words = weigh(target, logits, names)
    return Targets(logits.new_tensor(rows).float(), words)


def weigh(
    target: Target, logits: torch.Tensor | np.ndarray, names: tuple[str, ...] | None
) -> tuple[list[list[float]], tuple[str, ...]]:
    """The weights of each image's K logits (B, K) in the score to explain, and what it is in words; see `resolve`."""
    count, width = logits.shape
    rows, words = [], []
    for image, choice in enumerate(per_image(target, count)):
        if isinstance(choice, tuple):
            if len(choice) != 2 or None in choice:
                raise ValueError(
                    f"`target` {choice!r}: a contrast is a tuple of two classes, as in ('PNEUMONIA', 'NORMAL')."
                )
            (first, first_word), (second, second_word) = (_single(part, width, names) for part in choice)
            row, word = [a - b for a, b in zip(first, second, strict=True)], f"{first_word} - {second_word}"
            if not any(row):
                raise ValueError(f"`target` {choice!r} contrasts a class with itself; name two different classes.")
        else:
            choice = predicted(logits[image]) if choice is None else choice
            row, word = _single(choice, width, names)
        rows.append(row)
        words.append(word)
    return rows, tuple(words)


def predicted(logits: torch.Tensor | np.ndarray) -> int:
    """The class that one image's logits (K,) are for."""
    return int(logits[0] > 0) if len(logits) == 1 else int(logits.argmax())


def _single(choice: int | str, width: int, names: tuple[str, ...] | None) -> tuple[list[float], str]:
    index, sign = _index(choice, width, names)
    row = [0.0] * width
    if width == 1:
        row[0] = sign if index == 1 else -sign
    else:
        row[index] = sign
    return row, _word(index, sign, width, names)


def _index(choice: int | str, width: int, names: tuple[str, ...] | None) -> tuple[int, float]:
    classes = max(width, 2)  # one logit tells two classes apart
    if isinstance(choice, (int, np.integer)) and not isinstance(choice, bool):
        if not 0 <= choice < classes:
            raise ValueError(f"`target` {choice} is no class index; allowed are 0 to {classes - 1}.")
        return int(choice), 1.0
    if not isinstance(choice, str):
        raise TypeError(
            f"`target` {choice!r} is a {type(choice).__name__}; give None, a class index, a label, or a tuple of two "
            "for a contrast."
        )
    if names is None:
        raise ValueError(
            f"`target` {choice!r}: this network names no labels (`model.pretrained_cfg['label_names']`); give a class "
            f"index from 0 to {classes - 1}."
        )
    indices = {name: index for index, name in enumerate(names)}
    if width == 1 and len(names) == 1:
        indices = {names[0]: 1}
    if choice in indices:
        return indices[choice], 1.0
    if choice.startswith("not ") and choice[4:] in indices:
        return indices[choice[4:]], -1.0
    raise ValueError(
        f"`target` {choice!r} is no label of this network; it knows {', '.join(map(repr, indices))} (and 'not ' "
        f"before one)."
    )


def _word(index: int, sign: float, width: int, names: tuple[str, ...] | None) -> str:
    if names is None:
        word = str(index)
    elif width == 1 and len(names) == 1:
        word = names[0] if index == 1 else f"not {names[0]}"
    else:
        word = names[index]
    return word if sign > 0 else f"not {word}"
