"""How a sentence stands to what it mentions: NegEx components for denial, doubt and what is not about this film.

NegEx: Chapman et al. 2001, "A Simple Algorithm for Identifying Negated Findings and Diseases in Discharge Summaries".
negspacy supplies the form of the term sets and their matcher. `ScopedCues` adds that a mention keeps the cue that
decided, that longer cues win over the shorter ones inside them, and a reach of one neighbour for "versus" and "or".
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache

from negspacy.negation import Negex
from spacy.language import Language
from spacy.tokens import Doc

from hf_pneumo.data.reports.mentions import Candidate, Cue, candidates, longest, sentence_starts
from hf_pneumo.data.reports.terms import expand_all, load_terms

_BOTH = frozenset({"Preceding", "Following"})


@dataclass(frozen=True)
class Group:
    """One group of `terms/assertions.yaml`: what its cues say (0, -1 or None), their reach, the NegEx term set."""

    says: int | None
    reach: str
    within: int
    termset: dict[str, list[str]]


class ScopedCues(Negex):
    """Leaves on each mention the cue of one group that acts on it, the nearest where there are several."""

    def __init__(self, nlp: Language, name: str, group: Group) -> None:
        super().__init__(nlp, name, group.termset, extension_name=f"pneumo_{name}")
        self.name = name
        self.reach = group.reach
        self.within = group.within

    def negex(self, doc: Doc) -> Doc:
        """Mark every mention that a cue reaches within its clause."""
        mentions = candidates(doc)
        cues, stops = self.find_cues(doc) if mentions else ({}, [])
        if not cues:
            return doc
        starts = sorted(sentence_starts(doc) + stops)
        clauses: dict[int, list[Candidate]] = {}
        for mention in mentions:
            clauses.setdefault(bisect_right(starts, mention.start), []).append(mention)
        for cue, kinds in sorted(cues.items()):
            clause = clauses.get(bisect_right(starts, cue[0]), [])
            before = [mention for mention in clause if mention.start < cue[0]]
            after = [mention for mention in clause if mention.end > cue[1]]
            for mention in self._reached(cue, kinds, before, after):
                present = mention.cues.get(self.name)
                if present is None or _distance(mention, cue) < _distance(mention, present):
                    mention.cues[self.name] = cue
        return doc

    def find_cues(self, doc: Doc) -> tuple[dict[Cue, frozenset[str]], list[int]]:
        """Cues by span (pseudo cues taken out) and the first tokens of the stops that no cue covers."""
        strings = self.nlp.vocab.strings
        matches = [(strings[key], start, end) for key, start, end in self.matcher(doc)]
        kept = longest(match for match in matches if match[0] != "Termination")
        covered = {token for span in kept for token in range(*span)}
        stops = [
            start for kind, start, end in matches if kind == "Termination" and covered.isdisjoint(range(start, end))
        ]
        return {span: kinds for span, kinds in kept.items() if "pseudo" not in kinds}, stops

    def _reached(
        self, cue: Cue, kinds: frozenset[str], before: list[Candidate], after: list[Candidate]
    ) -> list[Candidate]:
        if self.reach == "nearest":
            near = before[-1:] + after[:1]
            return near if len(near) == 2 and all(_distance(m, cue) <= self.within for m in near) else []
        if kinds >= _BOTH:
            return after or before
        return after if "Preceding" in kinds else before


def _distance(mention: Candidate, cue: Cue) -> int:
    """Tokens between a mention and a cue."""
    return mention.start - cue[1] if cue[0] < mention.start else cue[0] - mention.end


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
    phrases = {
        name: {part: expand_all(group.get(part, [])) for part in ("before", "after", "stops", "pseudo")}
        for name, group in raw.items()
    }
    groups = {}
    for name, group in raw.items():
        own = {*phrases[name]["before"], *phrases[name]["after"]}
        most = max(len(cue.split()) for cue in own)
        others = {cue for other, parts in phrases.items() if other != name for cue in parts["before"] + parts["after"]}
        shadows = sorted(cue for cue in others - own if _contains(cue, own, most))
        termset = {
            "pseudo_negations": phrases[name]["pseudo"] + shadows,
            "preceding_negations": phrases[name]["before"],
            "following_negations": phrases[name]["after"],
            "termination": phrases[name]["stops"],
        }
        groups[name] = Group(group["says"], group["reach"], group.get("within", 0), termset)
    return groups


def _contains(longer: str, cues: set[str], most: int) -> bool:
    """Whether a phrase holds one of the cues, of at most `most` words, as whole words and is longer than it."""
    words = longer.split()
    return any(
        " ".join(words[first : first + count]) in cues
        for count in range(1, min(most + 1, len(words)))
        for first in range(len(words) - count + 1)
    )
