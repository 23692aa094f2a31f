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
Word = tuple[int, int, str]  # first token, last token + 1, kind
_ATTRIBUTE = 3  # tokens between an adjective and its noun: "enlarged left thyroid lobe"
_CONJUNCTIONS = {"and", ",", "&", "/", "or"}
_JOINTS = _CONJUNCTIONS | {"the", "both", "size", "contours", "left", "right"}
_BREAKS = {"and", "or", "is", "are", "with", "in", "on", "of", "at", "has", "have", "the", "a", "an", "for", "than"}
_MENTIONS, _STARTS, _WORDS = "pneumo_mentions", "pneumo_starts", "pneumo_words"


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
    if _STARTS not in doc.user_data:
        doc.user_data[_STARTS] = np.flatnonzero(doc.to_array(SENT_START) == 1).tolist()
    return doc.user_data[_STARTS]


def lower_words(doc: Doc) -> list[str]:
    """The tokens in lower case."""
    if _WORDS not in doc.user_data:
        doc.user_data[_WORDS] = [token.lower_ for token in doc]
    return doc.user_data[_WORDS]


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


@dataclass(frozen=True)
class Place:
    """One rule of `terms/elsewhere.yaml`: observations that mean ``labels`` instead in one of the organs."""

    observations: frozenset[str]
    labels: dict[str, int]
    organs: frozenset[str]
    parts: frozenset[str]
    prepositions: frozenset[str]
    chest: frozenset[str]
    within: int

    @classmethod
    def of(cls, entry: dict) -> Place:
        words = {name: frozenset(expand_all(entry[name])) for name in ("organs", "parts", "prepositions", "chest")}
        return cls(frozenset(entry["observations"]), entry["labels"], **words, within=entry["within"])

    def holds(self, words: list[str], start: int, end: int) -> bool:
        """Whether the words place the span in an organ: "splenic granuloma", "lesion in the left seventh rib"."""
        before = words[max(start - 2, 0) : start]
        if before and (before[-1] in self.organs or (before[-1] in self.parts and before[0] in self.organs)):
            return True
        if words[end : end + 1] and words[end] in self.prepositions:
            return self._reaches(words[end + 1 : end + 1 + self.within])
        return words[start] in self.organs

    def _reaches(self, words: list[str]) -> bool:
        for word in words:
            if word in self.organs:
                return True
            if word in self.chest or not word[0].isalnum():
                return False
        return False


class MentionFinder:
    """Finds the terms of `terms/observations.yaml`; the longest term wins."""

    def __init__(self, nlp: Language) -> None:
        self.strings = nlp.vocab.strings
        self.entries = load_terms("observations")
        self.matcher = PhraseMatcher(nlp.vocab, attr="LOWER")
        self.places = [Place.of(entry) for entry in load_terms("elsewhere")]
        seen: set[str] = set()
        for index, entry in enumerate(self.entries):
            phrases = [phrase for phrase in expand_all(entry["terms"]) if phrase not in seen]
            seen.update(phrases)
            self.matcher.add(str(index), list(nlp.tokenizer.pipe(phrases)))

    def __call__(self, doc: Doc) -> Doc:
        found = longest((self.strings[key], start, end) for key, start, end in self.matcher(doc))
        words = lower_words(doc)
        mentions = []
        for span, kinds in sorted(found.items()):
            entry = self.entries[int(min(kinds))]
            if entry.get("structure"):
                mentions.append(Candidate(*span, dict.fromkeys(entry["structure"], POSITIVE), organ=True))
            elif labels := self._placed(words, span, entry["labels"]):
                mentions.append(Candidate(*span, labels))
        doc.user_data[_MENTIONS] = mentions
        return doc

    def _placed(self, words: list[str], span: Cue, labels: dict[str, int]) -> dict[str, int]:
        """What the words of a span mean, or what they mean in the organ that the sentence places them in."""
        for rule in self.places:
            if not rule.observations.isdisjoint(labels) and rule.holds(words, *span):
                return rule.labels
        return labels


