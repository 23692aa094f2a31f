"""What was measured of a checkpoint, as HTML: at a chosen threshold, by kind of film, and of the map that is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

import html_curves
from html_finding import percent
from html_model import interval
from operating import CROWD, Rates, ScoredFilms

from hf_pneumo.evaluation.classification.metrics import LabelReport
from hf_pneumo.evaluation.classification.subgroups import AGES, GroupReport
from hf_pneumo.evaluation.explanations.localization import LocalizationReport, MapReport
from hf_pneumo.evaluation.explanations.method_ranking import UNMEASURED
from hf_pneumo.evaluation.explanations.variants import PLAIN
from hf_pneumo.explain.registry import methods
from hf_pneumo.imaging.reader import Xray
from hf_pneumo.reporting.checkpoint_report import Evaluation, Report

TRIVIAL = {"random": "a random map", "centre": "always the centre", "prior": "mean boxes of other patients"}


def nothing(why: str) -> str:
    """In place of figures."""
    return f'<section class="hp-card"><h3>At a threshold</h3><p class="hp-clear">{escape(why)}</p></section>'


def operating(films: ScoredFilms, evaluation: Evaluation, name: str, threshold: float, prevalence: float) -> str:
    """The figures of the score ``name`` at ``threshold`` where ``prevalence`` of all films have it, beside the trivial
    models, with both curves."""
    rates, report = films.at(threshold), evaluation.values.labels.get(name)
    auroc = report.metrics.get("auroc") if report else None
    said = "not measured" if auroc is None else f"{auroc:.3f}"
    left_out = f" {films.unknown} films whose answer is neither yes nor no are left out." if films.unknown else ""
    curves = html_curves.roc(films.roc(), (1 - rates.specificity, rates.sensitivity), said)
    return (
        f'<section class="hp-card" role="status"><h3>Of {CROWD:,} films, {rates.wrong(prevalence):.0f} are called '
        f"wrongly</h3><p>{rates.missed(prevalence):.0f} with {escape(name.lower())} are missed and "
        f"{rates.false_alarms(prevalence):.0f} without it are called positive, if {percent(prevalence)} of the films "
        f"have it and every film from {percent(threshold)} on is called positive.</p>"
        f"{_beside(rates, evaluation.controls, prevalence)}"
        f'<div class="hp-plots">{curves}{html_curves.reliability(films.reliability())}</div>'
        f'<p class="hp-fine">From what the model said of {len(films.targets)} films of {escape(evaluation.title)}, of '
        f"which {percent(films.prevalence)} have it; it has not learnt from them.{left_out} Area under the "
        f"curve: {said}. To choose a threshold take other films than these.</p></section>"
    )


def _beside(rates: Rates, trivial: Mapping[str, LabelReport], prevalence: float) -> str:
    """The figures of this model and of the trivial ones, each at its own threshold."""
    rows = [("this model, at this threshold", rates), *_trivial_rates(trivial)]
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{percent(own.sensitivity)}</td><td>{percent(own.specificity)}</td>'
        f"<td>{_share(own.positive_predictive_value(prevalence))}</td>"
        f"<td>{_share(own.negative_predictive_value(prevalence))}</td><td>{own.wrong(prevalence):.0f}</td></tr>"
        for name, own in rows
    )
    words = ("", "sensitivity", "specificity", "PPV", "NPV", f"wrong of {CROWD:,}")
    return _table("Figures at this threshold", words, body)


def _trivial_rates(trivial: Mapping[str, LabelReport]) -> Iterator[tuple[str, Rates]]:
    for name, report in trivial.items():
        sensitivity, specificity = (report.metrics.get(metric) for metric in ("sensitivity", "specificity"))
        if sensitivity and specificity:
            yield name, Rates(sensitivity.value, specificity.value)


def groups(report: Report, film: Xray | None) -> str:
    """By source, view, sex and age, what was measured; the groups that ``film`` belongs to are marked."""
    shown = [e for e in (*report.tests, *report.externals) if e.has_figures]
    body = "".join(_of_source(evaluation, film) for evaluation in shown)
    if not body:
        return ""
    words = ("films", "n", "with finding", "AUROC", "sensitivity", "specificity", "errors")
    told = " The rows of the film in hand are marked." if film and (film.view or film.age is not None) else ""
    return (
        '<section class="hp-card"><h3>On films of one kind</h3><p>A figure over all films can hide that a model fails '
        f"on some of them.{told}</p>{_table('Figures by kind of film', words, body)}"
        '<p class="hp-fine">With 95 % intervals, at the operating point of this checkpoint.</p></section>'
    )


def _of_source(evaluation: Evaluation, film: Xray | None) -> str:
    values, alike = evaluation.values, _groups_of(film)
    whole = GroupReport(n=values.n, positives=values.positives, errors=values.errors, metrics=evaluation.metrics)
    rows = [_group_row(evaluation.title, whole, "hp-source")]
    for column, own in (values.groups or {}).items():
        for name, group in own.items():
            rows.append(_group_row(f"{column} {name}", group, "hp-alike-row" if (column, name) in alike else ""))
    if not values.groups:
        for name, few in (*values.subgroups.items(), *values.views.items()):
            own = GroupReport(n=few.n, positives=few.positives, errors=few.errors)
            rows.append(_group_row(name, own, "hp-alike-row" if ("view", name) in alike else ""))
    return "".join(rows)


def _groups_of(film: Xray | None) -> set[tuple[str, str]]:
    """(column, name) of the groups that the film belongs to, as far as its file says so."""
    if film is None:
        return set()
    ages = [] if film.age is None else [name for name, (low, high) in AGES.items() if low <= film.age < high]
    return {("view", str(film.view)), *(("age", name) for name in ages)}


def _group_row(name: str, group: GroupReport, kind: str) -> str:
    like = " <b>like this film</b>" if kind == "hp-alike-row" else ""
    cells = "".join(f"<td>{interval(group.metrics.get(m))}</td>" for m in ("auroc", "sensitivity", "specificity"))
    counts, errors = f"<td>{group.n}</td><td>{_count(group.positives)}</td>", f"<td>{_count(group.errors)}</td>"
    return f'<tr class="{kind}"><th scope="row">{escape(name)}{like}</th>{counts}{cells}{errors}</tr>'


def shown_map(report: Report, method: str, variant: str) -> str:
    """Whether the map that Read shows first points where radiologists drew boxes, beside what never looks at a film."""
    title = methods()[method].title
    parts = [_shown_map(films, found, method, variant) for films, found in report.localizations.items()]
    body = "".join(filter(None, parts)) or f'<p class="hp-clear">{UNMEASURED}</p>'
    return f'<section class="hp-card"><h3>The map that Read shows: {escape(title)}</h3>{body}</section>'


def _shown_map(films: str, report: LocalizationReport, method: str, variant: str) -> str:
    measured = report.methods if variant == PLAIN else (report.variants or {}).get(variant, {})
    row = measured.get(method)
    if row is None:
        return ""
    rows: list[tuple[str, MapReport]] = [
        ("this map", row), *((TRIVIAL.get(name, name), own) for name, own in report.baselines.items())
    ]  # fmt: skip
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{interval(own.pointing)}</td>'
        f"<td>{interval(own.pixel_auprc)}</td></tr>"
        for name, own in rows
    )
    better = [name for name, own in rows[1:] if own.pixel_auprc.value >= row.pixel_auprc.value]
    warning = f" It covers the boxes no better than {escape(' and '.join(better))}." if better else ""
    return f"<p>On {row.films} films with boxes ({escape(films.removeprefix('localization-'))}).{warning}</p>" + _table(
        "How well the map points", ("map", "pointing game", "pixel AUPRC"), body
    )


def _table(label: str, words: tuple[str, ...], body: str) -> str:
    head = "".join(f'<th scope="col">{word}</th>' if word else "<td></td>" for word in words)
    return (
        f'<div class="hp-wide" tabindex="0" role="region" aria-label="{label}"><table class="hp-table hp-results">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)
