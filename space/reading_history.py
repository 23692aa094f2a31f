"""What was read on this page lately, as its own browser holds it: neither file names nor pictures."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from html import escape
from typing import TypedDict

import html_finding
import predict

from hf_pneumo.serving.outcome import Finding

LONGEST = 50


class Entry(TypedDict):
    """``key``: tells two questions apart; ``link``: the address that brings it back, "" where the film was dropped in.

    ``when``: UTC, as "2026-01-31 12:00".
    """

    key: str
    when: str
    model: str
    method: str
    verdict: str
    probability: float | None
    link: str


def entry(held: predict.Held, link: str) -> Entry:
    """What is held of an answer."""
    outcome = held.outcome
    judged = isinstance(outcome, Finding)
    return Entry(
        key=hashlib.sha256(repr(held.question).encode()).hexdigest()[:12],
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        model=held.desk.checkpoint.name,
        method=held.question[2],
        verdict=outcome.verdict if judged else outcome.status,
        probability=outcome.probability if judged else None,
        link=link,
    )


def added(entries: list[Entry], new: Entry) -> list[Entry]:
    """With ``new`` first, at most `LONGEST`; the same question asked again replaces its answer."""
    return [new, *(old for old in entries if old["key"] != new["key"])][:LONGEST]


def table(entries: list[Entry]) -> str:
    """The entries as HTML, the last one first."""
    if not entries:
        return '<p class="hp-clear">Nothing has been read on this page yet.</p>'
    head = "".join(f'<th scope="col">{name}</th>' for name in ("when (UTC)", "verdict", "probability", "by", "film"))
    return (
        '<div class="hp-wide" tabindex="0" role="region" aria-label="What was read"><table class="hp-table hp-results">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(map(_row, entries))}</tbody></table></div>"
    )


def _row(own: Entry) -> str:
    probability = "–" if own["probability"] is None else html_finding.percent(own["probability"])
    film = f'<a href="{escape(own["link"])}">open again</a>' if own["link"].startswith("http") else "dropped in"
    return (
        f'<tr><th scope="row">{escape(own["when"])}</th><td>{escape(own["verdict"].capitalize())}</td>'
        f"<td>{probability}</td><td>{escape(own['model'])}, {escape(own['method'])}</td><td>{film}</td></tr>"
    )
