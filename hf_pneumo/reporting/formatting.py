"""How figures and tables are written: numbers, figures with intervals, rows of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hf_pneumo.evaluation.estimate import Estimate


def number(value: object) -> str:
    """Three decimals for a fraction, digits as they are for a count, text as it is."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def with_interval(found: Estimate | None) -> str:
    """As 0.954 (0.940 to 0.966); "not defined" where there is none."""
    return "not defined" if found is None else f"{found:.3f}"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, which ends its last line."""
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    lines.insert(1, "|" + "---|" * len(heads))
    return "".join(f"{line}\n" for line in lines)
