"""What the page says of a finding, as HTML: functions from values to text, everything escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.explain import methods
from hf_pneumo.models.checkpoint import NO_VERDICT, Checkpoint
from hf_pneumo.models.ood_detector import sentence
from hf_pneumo.serving.export import weights_sha256
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


def verdict(finding: Finding, checkpoint: Checkpoint) -> str:
    """Verdict in words, calibrated probability, and where it stands; for many labels their sorted list."""
    labels, point = checkpoint.config.labels, checkpoint.config.operating_point
    several = len(finding.scores) > 1
    kind = {NORMAL: "normal", NONE_POSITIVE: "uncertain", "uncertain": "uncertain"}.get(finding.verdict, "positive")
    body = rows(finding, finding.scores, labels.normal, with_threshold=True) if several else _single(finding)
    if not several and len(labels.names) > 2:
        body += rows(finding, finding.probabilities, labels.normal, with_threshold=False)
    fitted = (
        "The operating point was not fitted: it is a default and no recommendation."
        if not finding.fitted
        else f"Calibration and operating point were fitted on {escape(point.fitted_on)}."
    )
    return (
        f'<section class="hp-card hp-verdict hp-{kind}" role="status">{_headline(finding, labels.normal)}'
        f"{_why_uncertain(finding)}{body}{possible(finding, labels)}"
        f'<p class="hp-fine">{fitted}</p></section>'
    )


def _headline(finding: Finding, normal: str | None) -> str:
    if len(finding.scores) == 1:
        ((name, score),) = finding.scores.items()
        word = WORDS.get(finding.verdict, finding.verdict.capitalize())
        return (
            f'<div class="hp-head"><h2 class="hp-word">{escape(word)}</h2><p class="hp-score"><b>{percent(score)}</b>'
            f"<span>calibrated probability of {escape(name.lower())}</span></p></div>"
        )
    verdicts = [own for name, own in finding.verdicts.items() if name != normal and own != NO_VERDICT]
    word = WORDS.get(finding.verdict, f"{verdicts.count('positive')} of {len(verdicts)} above threshold")
    return (
        f'<div class="hp-head"><h2 class="hp-word">{escape(word)}</h2><p class="hp-score"><span>calibrated '
        "probabilities; choose one to see its map</span></p></div>"
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
    """The prediction sets in words; nothing for a suspect picture, of which they promise nothing."""
    if not finding.sets or finding.suspect or finding.overridden:
        return ""
    told = f"At {100 * finding.coverage:g} % coverage"
    if labels.exclusive:
        (answers,) = finding.sets.values()
        only = ", and nothing else" if len(answers) == 1 else ""
        told += f" it may be: {' or '.join(answers).lower()}{only}."
    else:
        certain = [name for name in labels.findings if finding.sets.get(name) == (name,)]
        doubtful = [name for name in labels.findings if len(finding.sets.get(name, ())) > 1]
        kinds = {"it shows": certain, "it may show": doubtful}
        parts = [f"{words}: {', '.join(names)}" for words, names in kinds.items() if names]
        told += f" of each label {'; '.join(parts) or 'it shows none of them'}."
    return f'<p class="hp-possible">{escape(told)}</p>'


def _single(finding: Finding) -> str:
    ((name, score),) = finding.scores.items()
    threshold, band = finding.thresholds[name], finding.abstain[name]
    low, high = band
    abstains = low < high
    text = f"Probability {percent(score)}, operating point {percent(threshold)}"
    text += f", uncertain between {percent(low)} and {percent(high)}" if abstains else ""
    legend = f'<li class="hp-key-point">operating point {percent(threshold)}</li>'
    if abstains:
        legend += f'<li class="hp-key-band">uncertain between {percent(low)} and {percent(high)}</li>'
    return (
        f'<div class="hp-gauge" role="img" aria-label="{escape(text)}">{_track(score, threshold, band)}</div>'
        f'<div class="hp-ends" aria-hidden="true"><span>0 %</span><span>100 %</span></div>'
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


def caption(finding: Finding, caution: str = "") -> str:
    """What the overlay shows, under it, and a caution about the method's maps where there is one."""
    explanation = finding.explanation
    title = methods()[explanation.method].title
    height, width = explanation.grid.shape
    where = f" at layer <code>{escape(explanation.layer)}</code>" if explanation.layer else ""
    refined = ", a mean of ten views" if explanation.smoothing != "none" else ""
    refined += ", held to the lungs" if explanation.within_lungs else ""
    what = f"{escape(title)} for <b>{escape(explanation.target)}</b>{where}{refined}"
    if explanation.constant:
        shown = f"{what} is empty: it found no evidence for this label, so it says nothing about place."
    else:
        shown = f"Left the film, right {what}, on a grid of {height} × {width}. Drag the line to compare."
    told = f'<p class="hp-caution" role="note">{escape(caution)}</p>' if caution else ""
    return (
        f'<div class="hp-caption"><p>{shown}</p>{told}<p class="hp-scale"><span>little</span><i></i><span>most evidence'
        "</span></p></div>"
    )


def evidence(finding: Finding, checkpoint: Checkpoint) -> str:
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
        f'</p><p class="hp-fine">Weights SHA-256 <code>{weights_sha256(checkpoint.path)[:16]}…</code></p></section>'
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
