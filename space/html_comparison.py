"""The grid of models and methods, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import html_gallery
import predict
from comparison import Cell, Comparison, mean_of_pairs, title_of
from html_finding import WORDS, percent

from hf_pneumo.serving.outcome import Finding

THUMBNAIL = 240  # pixels


def said(sentence: str) -> str:
    """What happens, for eyes and screen readers."""
    return f'<p class="hp-lead" role="status">{escape(sentence)}</p>'


def film(held: predict.Held | None) -> str:
    """Which film is compared."""
    if held is None:
        return said("There is no film yet: drop one in or take an example, in Read.")
    height, width = held.outcome.film.pixels.shape
    return said(f"The film in hand, {width} × {height} pixels.")


def key(cell: Cell) -> str:
    """A cell's name in clicks."""
    return f"{cell.model}|{cell.method}"


def grid(comparison: Comparison, views: Mapping[str, object]) -> str:
    """A row for each model, a column for each method, and how far the maps agree along both."""
    models = list(dict.fromkeys(model for model, _ in comparison.cells))
    names = list(dict.fromkeys(name for _, name in comparison.cells))
    if not models:
        return ""
    tables = {model: comparison.agreement(model) for model in models}
    head = "".join(f'<th scope="col">{escape(title_of(name))}</th>' for name in names)
    rows = "".join(_row(model, names, comparison, tables[model]) for model in models)
    foot = "".join(f"<td>{_figure(comparison.between_models(name))}</td>" for name in names)
    between = f'<tr><th scope="row">Agreement between models</th>{foot}<td></td></tr>' if len(models) > 1 else ""
    details = "".join(
        f"<details class='hp-more'><summary>Each two methods of {escape(model)}</summary>"
        f"{html_gallery.agreement_table(tables[model])}</details>"
        for model in models
    )
    return (
        '<div class="hp-wide" tabindex="0" role="region" aria-label="Maps by model and method">'
        f'<table class="hp-table hp-grid"><thead><tr><td></td>{head}<th scope="col">Agreement</th></tr></thead>'
        f'<tbody>{rows}{between}</tbody></table></div><p class="hp-fine">Choose a map to see it large. Agreement is '
        "the mean rank correlation of each two maps: 1 where they order the film's places alike, 0 where they are "
        f"unrelated.</p>{details}"
    )


def _row(model: str, names: list[str], comparison: Comparison, table: Mapping[str, Mapping[str, float]]) -> str:
    cells = [comparison.cells.get((model, name)) for name in names]
    judged = next((cell.finding for cell in cells if cell and cell.finding), None)
    return (
        f'<tr><th scope="row">{escape(model)}{_verdict(judged)}</th>'
        + "".join(f"<td>{_cell(cell)}</td>" for cell in cells)
        + f"<td>{_figure(mean_of_pairs(table))}</td></tr>"
    )


def _verdict(finding: Finding | None) -> str:
    if finding is None:
        return ""
    word = WORDS.get(finding.verdict, finding.verdict.capitalize())
    return f"<br><small>{escape(word)}, {escape(finding.leading.lower())} {percent(finding.probability)}</small>"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell.finding is None:
        return f"<small>{escape(cell.why)}</small>"
    image = html_gallery.data_uri(predict.thumbnail(cell.finding, THUMBNAIL))
    name = f"{cell.title} of {cell.model}" + (": empty" if cell.is_empty else "")
    return (
        f'<button type="button" class="hp-picture" data-choice="{escape(key(cell))}" title="show large">'
        f'<img src="{image}" alt="{escape(name)}"></button>'
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
