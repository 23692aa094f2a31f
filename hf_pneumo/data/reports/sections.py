"""Which parts of a report say what the film shows, and the same text with everything else blanked out.

All edits keep the length of the text, so that an offset in the prepared text is an offset in the report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from hf_pneumo.data.reports.answers import answered, single_ends
from hf_pneumo.data.reports.terms import expand_all, load_terms

# Typographic characters that would hide a word from the term lists; one character each.
_PLAIN = str.maketrans(
    "\u00a0\t\r\u2019\u2018\u2010\u2011\u2013\u2014\u2022\u00b7\f\v",
    "   ''---,;;\n\n",
)
_WINDOW = 80  # characters before a colon in which its heading stands
_SENTENCE_ENDS = tuple(".;:?!)]*\n")
_WORD = re.compile(r"[A-Za-z][^\s]*")
_LINE = re.compile(r"^[ ]*(?P<words>[A-Za-z][A-Za-z0-9/,&\- ]{2,70}?)[ ]*$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n[ ]*\n")
# A new line starts a new sentence before a bullet, a number or a capitalized word; a plain wrap does not.
# What looks back stands last in each: an expression that starts with a letter is searched much faster.
_NEW_ITEM = re.compile(r"\n(?=[ ]*(?:[-*+#]|\(?\d{1,2}[.)]|[A-Z][a-z]|\n))")
_NO_ITEM_AFTER = tuple(".;:!?,-\n")
_INLINE_NUMBER = re.compile(r"\s(?=\(?\d{1,2}[.)]\s+[A-Z])(?<=[^\s.;:!?,]\s)")
# Where a prepared text surely ends a sentence: after a word that is no abbreviation, before another.
_SENTENCE_END = re.compile(r"[.!?;](?=[ ]+[A-Z0-9])(?<=[A-Za-z]{4}.)")
_QUERY = re.compile(r"\?(?=\s?[a-zA-Z])(?<![^\s(]\?)")  # "? pneumonia" asks; "Pneumonia?" ends a sentence


@dataclass(frozen=True)
class Section:
    """Characters [start, end) of the report under one heading ("" before the first); asserting: about this film."""

    name: str
    start: int
    end: int
    asserting: bool


@cache
def _headings() -> dict[str, str]:
    """The kind of every heading: asserting, organs or silent."""
    return {name: kind for kind, templates in load_terms("sections").items() for name in expand_all(templates)}


@cache
def _last_words() -> frozenset[str]:
    """The last word of every heading."""
    return frozenset(name.split()[-1] for name in _headings())


def _find_headings(text: str) -> list[tuple[int, int, str]]:
    """(start, end, name) of each heading: words before a colon, or alone on their line."""
    found = []
    for colon in re.finditer(":", text):
        begin = max(0, colon.start() - _WINDOW)
        window = text[begin : colon.start()].rstrip()
        if window.endswith(")"):  # "IMPRESSION (preliminary):"
            window = window[: window.rfind("(") + 1].rstrip(" (")
        heading = _ending_heading(window, whole=begin == 0)
        if heading is not None:
            found.append((begin + heading[0], colon.end(), heading[1]))
    for match in _LINE.finditer(text):
        name = " ".join(match["words"].lower().split())
        if name in _headings():
            found.append((match.start(), match.end(), name))
    return sorted(found)


def _ending_heading(window: str, *, whole: bool) -> tuple[int, str] | None:
    """The longest heading with which the window ends, and where it starts.

    It must start the text (`whole`: so does the window), or follow a sentence end, a line break or two blanks, or be in
    capitals: "compared with the findings: ..." is no heading.
    """
    words = window.rsplit(maxsplit=1)
    if not words or words[-1].lower() not in _last_words():
        return None
    for word in _WORD.finditer(window):
        name = " ".join(window[word.start() :].lower().split())
        if name in _headings():
            lead = window[: word.start()]
            apart = lead.endswith("  ") or lead.rstrip(" ")[-1:] in _SENTENCE_ENDS if lead.strip() else whole
            if apart or window[word.start() :].isupper():
                return word.start(), name
    return None


def split_sections(text: str) -> list[Section]:
    """The sections of a report in order, covering the whole text.

    Text before the first heading, and paragraphs that follow a silent section ("INDICATION: ..."), assert only when no
    findings or impression heading exists: MIMIC-CXR reports often leave their findings without a heading.
    """
    marks = [(start, end, name, _headings()[name]) for start, end, name in _find_headings(text)]
    headed = any(kind == "asserting" for *_, kind in marks)
    sections = []
    if not marks or marks[0][0] > 0:
        sections.append(Section("", 0, marks[0][0] if marks else len(text), not headed))
    ends = [mark[0] for mark in marks[1:]] + [len(text)]
    for (start, body, name, kind), end in zip(marks, ends[: len(marks)], strict=True):
        if kind != "silent":
            sections.append(Section(name, start if kind == "organs" else body, end, True))
            continue
        first_word = end - len(text[body:end].lstrip())
        loose = None if headed else _PARAGRAPH.search(text, first_word, end)
        sections.append(Section(name, start, loose.start() if loose else end, False))
        if loose:
            sections.append(Section("", loose.start(), end, True))
    return sections


def prepare(report: str) -> tuple[str, list[Section]]:
    """The report's asserting text at its own offsets, ready for the tokenizer, and the report's sections.

    Other characters become blanks; ends of paragraphs, list items and sections become sentence ends; the answers of
    templates become signs.
    """
    text = report.translate(_PLAIN)
    sections = split_sections(text)
    parts, place = [], 0
    for section in sections:
        parts.append(" " * (section.start - place))
        body = text[section.start : section.end]
        parts.append(_close(answered(body)) if section.asserting else " " * len(body))
        place = section.end
    text = single_ends("".join(parts))
    text = _PARAGRAPH.sub(lambda match: ";" + match.group()[1:], text)
    text = _NEW_ITEM.sub(_item_end, text)
    text = _INLINE_NUMBER.sub(";", text)
    text = _QUERY.sub("~", text)
    return text.replace("\n", " "), sections


def _item_end(match: re.Match[str]) -> str:
    """The end of a list item instead of a line break, unless the line before it is empty or has an end of its own."""
    line = match.string[: match.start()].rstrip(" ")
    return ";" if line and not line.endswith(_NO_ITEM_AFTER) else match.group()


def _close(body: str) -> str:
    """A section's text with its last blank made a sentence end, unless it ends with one or has no blank to give."""
    words = body.rstrip()
    if len(words) == len(body) or words.endswith((".", "!", "?", ";")):
        return body
    return words + ";" + body[len(words) + 1 :]


def cut(text: str) -> Iterator[tuple[int, str]]:
    """The pieces of a prepared text, of one sentence or a few, without the blanks around them; where each starts.

    No rule looks beyond a sentence, so that a piece says the same wherever it stands.
    """
    start = 0
    for end in [match.start() + 1 for match in _SENTENCE_END.finditer(text)] + [len(text)]:
        piece = text[start:end].lstrip(" ")
        place, start = end - len(piece), end
        if piece:
            yield place, piece.rstrip(" ")
