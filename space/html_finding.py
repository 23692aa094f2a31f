"""What the page says of a finding, as HTML: functions from values to text, everything escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from validation_films import ValidationFilms
from whose_film import in_words

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.explain.registry import methods
from hf_pneumo.models.config import NO_VERDICT
from hf_pneumo.models.folder import CheckpointFolder
from hf_pneumo.models.ood_detector import sentence
from hf_pneumo.serving.outcome import NONE_POSITIVE, NORMAL, Finding, NotJudged

TOO_FEW = "not judged: too few films to set a threshold"
WORDS = {NORMAL: "Normal", NONE_POSITIVE: "None positive", "uncertain": "Uncertain"}


def percent(value: float) -> str:
    """A share in [0, 1] for people: whole per cent, one decimal near the ends, never a false 0 or 100."""
    if value < 0.001:
        return "< 0.1 %"
    if value > 0.999:
        return "> 99.9 %"
    return f"{value:.1%}"[:-1] + " %" if value < 0.1 or value > 0.9 else f"{value:.0%}"[:-1] + " %"


def blank() -> str:
    """In place of a verdict, as long as there is no film."""
    return (
        '<section class="hp-card hp-blank" role="status"><h2>No film yet</h2><p>Drop in a chest X-ray (PNG, JPEG, '
        "TIFF, WebP, BMP or DICOM, 8 to 16 bits) or take one of the examples.</p></section>"
    )


def whose(choices: Sequence[tuple[str, str]]) -> str:
    """In place of a verdict, where nobody has said whose film it is; ``choices``: (words, group)."""
    buttons = "".join(
        f'<button type="button" class="hp-choice" data-choice="{escape(group)}">{escape(words)}</button>'
        for words, group in choices
    )
    return (
        '<section class="hp-card hp-blank" role="status"><h2>Whose film is it?</h2><p>The file does not say. '
        f"Each model knows the films of one age alone, so this chooses which reads it.</p><p>{buttons}</p></section>"
    )


def problem(sentence: str) -> str:
    """In place of a verdict, when the film or the question cannot be used."""
    return (
        '<section class="hp-card hp-problem" role="alert"><h2>This could not be read</h2>'
        f"<p>{escape(sentence)}</p></section>"
    )


def not_judged(outcome: NotJudged) -> str:
    """In place of a verdict, where the picture is no upright frontal chest film: why, and no figure."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in outcome.notes)
    return (
        '<section class="hp-card hp-problem hp-refused" role="alert"><h2>Not judged</h2>'
        f"<p><b>{escape(outcome.refusal.reason.capitalize())}.</b> {escape(outcome.reason)}</p>"
        + (f'<ul class="hp-notes">{notes}</ul>' if notes else "")
        + "</section>"
    )


def verdict(finding: Finding, checkpoint: CheckpointFolder, validation: ValidationFilms | None = None) -> str:
    """Verdict in words, calibrated probability, and what became of validation films that scored like this one; for many
    labels their sorted list."""
    labels = checkpoint.config.labels
    several = len(finding.scores) > 1
    kind = {NORMAL: "normal", NONE_POSITIVE: "uncertain", "uncertain": "uncertain"}.get(finding.verdict, "positive")
    body = rows(finding, finding.scores, labels.normal, with_threshold=True) if several else _single(finding)
    if not several and len(labels.names) > 2:
        body += rows(finding, finding.probabilities, labels.normal, with_threshold=False)
    return (
        f'<section class="hp-card hp-verdict hp-{kind}" role="status">{_headline(finding, labels.normal)}'
        f"{alike(finding, validation)}{_why_uncertain(finding)}{_for_others(finding)}{body}"
        f"{_fitted(finding, checkpoint)}</section>"
    )


def alike(finding: Finding, validation: ValidationFilms | None) -> str:
    """How many of the validation films that scored like this one had the finding; nothing where that is not known."""
    found = validation and validation.alike(finding.leading, finding.probability)
    if not found:
        return ""
    name = finding.leading.lower()
    other = f", and {found.otherwise} were abnormal in another way" if found.otherwise else ""
    return (
        f'<p class="hp-alike">Of {found.films} validation films that scored like this, <b>{found.positive} had '
        f"{escape(name)}</b>{other}.</p>"
    )


def _for_others(finding: Finding) -> str:
    """That the film is of somebody for whom the checkpoint is not, where its file says so."""
    told = [note for note in finding.notes if "this model knows" in note]
    return "".join(f'<p class="hp-caution" role="note">{escape(note)}</p>' for note in told)


