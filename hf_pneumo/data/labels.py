"""Label sets: a task is the names of its labels and whether they exclude each other, and nothing else.

Everything downstream (loss, metrics, verdict, card) asks the label set and never the task's name. A *score* is what is
decided on: the probability of the finding where the labels exclude each other and one of them is normal (binary;
aetiology: pneumonia first, its cause second; opacity: rather than a normal film, whatever else may be abnormal), each
label's own probability where they do not (multi-label).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax


@dataclass(frozen=True)
class LabelSet:
    """The labels of a task. ``exclusive``: exactly one holds (softmax); otherwise each on its own (sigmoid).

    ``normal`` names the label that means that nothing was found. ``finding`` names the label that is looked for, or,
    where it is no label itself, the union of all but normal.
    """

    task: str
    names: tuple[str, ...]
    exclusive: bool = True
    normal: str | None = None
    finding: str | None = None

    def __post_init__(self):
        if len(self.names) < 1 + self.exclusive or len(set(self.names)) != len(self.names):
            raise ValueError(f"`names` is {self.names}; give at least {1 + self.exclusive} different labels")
        if self.exclusive and self.normal not in self.names:
            raise ValueError(f"`normal` is {self.normal!r}; of exclusive labels one of {self.names} must be normal")
        if not self.findings:
            raise ValueError(f"`names` is {self.names}, which means that nothing was found; give a label of a finding")

    @property
    def score_names(self) -> tuple[str, ...]:
        """What is decided on: one finding for exclusive labels, every label otherwise."""
        return (self.finding or "ABNORMAL",) if self.exclusive else self.names

    @property
    def findings(self) -> tuple[str, ...]:
        """The scores that say that something was found: all but that of the normal label."""
        return tuple(name for name in self.score_names if name != self.normal)

    @property
    def positive(self) -> np.ndarray:
        """Which of exclusive labels mean the finding, bool (K,)."""
        looked_for = (self.finding,) if self.finding in self.names else set(self.names) - {self.normal}
        return np.array([name in looked_for for name in self.names])

    @property
    def between(self) -> tuple[str, ...]:
        """Exclusive labels that are neither normal nor the finding: abnormal in another way."""
        if not self.exclusive:
            return ()
        return tuple(n for n, is_it in zip(self.names, self.positive, strict=True) if not is_it and n != self.normal)

    def probabilities(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Logits (N, K) to probabilities (N, K) in [0, 1], after division by ``temperature``."""
        scaled = np.asarray(logits, dtype=np.float64) / temperature
        return softmax(scaled, axis=1) if self.exclusive else expit(scaled)

    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Logits (N, K) to scores (N, S) in [0, 1], in the order of :attr:`score_names`."""
        return expit(self.log_odds(logits, temperature))

    def log_odds(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """The scores (N, S) on the log-odds scale, where they do not saturate."""
        scaled = np.asarray(logits, dtype=np.float64) / temperature
        if not self.exclusive:
            return scaled
        return _log_sum_exp(scaled[:, self.positive]) - scaled[:, [self.names.index(self.normal)]]

    def score_targets(self, labels: np.ndarray) -> np.ndarray:
        """Labels, class indices (N,) or values (N, K), to float targets (N, S) of the scores: 1, 0, or NaN for neither.

        Of values, -1 ("uncertain") is neither, too: nothing is measured or fitted by what nobody could tell. So are
        classes :attr:`between` normal and the finding.
        """
        labels = np.asarray(labels)
        if not self.exclusive:
            values = labels.astype(np.float64)
            return np.where(values < 0, np.nan, values)
        between = np.isin(np.asarray(self.names)[labels], self.between)
        return np.where(between, np.nan, self.positive[labels])[:, None]

    def negative_log_likelihood(self, logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
        """Mean over all known labels, in nats."""
        scaled = np.asarray(logits, dtype=np.float64) / temperature
        labels = np.asarray(labels)
        if self.exclusive:
            return float(-log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean())
        targets = self.score_targets(labels)
        likelihood = np.where(targets > 0.5, log_expit(scaled), log_expit(-scaled))
        return float(-np.nanmean(np.where(np.isnan(targets), np.nan, likelihood)))

    def without(self, names: Collection[str]) -> LabelSet:
        """The same task without some of its labels, for a source that never gives them."""
        kept = tuple(name for name in self.names if name not in names)
        return replace(self, names=kept, normal=self.normal if self.normal in kept else None)

    def index(self, name: str) -> int:
        """Position of the label ``name``, whatever its case; ValueError names the labels."""
        folded = [n.casefold() for n in self.names]
        if name.casefold() not in folded:
            raise ValueError(f"`label` is {name!r}; this task's labels are {', '.join(self.names)}")
        return folded.index(name.casefold())


def _log_sum_exp(values: np.ndarray) -> np.ndarray:
    """log of the sum of exp over columns, (N, K) to (N, 1), stable; of one column, that column."""
    top = values.max(axis=1, keepdims=True)
    return top + np.log(np.exp(values - top).sum(axis=1, keepdims=True))


PNEUMONIA = LabelSet("pneumonia", ("NORMAL", "PNEUMONIA"), normal="NORMAL", finding="PNEUMONIA")
AETIOLOGY = LabelSet("aetiology", ("NORMAL", "BACTERIA", "VIRUS"), normal="NORMAL", finding="PNEUMONIA")
# The three classes of the RSNA Pneumonia Detection Challenge (Shih et al. 2019, doi 10.1148/ryai.2019180041).
OPACITY = LabelSet(
    "opacity", ("NORMAL", "OTHER ABNORMAL", "LUNG OPACITY"), normal="NORMAL", finding="LUNG OPACITY"
)  # fmt: skip
CHEXPERT = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
MULTILABEL = LabelSet("multilabel", CHEXPERT, exclusive=False, normal="No Finding")
TASKS: dict[str, LabelSet] = {t.task: t for t in (PNEUMONIA, AETIOLOGY, OPACITY, MULTILABEL)}
