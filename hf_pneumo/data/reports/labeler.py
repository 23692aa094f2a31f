"""Free-text radiology reports to CheXpert's fourteen observations: 1 present, 0 absent, -1 uncertain, NaN unmentioned.

The three stages of Irvin et al. 2019 (arXiv 1901.07031, section 3) - find mentions, classify them, aggregate - as one
spaCy pipeline: a phrase matcher over our own terms, NegEx components over our own cues, and the paper's aggregation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import compile_infix_regex, compile_prefix_regex

from hf_pneumo.data.observations import CHEXPERT_14, NEGATIVE, NO_FINDING, PARENT, POSITIVE, SUPPORT_DEVICES, UNCERTAIN
from hf_pneumo.data.reports.assertions import assertion_groups
from hf_pneumo.data.reports.mentions import Candidate, Cue, candidates
from hf_pneumo.data.reports.screening import NO_READING, is_reading, not_english
from hf_pneumo.data.reports.sections import Section, cut, prepare

_INDEX = {name: index for index, name in enumerate(CHEXPERT_14)}
_RANK = {POSITIVE: 3, UNCERTAIN: 2, NEGATIVE: 1}  # the value that counts where an observation has several
_OTHER = "Other Finding"  # emphysema, hernia ...: no label of its own, but not a film without a finding
# "vs." and "a.m." keep their point; the tokenizer's other abbreviations (Mass. for Massachusetts) are words here.
_KEPT_ABBREVIATIONS = {"vs.", "v.s.", "a.m.", "p.m.", "e.g.", "i.e.", "Dr.", "Mr.", "Mrs.", "Ms.", "w/o"}
# Reports say the same again and again: pieces of so many characters are read once, and so many of them remembered.
_REMEMBERED, _LONGEST_REMEMBERED = 16384, 300


@dataclass(frozen=True)
class Mention:
    """One phrase of a report and why it counts as it does.

    words are the report's characters [start, end). value is 1, 0, -1, or None where the mention is dropped (a history,
    a family member, an organ without a state). rule names the rule and cue the words that triggered it, "" for none.
    """

    observation: str
    value: int | None
    words: str
    start: int
    end: int
    section: str
    rule: str
    cue: str

    def __str__(self) -> str:
        value = {1: "present", 0: "absent", -1: "uncertain", None: "dropped"}[self.value]
        reason = f"{self.rule}: {self.cue!r}" if self.cue else self.rule
        return f"{self.observation} {value}: {self.words!r} at {self.start}-{self.end} ({reason})"


class _Reading(NamedTuple):
    """One observation of one phrase: characters [start, end) of its piece, and those of the cue that decided."""

    observation: str
    value: int | None
    start: int
    end: int
    rule: str
    cue: tuple[int, int] | None


@cache
def _pipeline() -> Language:
    """Tokenizer, sentences, mentions, organ states and one component per assertion group; no model is downloaded."""
    nlp = spacy.blank("en")
    nlp.tokenizer.rules = {
        word: pieces
        for word, pieces in nlp.tokenizer.rules.items()
        if word in _KEPT_ABBREVIATIONS or ("'" in word and word[0].isalpha())
    }
    # "clear.No effusion" and "2.No effusion": a forgotten blank must not hide a word.
    nlp.tokenizer.prefix_search = compile_prefix_regex([*nlp.Defaults.prefixes, "~"]).search  # "?pneumonia"
    infixes = [*nlp.Defaults.infixes, r"(?<=[A-Za-z0-9)])\.(?=[A-Za-z])", ";"]
    nlp.tokenizer.infix_finditer = compile_infix_regex(infixes).finditer
    nlp.add_pipe("sentencizer", config={"punct_chars": [".", "!", "?", ";"]})
    nlp.add_pipe("pneumo_mentions")
    nlp.add_pipe("pneumo_states")
    for name in assertion_groups():
        nlp.add_pipe("pneumo_cues", name=name)
    return nlp


class ReportLabeler:
    """Labels reports and explains the labels.

    parents: also give each parent of figure 1 in Irvin et al. the value 1 when a child is present (Cardiomegaly gives
    Enlarged Cardiomediastinum, Consolidation gives Lung Opacity), as the radiologists' labels of CheXpert's validation
    and test sets do. The labels published from reports, and the default here, leave parents as mentioned.
    """

    names = CHEXPERT_14

    def __init__(self, *, parents: bool = False) -> None:
        self.parents = parents
        _pipeline()

    def label(self, report: str) -> dict[str, int | None]:
        """The value of each of the fourteen observations, None where it is not mentioned.

        All are None for a report that is not in English or describes no film (see `blank_reason`). Raises TypeError
        where `report` is no text and ValueError where it holds no text that asserts anything.
        """
        text, _ = self._prepared(report)
        values, _ = self._judge(text)
        return {name: None if np.isnan(value) else int(value) for name, value in zip(self.names, values, strict=True)}

    def blank_reason(self, report: str) -> str | None:
        """Why a report has no label at all (another language, or no film described), one sentence, or None.

        Raises as `label`.
        """
        text, _ = self._prepared(report)
        return self._judge(text)[1]

    def pipe(self, reports: Iterable[str | None]) -> Iterator[np.ndarray | ValueError | TypeError]:
        """One item per report, in order: float32 (14,) of 1, 0, -1 and NaN, or the error that made it unreadable.

        All fourteen are NaN where `label` gives None for all: `blank_reason` says why.
        """
        for report in reports:
            try:
                text, _ = self._prepared(report)
            except (ValueError, TypeError) as error:
                yield error
            else:
                yield self._judge(text)[0]

    def explain(self, report: str, observation: str | None = None) -> list[Mention]:
        """Every mention in the order of the text, dropped ones too; of one observation where it is named."""
        if observation is not None and observation not in _INDEX:
            raise ValueError(f"`observation` is {observation!r}; choose one of {', '.join(self.names)}.")
        text, sections = self._prepared(report)
        found = []
        for place, piece in cut(text):
            for reading in _read(piece):
                start, end = place + reading.start, place + reading.end
                section = next((s.name for s in sections if s.start <= start < s.end), "")
                cue = report[place + reading.cue[0] : place + reading.cue[1]] if reading.cue else ""
                found.append(
                    Mention(
                        reading.observation, reading.value, report[start:end], start, end, section, reading.rule, cue
                    )
                )
        return [mention for mention in found if observation in (None, mention.observation)]

    @staticmethod
    def _prepared(report: str | None) -> tuple[str, list[Section]]:
        if not isinstance(report, str):
            raise TypeError(f"`report` is {type(report).__name__}; give the report as text.")
        if not any(map(str.isalpha, report)):
            raise ValueError("`report` is empty; give text with at least one word.")
        text, sections = prepare(report)
        if not any(map(str.isalpha, text)):
            names = ", ".join(section.name for section in sections if section.name)
            raise ValueError(f"`report` has no findings or impression, only {names}; nothing in it describes the film.")
        return text, sections

    def _judge(self, text: str) -> tuple[np.ndarray, str | None]:
        """float32 (14,) of a prepared report, and why they are all blank where they must be.

        No finding is one only where something is said of the film.
        """
        values = np.full(len(self.names), np.nan, dtype=np.float32)
        if reason := not_english(text):
            return values, reason
        readings = [reading for _, piece in cut(text) for reading in _read(piece)]
        best = self._aggregate(readings)
        if all(reading.value is None for reading in readings) and NO_FINDING in best and not is_reading(text):
            del best[NO_FINDING]
        for name, value in best.items():
            values[_INDEX[name]] = value
        silent = not best and not any(reading.value == POSITIVE for reading in readings)
        return values, NO_READING if silent else None

    def _aggregate(self, readings: Iterable[_Reading]) -> dict[str, int]:
        """Present over uncertain over absent; No Finding is 1 if only support devices are present or uncertain."""
        best: dict[str, int] = {}
        for reading in readings:
            if reading.value is not None:
                best[reading.observation] = max(
                    reading.value, best.get(reading.observation, reading.value), key=_RANK.__getitem__
                )
        other = best.pop(_OTHER, NEGATIVE)
        findings = [value for name, value in best.items() if name != SUPPORT_DEVICES]
        if other != POSITIVE and all(value == NEGATIVE for value in findings):
            best[NO_FINDING] = POSITIVE
        if self.parents:
            for name in [name for name, value in best.items() if value == POSITIVE]:
                while name in PARENT:
                    name = PARENT[name]
                    best[name] = POSITIVE
        return best


def _read(piece: str) -> tuple[_Reading, ...]:
    """What a piece of a prepared report says, in order: each observation with its value, None where it is dropped."""
    return _remembered(piece) if len(piece) <= _LONGEST_REMEMBERED else tuple(_classify(_pipeline()(piece)))


def forget() -> None:
    """Forget what the pieces of earlier reports say, as a measurement of the speed must."""
    _remembered.cache_clear()


@lru_cache(_REMEMBERED)
def _remembered(piece: str) -> tuple[_Reading, ...]:
    return tuple(_classify(_pipeline()(piece)))


def _classify(doc: Doc) -> Iterator[_Reading]:
    """The readings of a document's mentions."""
    for mention in candidates(doc):
        rule, cue, meaning = _meaning(mention)
        span, because = _characters(doc, mention.start, mention.end), _characters(doc, *cue) if cue else None
        yield from (_Reading(name, value, *span, rule, because) for name, value in meaning.items())