def _fitted(finding: Finding, checkpoint: CheckpointFolder) -> str:
    """Where probability and threshold come from, and what cannot be ruled out: for who asks, folded away."""
    point = checkpoint.config.operating_point
    if not finding.fitted:
        return '<p class="hp-fine">The threshold was not fitted: it is a default and no recommendation.</p>'
    thresholds = "".join(
        f"<p>Threshold for {escape(name.lower())}: {percent(value)}.</p>" for name, value in finding.thresholds.items()
    )
    return (
        '<details class="hp-more"><summary>Where these numbers come from</summary>'
        f"<p>Probability and thresholds were fitted on validation films ({escape(point.fitted_on)}).</p>"
        f"{thresholds if len(finding.thresholds) == 1 else ''}{possible(finding, checkpoint.config.labels)}</details>"
    )


def _headline(finding: Finding, normal: str | None) -> str:
    if len(finding.scores) == 1:
        ((name, score),) = finding.scores.items()
        word = WORDS.get(finding.verdict, finding.verdict.capitalize())
        return (
            f'<div class="hp-head"><h2 class="hp-word">{escape(word)}</h2><p class="hp-score"><b>{percent(score)}</b>'
            f"<span>probability of {escape(name.lower())}</span></p></div>"
        )
    verdicts = [own for name, own in finding.verdicts.items() if name != normal and own != NO_VERDICT]
    word = WORDS.get(finding.verdict, f"{verdicts.count('positive')} of {len(verdicts)} above threshold")
    return (
        f'<div class="hp-head"><h2 class="hp-word">{escape(word)}</h2><p class="hp-score"><span>choose a '
        "finding to see its map</span></p></div>"
    )


def _why_uncertain(finding: Finding) -> str:
    """What stands against the picture: why it would not have been judged, or why a suspect one gets no verdict."""
    if finding.overridden:
        title, why = "Judged because you asked for it.", finding.overridden.sentence
    elif finding.suspect:
        title, why = "This is why the verdict is uncertain.", sentence(finding.suspect)
    else:
        return ""
    return f'<p class="hp-caution" role="note"><strong>{title}</strong> {escape(why)}</p>'


def possible(finding: Finding, labels: LabelSet) -> str:
    """What cannot be ruled out, in words; nothing for a suspect picture, of which the sets promise nothing."""
    if not finding.sets or finding.suspect or finding.overridden:
        return ""
    promise = f"in {100 * finding.coverage:g} of 100 films the truth is among what is not ruled out"
    if labels.exclusive:
        (answers,) = finding.sets.values()
        words = f"Not ruled out: {' or '.join(answers).lower()}"
    else:
        certain = [name for name in labels.findings if finding.sets.get(name) == (name,)]
        doubtful = [name for name in labels.findings if len(finding.sets.get(name, ())) > 1]
        words = f"Not ruled out: {len(certain) + len(doubtful)} of {len(labels.findings)} findings"
    return f'<p class="hp-possible">{escape(words)} ({promise}).</p>'


def _single(finding: Finding) -> str:
    """The score on its scale: where the verdict is normal, uncertain and positive."""
    ((name, score),) = finding.scores.items()
    threshold, (low, high) = finding.thresholds[name], finding.abstain[name]
    abstains = low < high
    where = [f"normal below {percent(low)}", f"uncertain to {percent(high)}"] if abstains else []
    where += [f"{name.lower()} from {percent(high if abstains else threshold)}"]
    kinds = ("none", "band", "none") if abstains else ("point",)
    legend = "".join(
        f'<li class="hp-key-{kind}">{escape(words)}</li>' for kind, words in zip(kinds, where, strict=True)
    )
    told = f"Probability {percent(score)}: {', '.join(where)}"
    return (
        f'<div class="hp-gauge" role="img" aria-label="{escape(told)}">'
        f"{_track(score, None if abstains else threshold, (low, high))}</div>"
        '<div class="hp-ends" aria-hidden="true"><span>0 %</span><span>100 %</span></div>'
        f'<ul class="hp-legend">{legend}</ul>'
    )


def _track(score: float, threshold: float | None, band: tuple[float, float] = (0.0, 0.0)) -> str:
    low, high = band
    marks = f'<i class="hp-fill" style="width:{score:.2%}"></i>'
    if low < high:
        marks = f'<i class="hp-band" style="left:{low:.2%};width:{high - low:.2%}"></i>' + marks
    if threshold is not None:
        marks += f'<i class="hp-point" style="left:{threshold:.2%}"></i>'
    return f'<span class="hp-track">{marks}</span>'


