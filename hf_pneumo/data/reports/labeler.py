"""Free-text radiology reports to CheXpert's fourteen observations: 1 present, 0 absent, -1 uncertain, NaN unmentioned.

The three stages of Irvin et al. 2019 (arXiv 1901.07031, section 3) - find mentions, classify them, aggregate - as one
spaCy pipeline: a phrase matcher over our own terms, NegEx components over our own cues, and the paper's aggregation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
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
from hf_pneumo.data.reports.sections import Section, prepare

_INDEX = {name: index for index, name in enumerate(CHEXPERT_14)}
_NO_FINDING = _INDEX[NO_FINDING]
_OTHER = "Other Finding"  # emphysema, hernia ...: no label of its own, but not a film without a finding
# "vs." and "a.m." keep their point; the tokenizer's other abbreviations (Mass. for Massachusetts) are words here.
_KEPT_ABBREVIATIONS = {"vs.", "v.s.", "a.m.", "p.m.", "e.g.", "i.e.", "Dr.", "Mr.", "Mrs.", "Ms.", "w/o"}


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


class _Classified(NamedTuple):
    observation: str
    value: int | None
    mention: Candidate
    rule: str
    cue: Cue | None


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
        self._says = {name: group.says for name, group in assertion_groups().items()}
        self._nlp = _pipeline()

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

    def pipe(
        self, reports: Iterable[str | None], *, batch_size: int = 256
    ) -> Iterator[np.ndarray | ValueError | TypeError]:
        """One item per report, in order: float32 (14,) of 1, 0, -1 and NaN, or the error that made it unreadable.

        All fourteen are NaN where `label` gives None for all: `blank_reason` says why.
        """
        waiting: deque[str | None | ValueError | TypeError] = deque()

        def texts() -> Iterator[str]:
            for report in reports:
                try:
                    text, _ = self._prepared(report)
                    waiting.append(report)
                except (ValueError, TypeError) as error:
                    text = ""
                    waiting.append(error)
                yield "" if text and not_english(text) else text

        for doc in self._nlp.pipe(texts(), batch_size=batch_size):
            report = waiting.popleft()
            yield report if isinstance(report, Exception) else self._values(doc)

    def explain(self, report: str, observation: str | None = None) -> list[Mention]:
        """Every mention in the order of the text, dropped ones too; of one observation where it is named."""
        if observation is not None and observation not in _INDEX:
            raise ValueError(f"`observation` is {observation!r}; choose one of {', '.join(self.names)}.")
        text, sections = self._prepared(report)
        doc = self._nlp(text)
        found = []
        for item in self._classify(doc):
            span = doc[item.mention.start : item.mention.end]
            start, end = span.start_char, span.end_char
            section = next((s.name for s in sections if s.start <= start < s.end), "")
            cue = doc[slice(*item.cue)] if item.cue else None
            words = report[cue.start_char : cue.end_char] if cue else ""
            found.append(
                Mention(item.observation, item.value, report[start:end], start, end, section, item.rule, words)
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
        """The values of a prepared report, and why they are all blank where they must be."""
        reason = not_english(text)
        doc = self._nlp("" if reason else text)
        values = self._values(doc)
        if (
            reason is None
            and np.isnan(values).all()
            and not any(item.value == POSITIVE for item in self._classify(doc))
        ):
            reason = NO_READING
        return values, reason

    def _values(self, doc: Doc) -> np.ndarray:
        """float32 (14,); no finding is one only where something is said of the film."""
        items = list(self._classify(doc))
        values = self._aggregate(items)
        if values[_NO_FINDING] == POSITIVE and not any(item.value is not None for item in items):
            stated = len(doc) > 0 and is_reading(doc.text)
            values[_NO_FINDING] = POSITIVE if stated else np.nan
        return values

    def _classify(self, doc: Doc) -> Iterator[_Classified]:
        """Every mention with its value, None where it is dropped, and the rule and cue that decided."""
        for mention in candidates(doc):
            rule, cue, meaning = "stated", None, mention.meaning
            if mention.organ:
                value, cue = mention.state or (None, None)
                if value is None:
                    yield from (_Classified(name, None, mention, "organ without a state", cue) for name in meaning)
                    continue
                rule, meaning = "state of the organ", dict.fromkeys(meaning, value)
            group = self._deciding(mention)
            if group is not None:
                rule, cue = group, mention.cues[group]
                says = self._says[group]
                yield from (
                    _Classified(name, self._combine(v, says), mention, rule, cue) for name, v in meaning.items()
                )
            else:
                yield from (_Classified(name, value, mention, rule, cue) for name, value in meaning.items())

    def _deciding(self, mention: Candidate) -> str | None:
        """The deciding group of those that act: what is not about this film, then denial, then doubt."""
        order = {None: 0, NEGATIVE: 1, UNCERTAIN: 2}
        return min(mention.cues, key=lambda name: order[self._says[name]], default=None)

    @staticmethod
    def _combine(value: int, says: int | None) -> int | None:
        """What the words mean under an assertion: only what is present can be denied or hedged."""
        if says is None or (says == NEGATIVE and value == UNCERTAIN):
            return None
        return says if value == POSITIVE else value

    def _aggregate(self, mentions: Iterable[_Classified]) -> np.ndarray:
        """Present over uncertain over absent; No Finding is 1 if only support devices are present or uncertain."""
        values = np.full(len(self.names), np.nan, dtype=np.float32)
        rank = {POSITIVE: 3, UNCERTAIN: 2, NEGATIVE: 1}
        best: dict[str, int] = {}
        for item in mentions:
            value, before = item.value, best.get(item.observation)
            if value is not None and (before is None or rank[value] > rank[before]):
                best[item.observation] = value
        other = best.pop(_OTHER, NEGATIVE)
        findings = [value for name, value in best.items() if name != SUPPORT_DEVICES]
        if other != POSITIVE and all(value == NEGATIVE for value in findings):
            best[NO_FINDING] = POSITIVE
        if self.parents:
            for name in [name for name, value in best.items() if value == POSITIVE]:
                while name in PARENT:
                    name = PARENT[name]
                    best[name] = POSITIVE
        for name, value in best.items():
            values[_INDEX[name]] = value
        return values
