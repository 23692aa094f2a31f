"""A figure with its interval, and the one place that says how both are written."""

from __future__ import annotations

from dataclasses import dataclass

from hf_pneumo.records import JsonRecord


@dataclass(frozen=True)
class Estimate(JsonRecord):
    """A figure with the ends of its 95 % interval; these are None where no draw of patients has the figure.

    f"{estimate:.3f}" is "0.954 (0.940 to 0.966)", and f"{difference:+.2f}" "+0.05 (-0.01 to +0.11)".
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        return format(self.value, spec) + (f" {self.interval(spec)}" if self.interval(spec) else "")

    def interval(self, spec: str = ".3f") -> str:
        """The interval alone, as "(0.940 to 0.966)"; empty where there is none."""
        return "" if self.low is None or self.high is None else f"({self.low:{spec}} to {self.high:{spec}})"

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the interval; the figure itself where it has none."""
        return (self.value if self.low is None else self.low), (self.value if self.high is None else self.high)

    @property
    def holds_zero(self) -> bool:
        """Whether the interval of a difference holds zero: then it may be chance."""
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high
