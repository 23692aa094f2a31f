"""How a sentence stands to what it mentions: NegEx components for denial, doubt and what is not about this film.

NegEx: Chapman et al. 2001, "A Simple Algorithm for Identifying Negated Findings and Diseases in Discharge Summaries".
negspacy supplies the form of the term sets and their matcher. `ScopedCues` adds that a mention keeps the cue that
decided, that longer cues win over the shorter ones inside them, a reach of one neighbour for "versus" and "or", and two
things that end a cue's reach: a mention with a predicate of its own, and what another thing lies on.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from negspacy.negation import Negex
from spacy.language import Language
from spacy.tokens import Doc

from hf_pneumo.data.reports.mentions import Candidate, Cue, candidates, longest, lower_words, sentence_starts
from hf_pneumo.data.reports.terms import expand_all, load_terms

_BOTH = frozenset({"Preceding", "Following"})
_CUES = ("preceding_negations", "following_negations")
_NO_CUES = ("Termination", "beside", "predicates")
_NEAR = 3  # tokens between "superimposed on" and its mention
_PHRASE = 7  # tokens between a mention and its predicate: "consolidation at the left base is improved"
_JOINTS = ("or", "and", "and/or", "versus", "vs", "vs.", "/", "&", "nor")


@dataclass(frozen=True)
class Group:
    """One group of `terms/assertions.yaml`: what its cues say (0, -1 or None), their reach, the NegEx term set.

    beside, predicates and lists: what the file explains under these names.
    """

    says: int | None
    reach: str
    within: int
    termset: dict[str, list[str]]
    beside: list[str]
    predicates: list[str]
    lists: bool = False


class ScopedCues(Negex):
    """Leaves on each mention the cue of one group that acts on it, the nearest where there are several."""

    def __init__(self, nlp: Language, name: str, group: Group) -> None:
        super().__init__(nlp, name, group.termset, extension_name=f"pneumo_{name}")
        self.name = name
        self.reach = group.reach
        self.within = group.within
        self.lists = group.lists
        self.anchors = frozenset(_anchor(nlp, cue) for part in _CUES for cue in group.termset[part])
        for kind in ("beside", "predicates"):
            self.matcher.add(kind, list(nlp.tokenizer.pipe(getattr(group, kind))))

    def negex(self, doc: Doc) -> Doc:
        """Mark every mention that a cue reaches within its clause."""
        mentions = candidates(doc)
        if not mentions or self.anchors.isdisjoint(lower_words(doc)):
            return doc
        cues, stops, marks = self.find_cues(doc)
        if not cues:
            return doc
        starts = sorted(sentence_starts(doc) + stops + _clause_starts(doc, mentions, marks["predicates"]))
        bases = _bases(doc, mentions, marks["beside"])
        clauses: dict[int, list[Candidate]] = {}
        for mention in mentions:
            clauses.setdefault(bisect_right(starts, mention.start), []).append(mention)
        for cue, kinds in sorted(cues.items()):
            clause = clauses.get(bisect_right(starts, cue[0]), [])
            before = [mention for mention in clause if mention.start < cue[0] and mention.start not in bases]
            after = [m for m in clause if m.end > cue[1] and bases.get(m.start, len(doc)) >= cue[0]]
            if self.lists:
                before = _listed(doc, before, cue)
            for mention in self._reached(cue, kinds, before, after):
                present = mention.cues.get(self.name)
                if present is None or _distance(mention, cue) < _distance(mention, present):
                    mention.cues[self.name] = cue
        return doc

    def find_cues(self, doc: Doc) -> tuple[dict[Cue, frozenset[str]], list[int], dict[str, list[Cue]]]:
        """Cues by span (pseudo cues taken out), the stops' first tokens where no cue covers them, and other phrases."""
        strings = self.nlp.vocab.strings
        matches = [(strings[key], start, end) for key, start, end in self.matcher(doc)]
        if all(match[0] not in _BOTH for match in matches):
            return {}, [], {}
        kept = longest(match for match in matches if match[0] not in _NO_CUES)
        covered = {token for span in kept for token in range(*span)}
        stops = [
            start for kind, start, end in matches if kind == "Termination" and covered.isdisjoint(range(start, end))
        ]
        marks = {
            name: [(start, end) for kind, start, end in matches if kind == name] for name in ("beside", "predicates")
        }
        return {span: kinds for span, kinds in kept.items() if "pseudo" not in kinds}, stops, marks

    def _reached(
        self, cue: Cue, kinds: frozenset[str], before: list[Candidate], after: list[Candidate]
    ) -> list[Candidate]:
        if self.reach == "nearest":
            near = before[-1:] + after[:1]
            return near if len(near) == 2 and all(_distance(m, cue) <= self.within for m in near) else []
        if self.reach == "last":
            return [mention for mention in before[-1:] if _distance(mention, cue) <= self.within]
        if kinds >= _BOTH:
            return after or before
        return after if "Preceding" in kinds else before


