"""Curves as SVG within the page: they follow its colours, and say their figures to who cannot see them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

SIDE, LEFT, TOP, BOTTOM = 220, 40, 10, 36  # of the square that is drawn in, and what surrounds it
_TICKS = (0.0, 0.5, 1.0)


def roc(curve: Sequence[tuple[float, float]], chosen: tuple[float, float], auroc: str) -> str:
    """The curve (1 - specificity, sensitivity) with the ``chosen`` point; ``auroc``: its area, in words."""
    line = " ".join(f"{_x(false):.1f},{_y(true):.1f}" for false, true in curve)
    false, true = chosen
    said = f"ROC curve; area {auroc}. At this threshold sensitivity {true:.0%} and specificity {1 - false:.0%}."
    drawn = (
        f'<polyline points="{line}" class="hp-curve"/><circle cx="{_x(false):.1f}" cy="{_y(true):.1f}" r="6" '
        'class="hp-chosen"/>'
    )
    return _figure("ROC curve", drawn, "1 − specificity", "sensitivity", said)


def reliability(bins: Sequence[tuple[float, float, int]]) -> str:
    """A dot for each bin (mean score, share with the finding, films), larger for more films; on the line is best."""
    most = max((films for *_, films in bins), default=1)
    drawn = "".join(
        f'<circle cx="{_x(score):.1f}" cy="{_y(share):.1f}" r="{2 + 7 * (films / most) ** 0.5:.1f}" class="hp-dot">'
        f"<title>{films} films: said {score:.0%}, had it {share:.0%}</title></circle>"
        for score, share, films in bins
    )
    told = "; ".join(f"said {score:.0%}, {share:.0%} of {films} had it" for score, share, films in bins)
    return _figure("Reliability", drawn, "probability that was said", "share that had it", f"Reliability plot: {told}.")


def _figure(title: str, drawn: str, across: str, up: str, said: str) -> str:
    width, height = LEFT + SIDE + 10, TOP + SIDE + BOTTOM
    ticks = "".join(
        f'<text x="{_x(at):.0f}" y="{TOP + SIDE + 15}" text-anchor="middle">{at:g}</text>'
        f'<text x="{LEFT - 6}" y="{_y(at) + 4:.0f}" text-anchor="end">{at:g}</text>'
        for at in _TICKS
    )
    return (
        f'<figure class="hp-plot"><figcaption>{title}</figcaption><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(said)}"><rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" class="hp-frame"/>'
        f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" class="hp-diagonal"/>{drawn}{ticks}'
        f'<text x="{LEFT + SIDE / 2}" y="{height - 5}" text-anchor="middle">{across}</text>'
        f'<text transform="translate(11 {TOP + SIDE / 2}) rotate(-90)" text-anchor="middle">{up}</text></svg></figure>'
    )


def _x(share: float) -> float:
    return LEFT + SIDE * share


def _y(share: float) -> float:
    return TOP + SIDE * (1 - share)
