"""What a report mentions: the terms found in it, and the state of the organs among them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from spacy.attrs import SENT_START
from spacy.language import Language
from spacy.matcher import PhraseMatcher
from spacy.tokens import Doc

from hf_pneumo.data.observations import NEGATIVE, POSITIVE, UNCERTAIN
from hf_pneumo.data.reports.terms import expand_all, load_terms

Cue = tuple[int, int]  # first token and last token + 1 of the words that decided
_MENTIONS = "pneumo_mentions"


@dataclass
class Candidate:
    """Tokens [start, end) that name observations; meaning maps each to 1, 0 or -1 as the words alone say it.

    organ: the words name an organ and mean something only with a state. cues: the cue of each group that acts.
    """

    start: int
    end: int
    meaning: dict[str, int]
    organ: bool = False
    state: tuple[int | None, Cue] | None = None
    cues: dict[str, Cue] = field(default_factory=dict)


def candidates(doc: Doc) -> list[Candidate]:
    """The mentions of a document, in order."""
    return doc.user_data.get(_MENTIONS, [])


def sentence_starts(doc: Doc) -> list[int]:
    """The first token of every sentence."""
    return np.flatnonzero(doc.to_array(SENT_START) == 1).tolist()


def longest(matches: Iterable[tuple[str, int, int]]) -> dict[Cue, frozenset[str]]:
    """Non-overlapping spans, the longest first, with the kinds matched on each of them."""
    kinds: dict[Cue, set[str]] = {}
    for kind, start, end in matches:
        kinds.setdefault((start, end), set()).add(kind)
    taken: set[int] = set()
    kept: dict[Cue, frozenset[str]] = {}
    for start, end in sorted(kinds, key=lambda span: (span[0] - span[1], span[0])):
        if taken.isdisjoint(range(start, end)):
            taken.update(range(start, end))
            kept[(start, end)] = frozenset(kinds[(start, end)])
    return kept


class MentionFinder:
    """Finds the terms of `terms/observations.yaml`; the longest term wins."""

    def __init__(self, nlp: Language) -> None:
        self.strings = nlp.vocab.strings
        self.entries = load_terms("observations")
        self.matcher = PhraseMatcher(nlp.vocab, attr="LOWER")
        seen: set[str] = set()
        for index, entry in enumerate(self.entries):
            phrases = [phrase for phrase in expand_all(entry["terms"]) if phrase not in seen]
            seen.update(phrases)
            self.matcher.add(str(index), list(nlp.tokenizer.pipe(phrases)))

    def __call__(self, doc: Doc) -> Doc:
        found = longest((self.strings[key], start, end) for key, start, end in self.matcher(doc))
        mentions = (self._candidate(span, self.entries[int(min(kinds))]) for span, kinds in sorted(found.items()))
        doc.user_data[_MENTIONS] = [mention for mention in mentions if mention.meaning]
        return doc

    @staticmethod
    def _candidate(span: Cue, entry: dict) -> Candidate:
        organs = entry.get("structure")
        return Candidate(*span, dict.fromkeys(organs, POSITIVE) if organs else entry["labels"], organ=bool(organs))


class OrganStates:
    """Gives organs ("heart", "mediastinum") the word for their state in the sentence: enlarged, normal, borderline.

    The cue that touches the organ from the left decides, else the nearest one after it, else the nearest before it.
    """

    values: dict[str, int | None] = {
        "present": POSITIVE,
        "absent": NEGATIVE,
        "uncertain": UNCERTAIN,
        "unknown": None,
    }

    def __init__(self, nlp: Language) -> None:
        self.strings = nlp.vocab.strings
        self.matcher = PhraseMatcher(nlp.vocab, attr="LOWER")
        for kind, phrases in load_terms("states").items():
            self.matcher.add(kind, list(nlp.tokenizer.pipe(expand_all(phrases))))

    def __call__(self, doc: Doc) -> Doc:
        organs = [mention for mention in candidates(doc) if mention.organ]
        if not organs:
            return doc
        kept = longest((self.strings[key], start, end) for key, start, end in self.matcher(doc))
        cues = sorted((start, end, min(kinds)) for (start, end), kinds in kept.items())
        starts = sorted(sentence_starts(doc) + [start for start, _, kind in cues if kind == "stops"])
        for organ in organs:
            clause = bisect_right(starts, organ.start)
            near = [cue for cue in cues if cue[2] != "stops" and bisect_right(starts, cue[0]) == clause]
            for start, end, kind in self._deciding(organ, near):
                organ.state = (self.values[kind], (start, end))
        return doc

    @staticmethod
    def _deciding(organ: Candidate, cues: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
        before = [cue for cue in cues if cue[1] <= organ.start]
        after = [cue for cue in cues if cue[0] >= organ.end]
        if before and (before[-1][1] == organ.start or not after):
            yield before[-1]
        elif after:
            yield after[0]


@Language.factory("pneumo_mentions")
def _make_mentions(nlp: Language, name: str) -> MentionFinder:
    return MentionFinder(nlp)


@Language.factory("pneumo_states")
def _make_states(nlp: Language, name: str) -> OrganStates:
    return OrganStates(nlp)
