"""What a checkpoint says of itself, as HTML: nothing here is typed by hand, all of it is read from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from whose_film import in_words

from hf_pneumo.explain.registry import methods
from hf_pneumo.models.folder import CheckpointFolder

if TYPE_CHECKING:  # the page is there before torch is imported, which these need
    from hf_pneumo.evaluation.classification.report import ClassificationReport
    from hf_pneumo.evaluation.estimate import Estimate
    from hf_pneumo.evaluation.explanations.localization import LocalizationReport
    from hf_pneumo.reporting.checkpoint_report import Report


def trained_on(checkpoint: CheckpointFolder) -> str:
    """One sentence, from the checkpoint itself: which model, and the films it learned from."""
    config = checkpoint.config
    source, films = config.data.source, config.data.films or {}
    model = f"The model {checkpoint.name} ({config.architecture})"
    if not source:
        return f"{model} does not say on what it was trained."
    count = f"{films['train']:,} films of " if "train" in films else ""
    protocol = f", {config.data.protocol} split" if config.data.protocol else ""
    people = f", {in_words(config.population)}," if config.population else ","
    return f"{model} was trained on {count}{source}{protocol}{people} and knows no other kind of film."


def trained_on_note(checkpoint: CheckpointFolder) -> str:
    """The same as a paragraph."""
    return f'<p class="hp-fine">{escape(trained_on(checkpoint))}</p>'


def about(checkpoint: CheckpointFolder, report: Report) -> str:
    """The checkpoint's own account: data, training, operating point, and what was measured."""
    config, point = checkpoint.config, checkpoint.config.operating_point
    data, training = config.data, config.training
    films = ", ".join(f"{name} {count:,}" for name, count in (data.films or {}).items())
    crop = f", crop {config.preprocess.crop}" if config.preprocess.crop else ""
    facts = {
        "Checkpoint": checkpoint.name + (f" @ {checkpoint.revision}" if checkpoint.revision else ""),
        "Network": f"{config.architecture}, {config.head} head",
        "Labels": ", ".join(config.labels.names),
        "Data set": data.source,
        "Revision": data.revision,
        "Split": data.protocol,
        "Films": films,
        "Input": " × ".join(map(str, config.preprocess.size)) + crop,
        "Temperature": f"{point.temperature:.3f}, fitted on {point.fitted_on}",
        "Trained by": training.command,
        "On": training.hardware,
    }
    listed = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items() if value)
    card = f'<section class="hp-card"><h3>About this model</h3><dl class="hp-facts">{listed}</dl></section>'
    measured = [evaluation.values for evaluation in report.evaluations if evaluation.has_figures]
    return card + _measured(measured) + "".join(map(_localized, report.localizations.values()))


def _measured(results: Sequence[ClassificationReport]) -> str:
    shown = ("auroc", "accuracy", "sensitivity", "specificity")
    body = "".join(
        f"<tr><th scope='row'>{escape(str(r.dataset or ''))}<br><small>{escape(str(r.protocol or ''))} "
        f"{escape(str(r.subset or ''))}</small></th><td>{r.n}</td>"
        + "".join(f"<td>{interval(r.metrics.get(name))}</td>" for name in shown)
        + "</tr>"
        for r in results
    )
    if not body:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("films of", "n", "AUROC", *shown[1:]))
    return (
        '<section class="hp-card"><h3>Measured</h3><div class="hp-wide" tabindex="0" role="region" '
        f'aria-label="Measured results"><table class="hp-table hp-results"><thead><tr>{head}</tr></thead><tbody>{body}'
        '</tbody></table></div><p class="hp-fine">With 95 % intervals, at the operating point of this checkpoint.</p>'
        "</section>" + _by_label(results[0])
    )


def _by_label(report: ClassificationReport) -> str:
    """Each label's figures of one subset, or why it has none; nothing for tasks of one score."""
    labels = report.labels
    if len(labels) < 2:
        return ""
    shown = ("auroc", "auprc", "sensitivity", "specificity")
    body = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{own.positives}</td>"
        + (
            f'<td colspan="{len(shown)}">too few films for figures</td>'
            if own.note
            else "".join(f"<td>{interval(own.metrics.get(metric))}</td>" for metric in shown)
        )
        + "</tr>"
        for name, own in labels.items()
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("label", "positives", "AUROC", "AUPRC", *shown[2:]))
    subset = escape(str(report.subset or ""))
    return (
        f'<section class="hp-card"><h3>Label by label, {subset}</h3><div class="hp-wide" '
        'tabindex="0" role="region" aria-label="Results by label"><table class="hp-table hp-results">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _localized(report: LocalizationReport) -> str:
    """Whether the maps point where radiologists drew boxes, beside baselines that never look at the film."""
    titles = {name: method.title for name, method in methods().items()}
    baselines = {"random": "a random map", "centre": "always the centre", "prior": "mean boxes of other patients"}
    body = "".join(
        f'<tr><th scope="row">{escape(names.get(name, name))}</th><td>{interval(row.pointing)}</td>'
        f"<td>{interval(row.pixel_auprc)}</td></tr>"
        for rows, names in ((report.baselines, baselines), (report.methods, titles))
        for name, row in rows.items()
    )
    films = next((row.films for row in report.methods.values()), "")
    return (
        '<section class="hp-card"><h3>Where the maps point</h3><p>Measured on boxes that radiologists drew on '
        f"{films} films. A method that does not clearly pass the baselines above it, which never look at the film, "
        "shows what moved this network and is no localization.</p>"
        '<div class="hp-wide" tabindex="0" role="region" aria-label="Localization"><table class="hp-table hp-results">'
        '<thead><tr><th scope="col">map</th><th scope="col">pointing game</th><th scope="col">pixel AUPRC</th></tr>'
        f'</thead><tbody>{body}</tbody></table></div><p class="hp-fine">With 95 % intervals.</p></section>'
    )


def interval(found: Estimate | None) -> str:
    """A figure with its interval below it."""
    if found is None:
        return "–"
    between = found.interval().strip("()")
    return f"{found.value:.3f}" + (f"<br><small>{between}</small>" if between else "")
