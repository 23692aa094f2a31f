"""Which reports can be labelled at all: in English, and about a film.

A report in another language would otherwise be one without any finding. Words decide, not a statistical identifier of
languages: on sentences as short and as Latin as "No atelectasis." such models fail (py3langid 0.4 takes 21 of the 333
English sentences of tests/data/report_sentences.csv for another language).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from hf_pneumo.data.reports.terms import expand_all, load_terms

NO_READING = "`report` describes no film: it names no observation and says nothing about how the chest looks."
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_MASKED = re.compile(r"^(?:x+|_+)$")  # "XXXX": words taken out for privacy
# spaCy's codes by the names of languages.yaml.
_CODES = {
    "German": ("de",), "Spanish": ("es",), "French": ("fr",), "Portuguese": ("pt",), "Italian": ("it",),
    "Dutch": ("nl",), "Danish, Norwegian or Swedish": ("da", "nb", "sv"), "Polish": ("pl",),
    "Czech or Slovak": ("cs", "sk"), "Finnish": ("fi",), "Turkish": ("tr",), "Indonesian or Malay": ("id",),
    "Vietnamese": ("vi",), "Romanian": ("ro",), "Hungarian": ("hu",),
}  # fmt: skip
_TOO_FEW = 0.34  # share of words that are English or shared, below which a report is not read as English


@dataclass(frozen=True)
class _Vocabulary:
    """english: words of English reports alone. shared: of several languages. others: by language, without both."""

    english: frozenset[str]
    shared: frozenset[str]
    others: dict[str, frozenset[str]]


def not_english(text: str) -> str | None:
    """Why a text is not read as an English report, or None: another alphabet, another language, or no word known."""
    if alphabet := _alphabet(text):
        return f"`report` is not in English ({alphabet}); translate it first."
    known = _vocabulary()
    words = _WORD.findall(text.lower())
    english = sum(word in known.english for word in words)
    unknown = [word for word in words if word not in known.english]
    strange = [  # a letter is no word: "e/o", "c/w"
        word for word in unknown if len(word) > 1 and word not in known.shared and not _MASKED.match(word)
    ]
    shared = sum(word in known.shared for word in unknown)
    if english + shared + len(strange) == 0:
        return NO_READING
    if english >= 3 * len(strange):
        return None
    language, votes = _best(strange, known)
    accented = sum(not word.isascii() for word in strange)
    if (
        english == 0
        or max(votes, accented) > english
        or english + shared < _TOO_FEW * (english + shared + len(strange))
    ):
        if votes:
            return f"`report` is not in English ({language}); translate it first."
        return "`report` has too few words that are known from English reports; check its language."
    return None


def is_reading(text: str) -> bool:
    """Whether a text that states no observation says how the chest looks, so that it has no finding."""
    words = f" {' '.join(_WORD.findall(text.lower()))} "
    readings, refusals = _readings()
    return any(phrase in words for phrase in readings) and not any(phrase in words for phrase in refusals)


def _alphabet(text: str) -> str | None:
    """The alphabet other than Latin that most letters are of."""
    if text.isascii():
        return None
    letters = [ord(char) for char in text if char.isalpha()]
    found = Counter(name for code in letters for name, first, last in _scripts() if first <= code <= last)
    return found.most_common(1)[0][0] if 2 * found.total() > len(letters) else None


@cache
def _scripts() -> tuple[tuple[str, int, int], ...]:
    scripts = load_terms("languages")["scripts"]
    return tuple((name, first, last) for name, ranges in scripts.items() for first, last in ranges)


def _best(words: list[str], known: _Vocabulary) -> tuple[str, int]:
    """The language that has most of the words, and how many."""
    votes = Counter(name for word in words for name, others in known.others.items() if word in others)
    return votes.most_common(1)[0] if votes else ("", 0)


@cache
def _vocabulary() -> _Vocabulary:
    listed = load_terms("languages")
    shared = frozenset(_split(listed["shared"]))
    stop_words = {name: set().union(*map(_stop_words, codes)) for name, codes in _CODES.items()}
    english = {*_split(listed["english"]), *_stop_words("en"), *_term_words()}
    foreign = {
        name: {plain for word in {*_split(listed[name]), *words} for plain in (word, _unaccented(word))}
        for name, words in stop_words.items()
    }
    # "no", "in" and "die" are words of several languages, and no evidence for English.
    ambiguous = english & set().union(*stop_words.values())
    others = {name: frozenset(words - english - shared) for name, words in foreign.items()}
    return _Vocabulary(frozenset(english - shared - ambiguous), shared | ambiguous, others)


def _stop_words(code: str) -> set[str]:
    return import_module(f"spacy.lang.{code}.stop_words").STOP_WORDS


def _term_words() -> set[str]:
    """Every word of the labeler's own terms."""
    observations = [template for entry in load_terms("observations") for template in entry["terms"]]
    groups = [
        t
        for group in load_terms("assertions").values()
        for part in group.values()
        if isinstance(part, list)
        for t in part
    ]
    states = [template for templates in load_terms("states").values() for template in templates]
    readings = [template for templates in load_terms("diagnostic").values() for template in templates]
    return {
        word for t in [*observations, *groups, *states, *readings] for word in map(str.lower, _WORD.findall(str(t)))
    }


def _split(lines: str | list[str]) -> Iterator[str]:
    for line in [lines] if isinstance(lines, str) else lines:
        yield from (str(word).lower() for word in line.split())


def _unaccented(word: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))


@cache
def _readings() -> tuple[list[str], list[str]]:
    """The readings and the refusals of `terms/diagnostic.yaml` as whole words between blanks."""
    terms = load_terms("diagnostic")
    readings, refusals = (
        [f" {' '.join(_WORD.findall(phrase))} " for phrase in expand_all(terms[kind])]
        for kind in ("readings", "refusals")
    )
    return readings, refusals
