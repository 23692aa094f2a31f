"""The examples, which are buttons, and the table of how far explanation methods agree, as HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image
from samples import Sample


def examples(samples: Sequence[Sample]) -> str:
    """The example films as buttons, with their attribution where there is one."""
    items = "".join(
        f'<li><button type="button" class="hp-picture hp-small" data-choice="{number}"><img src="'
        f'{data_uri(sample.thumbnail)}" alt="">{escape(sample.caption)}</button></li>'
        for number, sample in enumerate(samples)
    )
    credits = "".join(f"<p>{credit}</p>" for credit in dict.fromkeys(sample.credit for sample in samples))
    return (
        f'<h3 class="hp-label">Examples</h3><ul class="hp-pictures">{items}</ul><div class="hp-credit">{credits}</div>'
    )


def data_uri(image: Image.Image) -> str:
    """The image within the page itself: nothing of it is left on the server's disk."""
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def agreement_table(table: Mapping[str, Mapping[str, float]]) -> str:
    """Rank correlations of each two methods' maps, and their mean."""
    names = list(table)
    if len(names) < 2:
        return '<p class="hp-clear">Fewer than two maps show anything: there is nothing to agree about.</p>'
    pairs = [table[a][b] for i, a in enumerate(names) for b in names[i + 1 :]]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(a)}</th>'
        + "".join(
            f'<td style="--share:{max(table[a][b], 0):.2f}">{"" if a == b else f"{table[a][b]:.2f}"}</td>'
            for b in names
        )
        + "</tr>"
        for a in names
    )
    return (
        f'<section class="hp-card"><h3>Agreement</h3><p><b class="hp-figure">{sum(pairs) / len(pairs):.2f}</b> mean '
        "rank correlation between the maps of each two methods: 1 where they order the film's places alike, 0 where "
        "they are unrelated. Methods that agree may still all be wrong; where they disagree, trust none of them "
        "alone. With a linear classifier after average pooling, Grad-CAM, HiResCAM and XGrad-CAM coincide by "
        "construction, and CAM is the same with its sign.</p>"
        '<div class="hp-wide" tabindex="0" role="region" aria-label="Agreement of each two methods">'
        f'<table class="hp-table hp-matrix"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        "</section>"
    )