def _meaning(mention: Candidate) -> tuple[str, Cue | None, Mapping[str, int | None]]:
    """The rule and cue that decide a mention, and the value of each observation it names."""
    rule, cue, meaning = "stated", None, mention.meaning
    if mention.organ:
        value, cue = mention.state or (None, None)
        if value is None:
            return "organ without a state", cue, dict.fromkeys(meaning)
        rule, meaning = "state of the organ", dict.fromkeys(meaning, value)
    group = _deciding(mention)
    if group is None:
        return rule, cue, meaning
    says = assertion_groups()[group].says
    return group, mention.cues[group], {name: _combine(value, says) for name, value in meaning.items()}


def _characters(doc: Doc, first: int, end: int) -> tuple[int, int]:
    """The characters of tokens [first, end)."""
    span = doc[first:end]
    return span.start_char, span.end_char


def _deciding(mention: Candidate) -> str | None:
    """The deciding group of those that act: what is not about this film, then denial, then doubt."""
    order = {None: 0, NEGATIVE: 1, UNCERTAIN: 2}
    return min(mention.cues, key=lambda name: order[assertion_groups()[name].says], default=None)


def _combine(value: int, says: int | None) -> int | None:
    """What the words mean under an assertion: only what is present can be denied or hedged."""
    if says is None or (says == NEGATIVE and value == UNCERTAIN):
        return None
    return says if value == POSITIVE else value