def rows(finding: Finding, values: Mapping[str, float], normal: str | None, *, with_threshold: bool) -> str:
    """One button for each label, likeliest first: its bar, threshold and value; pressed where its map is shown."""
    target = finding.explanation.target if finding.explanation else None
    items = []
    for name, value in sorted(values.items(), key=lambda item: -item[1]):
        threshold = finding.thresholds.get(name) if with_threshold else None
        state = finding.verdicts[name] if with_threshold else ""
        kind = "normal" if name == normal and state == "positive" else state or "plain"
        kind = "plain" if state == NO_VERDICT else kind
        words = {"positive": "above threshold", "uncertain": "uncertain", NO_VERDICT: TOO_FEW}.get(state, "")
        point = f"; threshold {percent(threshold)}" if threshold is not None else ""
        pressed = "true" if name == target else "false"
        band = finding.abstain.get(name, (0.0, 0.0)) if with_threshold else (0.0, 0.0)
        items.append(
            f'<li><button type="button" class="hp-row hp-row-{kind}" data-choice="{escape(name)}" '
            f'aria-pressed="{pressed}" title="{escape(percent(value) + point)}"><span class="hp-name">{escape(name)}'
            f"</span>{_track(value, threshold, band)}<span class='hp-value'>{percent(value)}</span>"
            f'<span class="hp-state">{words}</span></button></li>'
        )
    return f'<ul class="hp-rows">{"".join(items)}</ul>'


def caption(finding: Finding) -> str:
    """What the map shows, under it."""
    explanation = finding.explanation
    height, width = explanation.grid.shape
    refined = ", a mean of several views" if explanation.smoothing != "none" else ""
    refined += ", held to the lungs" if explanation.within_lungs else ""
    what = f"{escape(methods()[explanation.method].title)} for <b>{escape(explanation.target)}</b>{refined}"
    if explanation.constant:
        return f'<p class="hp-caption">{what} is empty: it found no evidence, so it says nothing about place.</p>'
    return f'<p class="hp-caption">{what}, on a grid of {height} × {width}.</p>'


def cannot_say(checkpoint: CheckpointFolder, validation: ValidationFilms | None, caution: str) -> str:
    """What the answer is not, from the checkpoint's own account; ``caution``: of the maps of the method shown."""
    config = checkpoint.config
    looked_for = ", ".join(name.lower() for name in config.labels.names if name != config.labels.normal)
    side = max(config.preprocess.size)
    sentences = [
        "Whether the patient is ill: that takes the patient, the history and a radiologist.",
        f"Anything but {looked_for}: fractures, nodules, tubes and all else are not looked for.",
        f"What needs fine detail: the model sees the film at {side} pixels.",
    ]
    if config.population:
        sentences.insert(1, f"Anything of other patients: it has learnt from {in_words(config.population)}.")
    if validation and config.labels.exclusive:
        share = validation.share(config.labels.score_names[0])
        sentences.append(
            f"How likely the finding is where it is rarer: {share:.0%} of the validation films had it, and where fewer "
            "have it more positive answers are wrong."
        )
    sentences.append(f"Where disease ends: the map shows what moved the score. {caution}")
    items = "".join(f"<li>{escape(sentence.strip())}</li>" for sentence in sentences)
    return (
        f'<section class="hp-card hp-limits"><h3>What this cannot say</h3><ul class="hp-notes">{items}</ul></section>'
    )


def evidence(finding: Finding, checkpoint: CheckpointFolder) -> str:
    """Boxes in the film's own pixels, the input checks, and where the answer comes from."""
    height, width = finding.film.pixels.shape
    notes = "".join(f"<li>{escape(note)}</li>" for note in finding.notes)
    view = f", view {escape(finding.film.view)}" if finding.film.view else ""
    revision = f"revision {finding.revision}" if finding.revision else "a local folder"
    return (
        f'<div class="hp-evidence"><section class="hp-card"><h3>Boxes</h3>{_box_table(finding)}</section>'
        '<section class="hp-card"><h3>Input checks</h3>'
        f"<p>{escape(finding.film.format)}, {width} × {height} pixels, {finding.film.bits} bits{view}</p>"
        + (f'<ul class="hp-notes">{notes}</ul>' if notes else '<p class="hp-clear">No remarks.</p>')
        + '</section><section class="hp-card"><h3>Model</h3>'
        f"<p><b>{escape(finding.model)}</b>, {escape(revision)}</p>"
        f"<p>{escape(checkpoint.config.architecture)}, input {' × '.join(map(str, checkpoint.config.preprocess.size))}"
        f'</p><p class="hp-fine">Weights SHA-256 <code>{checkpoint.sha256[:16]}…</code></p></section>'
        "</div>"
    )


def _box_table(finding: Finding) -> str:
    if not finding.boxes:
        target = finding.explanation.target
        why = (
            "the verdict is normal"
            if finding.verdict == NORMAL
            else "no region is large and hot enough"
            if finding.is_called(target)
            else f"{target} is not judged"
            if finding.verdicts.get(target) == NO_VERDICT
            else f"{target} is below its threshold"
        )
        return f'<p class="hp-clear">None: {escape(why)}.</p>'
    body = "".join(
        f"<tr><td>{box.x}</td><td>{box.y}</td><td>{box.w}</td><td>{box.h}</td><td>{box.score:.2f}</td></tr>"
        for box in finding.boxes
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("left", "top", "width", "height", "heat"))
    return (
        f'<table class="hp-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        '<p class="hp-fine">In pixels of the film as it was read; heat is the mean of the map inside, from 0 to 1.</p>'
    )