def _distance(mention: Candidate, cue: Cue) -> int:
    """Tokens between a mention and a cue."""
    return mention.start - cue[1] if cue[0] < mention.start else cue[0] - mention.end


def _anchor(nlp: Language, cue: str) -> str:
    """The longest token of a cue: without it in a report, the cue is not there either."""
    word = max(cue.split(), key=len)
    return word if word.isalpha() else max((token.text for token in nlp.tokenizer(word)), key=len)


def _clause_starts(doc: Doc, mentions: list[Candidate], predicates: list[Cue]) -> list[int]:
    """Where a later mention of an enumeration starts a clause, having a predicate of its own."""
    begins = {start for start, _ in predicates}
    words = lower_words(doc)
    found = []
    for earlier, mention in pairwise(mentions) if begins else ():
        if not _has_predicate(doc, mention.end, begins):
            continue
        joints = [i for i in range(earlier.end, mention.start) if words[i] in ("and", ",")]
        found += joints[-1:]
    return found


def _has_predicate(doc: Doc, first: int, begins: set[int]) -> bool:
    """Whether one of the predicates begins within the words that still belong to a mention."""
    if begins.isdisjoint(range(first, first + _PHRASE)):
        return False
    words = lower_words(doc)
    for i in range(first, min(first + _PHRASE, len(doc))):
        if i in begins:
            return True
        if doc[i].is_punct or words[i] in ("and", "or"):
            return False
    return False


def _listed(doc: Doc, before: list[Candidate], cue: Cue) -> list[Candidate]:
    """The mentions before a cue that it is said of: of "A, B" only B, of "A, B or C" all."""
    end, joined = cue[0], False
    for place in range(len(before) - 1, -1, -1):
        if place < len(before) - 1:
            words = set(lower_words(doc)[before[place].end : end])
            joined = joined or not words.isdisjoint(_JOINTS)
            if "," in words and not joined:
                return before[place + 1 :]
        end = before[place].start
    return before


def _bases(doc: Doc, mentions: list[Candidate], beside: list[Cue]) -> dict[int, int]:
    """First token of each mention that something lies on or next to, and of the phrase that says so."""
    bases = {}
    for start, end in beside:
        mention = next((m for m in mentions if end <= m.start <= end + _NEAR), None)
        if mention and not any(token.is_punct for token in doc[end : mention.start]):
            bases[mention.start] = start
    return bases


@Language.factory("pneumo_cues")
def _make_cues(nlp: Language, name: str) -> ScopedCues:
    return ScopedCues(nlp, name, assertion_groups()[name])


@cache
def assertion_groups() -> dict[str, Group]:
    """The groups of `terms/assertions.yaml`, expanded.

    A phrase of another group that contains a cue of this one is a pseudo cue here: "excluded" does not deny inside
    "cannot be excluded".
    """
    raw = load_terms("assertions")
    parts = ("before", "after", "stops", "pseudo", "beside", "predicates")
    phrases = {name: {part: expand_all(group.get(part, [])) for part in parts} for name, group in raw.items()}
    groups = {}
    for name, group in raw.items():
        own = {*phrases[name]["before"], *phrases[name]["after"]}
        most = max(len(cue.split()) for cue in own)
        firsts = {cue.split()[0] for cue in own}
        others = {cue for other, parts in phrases.items() if other != name for cue in parts["before"] + parts["after"]}
        shadows = sorted(cue for cue in others - own if _contains(cue, own, firsts, most))
        termset = {
            "pseudo_negations": phrases[name]["pseudo"] + shadows,
            "preceding_negations": phrases[name]["before"],
            "following_negations": phrases[name]["after"],
            "termination": phrases[name]["stops"],
        }
        groups[name] = Group(
            group["says"],
            group["reach"],
            group.get("within", 0),
            termset,
            phrases[name]["beside"],
            phrases[name]["predicates"],
            group.get("lists", False),
        )
    return groups


def _contains(longer: str, cues: set[str], firsts: set[str], most: int) -> bool:
    """Whether a phrase holds one of the cues, of at most `most` words, as whole words and is longer than it.

    firsts: the first words of the cues.
    """
    words = longer.split()
    return any(
        " ".join(words[first : first + count]) in cues
        for first in range(len(words))
        if words[first] in firsts
        for count in range(1, min(most, len(words) - first, len(words) - 1) + 1)
    )
