"""Short answers of templated reports, and the ends of sentences as people type them, made plain for the tokenizer.

"Pneumothorax: neg.", "Effusion? No", "Edema - none", "Effusion (-)", "Nodule [ ] yes [x] no". Every edit keeps the
length of the text.
"""

from __future__ import annotations

import re

# Signs that `terms/assertions.yaml` has cues for; no report holds them.
NO, UNCLEAR, NOT_ASSESSED = "\u2296", "\u2299", "\u2298"

_SEEN = r"(?:seen|present|identified|visible|evident|detected|noted)"
_NO = rf"(?:no|none(?:[ ]{_SEEN})?|nil|neg|negative|-ve)"
_NO_IN_FIELD = rf"(?:{_NO}|n|0|absent|denied|nope|false|not[ ]{_SEEN}|\(-+\)|-|no[ ]evidence)"
_YES = r"(?:yes|y|pos|positive|\+ve|present|true|\+)"
_FIELD = r"(?:[:=?\u2192|]|\.\.+|[ ]-+(?=[ ]))[ ]*(?:-[ ]*)?"  # between a question and its answer
_NEXT_QUESTION = r"[ ](?-i:[A-Z])[A-Za-z/ ]{2,30}(?:[:=?]|[ ]-[ ])"
_END = rf"(?=[ ]*(?:$|[.](?!\d)|[;,|\n)])|[ ]{{2}}|{_NEXT_QUESTION})"
_NO_BOXES = r"\[[ ]?\][ ]*yes[ ,/]*\[x\][ ]*no\b|\[x\][ ]*no[ ,/]*\[[ ]?\][ ]*yes\b"
_YES_BOXES = r"\[x\][ ]*yes[ ,/]*\[[ ]?\][ ]*no\b|\[[ ]?\][ ]*no[ ,/]*\[x\][ ]*yes\b"
_FIELD_SIGNS = (":", "=", "?", "..", " -", "\u2192", "|", "[", "(")  # one of them is in every field with its answer
_FIELD_ANSWERS = {
    NO: re.compile(rf"{_FIELD}{_NO_IN_FIELD}{_END}|{_NO_BOXES}", re.IGNORECASE),
    UNCLEAR: re.compile(rf"[:=][ ]*(?:\?+|\+/-|\(\?\)){_END}", re.IGNORECASE),
    NOT_ASSESSED: re.compile(
        rf"[:=][ ]*(?:n/?a|not (?:applicable|assessed|evaluated|recorded)|unknown|_+|--+){_END}", re.IGNORECASE
    ),
    "": re.compile(rf"[?][ ]*{_YES}(?![a-z])|\(\+\)|{_YES_BOXES}", re.IGNORECASE),
}
_NO_AFTER_WORD = re.compile(rf"[ ](?:{_NO}|\(-+\)|\((?:no|nil|neg(?:ative)?)\)){_END}", re.IGNORECASE)
_BOX = re.compile(r"\[[ x]?\]", re.IGNORECASE)
_BOXED_LINE = re.compile(rf"[^\n]*{_BOX.pattern}[^\n]*", re.IGNORECASE)
# "Effusion negative.", but "Study negative." is a reading of the whole film and stays as it is.
_WHOLE_FILM = ("chest", "study", "film", "exam", "examination", "x-ray", "radiograph", "lungs")
_SHORT_NO = re.compile(r"(?<![^\s(])-ve(?![^\s.,;])", re.IGNORECASE)
_SEVERAL_ENDS = re.compile(
    r"[.!;](?:[ ]*[.!;|-])+(?=[ ]*(?:[^\s.!;|\d-]|$))"
)  # "..", ". .", ".-"; a number keeps its point
_STROKES = re.compile(r"[ ]\|(?=[ ]|$)|[ ]/(?=[ ][A-Z])|\u2026")


def answered(text: str) -> str:
    """The text with its answers as signs: NO, UNCLEAR, NOT_ASSESSED, or blanks for a yes."""
    if any(sign in text for sign in _FIELD_SIGNS):
        for sign, pattern in _FIELD_ANSWERS.items():
            text = pattern.sub(lambda match, sign=sign: _filled(sign, match.group()), text)
        text = _BOXED_LINE.sub(_unboxed, text) if "[" in text else text
    text = _NO_AFTER_WORD.sub(_answer_to_word, text)
    return _SHORT_NO.sub("neg", text) if "-" in text else text


def single_ends(text: str) -> str:
    """The text with one sign for the end of a sentence where there are several, or a bar or stroke in its place."""
    text = _SEVERAL_ENDS.sub(lambda match: _filled(";", match.group()), text)
    if any(sign in text for sign in (" |", " / ", "\u2026")):
        text = _STROKES.sub(lambda match: _filled(";", match.group()), text)
    return text


def _unboxed(line: re.Match[str]) -> str:
    """A line of boxes, before their words or after them, as sentences: an empty box denies its words."""
    words = line.group()
    before = words[: words.index("[")].rstrip()
    leading = not before or before.endswith((":", ";", ".", ","))

    def answer(box: re.Match[str]) -> str:
        if "x" in box.group().lower():
            return ";  "
        if len(box.group()) == 2:
            return "no" if leading else f"{NO};"
        return (";no" if words[box.end() :].startswith(" ") else "no ") if leading else f"{NO}; "

    return _BOX.sub(answer, words)


def _answer_to_word(match: re.Match[str]) -> str:
    """The sign for a "no" after a word that is no name of the whole film."""
    before = match.string[max(match.start() - 12, 0) : match.start()].lower()
    if not before or not (before[-1].isalpha() or before[-1] in ")]") or before.endswith(_WHOLE_FILM):
        return match.group()
    return _filled(NO, match.group())


def _filled(sign: str, words: str) -> str:
    """A sign after a blank, as long as the words it stands for."""
    return f" {sign}".ljust(len(words)) if len(words) > 1 else sign or " "