class OrganStates:
    """Gives organs ("heart", "mediastinum") the word for their state in the sentence: enlarged, normal, borderline.

    A word that settles the matter decides from anywhere in the sentence. Else the cue that touches the organ from the
    left decides, else the nearest one after it, else the nearest before it. A word about an earlier film, or about
    another organ that stands between or after it, is none of this organ's.
    """

    values: dict[str, int | None] = {
        "present": POSITIVE,
        "absent": NEGATIVE,
        "uncertain": UNCERTAIN,
        "settles": NEGATIVE,
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
        words = sorted((start, end, _first_of(kinds)) for (start, end), kinds in kept.items())
        sentences = sentence_starts(doc)
        clauses = sorted(sentences + [start for start, _, kind in words if kind == "stops"])
        others = [word for word in words if word[2] == "others" and not _covered(word, organs)]
        cues = [word for word in words if word[2] in self.values and not _is_past(word, words)]
        for organ in organs:
            sentence, clause = bisect_right(sentences, organ.start), bisect_right(clauses, organ.start)
            for start, end, kind in self._deciding(
                organ,
                [cue for cue in cues if bisect_right(clauses, cue[0]) == clause and _said_of(doc, organ, cue, others)],
                [
                    cue
                    for cue in cues
                    if cue[2] == "settles"
                    and cue[0] >= organ.end
                    and bisect_right(sentences, cue[0]) == sentence
                    and _said_of(doc, organ, cue, [*others, *((o.start, o.end, "") for o in organs if o is not organ)])
                ],
            ):
                organ.state = (self.values[kind], (start, end))
        return doc

    @staticmethod
    def _deciding(organ: Candidate, cues: list[Word], settling: list[Word]) -> Iterator[Word]:
        before = [cue for cue in cues if cue[1] <= organ.start]
        after = [cue for cue in cues if cue[0] >= organ.end]
        if settling:
            yield settling[0]
        elif before and (before[-1][1] == organ.start or not after):
            yield before[-1]
        elif after:
            yield after[0]


def _first_of(kinds: frozenset[str]) -> str:
    """The kind that counts where a phrase has several: one that settles is also one for normal."""
    return "settles" if "settles" in kinds else min(kinds)


def _covered(word: Word, organs: list[Candidate]) -> bool:
    return any(organ.start < word[1] and word[0] < organ.end for organ in organs)


def _is_past(cue: Word, words: list[Word]) -> bool:
    """Whether a word for a state is said of an earlier film: "previously enlarged", "large on the prior film"."""
    return any(kind == "past" and (end == cue[0] or start == cue[1]) for start, end, kind in words)


def _said_of(doc: Doc, organ: Candidate, cue: Word, others: list[Word]) -> bool:
    """Whether no other organ comes between the organ and the cue, or takes the cue as its adjective."""
    first, last = (organ.end, cue[0]) if cue[0] >= organ.end else (cue[1], organ.start)
    between = [other for other in others if first <= other[0] < last]
    joined = bool(between) and _joined(doc, first, between, last)
    taken = any(cue[1] <= start <= cue[1] + _ATTRIBUTE and _same_phrase(doc, cue[1], start) for start, _, _ in others)
    return (not between or joined) and not (taken and cue[0] >= organ.end)


def _joined(doc: Doc, first: int, between: list[Word], last: int) -> bool:
    """Whether the organ and the others are one subject: "heart and aorta are normal"."""
    names = {token for start, end, _ in between for token in range(start, end)}
    end = max(other[1] for other in between)
    loose = [doc[i].lower_ for i in range(first, end) if i not in names]
    return not _CONJUNCTIONS.isdisjoint(loose) and _JOINTS.issuperset(loose) and last - end <= _ATTRIBUTE


def _same_phrase(doc: Doc, first: int, last: int) -> bool:
    return all(doc[i].is_alpha and doc[i].lower_ not in _BREAKS for i in range(first, last))


@Language.factory("pneumo_mentions")
def _make_mentions(nlp: Language, name: str) -> MentionFinder:
    return MentionFinder(nlp)


@Language.factory("pneumo_states")
def _make_states(nlp: Language, name: str) -> OrganStates:
    return OrganStates(nlp)
