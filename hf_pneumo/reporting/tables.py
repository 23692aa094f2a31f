"""Tables in Markdown of what was measured: each takes typed results and gives text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from hf_pneumo.evaluation.classification.contrasts import ALL, VIEW_RULE
from hf_pneumo.evaluation.classification.metrics import Estimates
from hf_pneumo.evaluation.classification.ood import OodReport
from hf_pneumo.evaluation.classification.operating_points import MEASURED
from hf_pneumo.evaluation.classification.paired_tests import COMPARED, ComparisonReport, PairReport
from hf_pneumo.evaluation.explanations.evaluate_faithfulness import FIGURES, FaithfulnessReport
from hf_pneumo.evaluation.explanations.localization import LocalizationReport, MapReport, MethodMapReport
from hf_pneumo.evaluation.explanations.variants import DEFAULT, PLAIN, legend, titled
from hf_pneumo.reporting.checkpoint_report import LABEL_COLUMNS, Evaluation
from hf_pneumo.reporting.formatting import markdown_table, number, with_interval

OVER = ("pointing", "pixel_auprc", "iou")  # figures by which maps are compared film by film
Named = tuple[str, Evaluation]  # what the row is called, and what it tells


def label_table(title: str, evaluation: Evaluation) -> str:
    """For tasks of several labels: a row each under `LABEL_COLUMNS`."""
    return markdown_table([title, *LABEL_COLUMNS], ([name, *cells] for name, cells in evaluation.labels.items()))


def causes_table(title: str, evaluation: Evaluation) -> str:
    """Where the labels name causes of one finding: how films are read, and how causes are told apart."""
    report = evaluation.values.causes
    if report is None:
        return ""
    names, rows = report.labels, []
    for index, (name, row) in enumerate(zip(names, report.confusion, strict=True)):
        share = number(row[index] / sum(row)) if sum(row) else "no film"
        rows.append([name, *map(str, row), share])
    table = markdown_table([f"{title}, truly", *(f"read as {name}" for name in names), "read right"], rows)
    sentences = [
        f"Read right: {with_interval(report.metrics['accuracy'])}, mean over the labels "
        f"{with_interval(report.metrics['balanced_accuracy'])}."
    ]
    sentences += [
        f"Among the {cause.n} films with the finding, {name} is told from the rest by an AUROC of "
        f"{with_interval(cause.metrics['auroc'])}, right in {with_interval(cause.metrics['accuracy'])} of them."
        for name, cause in report.told_apart.items()
    ]
    return f"{table}\n{' '.join(sentences)}\n"


def contrasts_table(title: str, evaluation: Evaluation) -> str:
    """Where labels lie between normal and the finding: the finding against each, by view, beside the view's rule."""
    heads = [f"{title}: the finding against", "films", "with it", "AUROC", "balanced accuracy"]
    heads += ["sensitivity", "specificity", "ECE"]
    metrics = ("auroc", "balanced_accuracy", "sensitivity", "specificity", "ece")
    rows = []
    for name, groups in (evaluation.values.contrasts or {}).items():
        for group, figures in groups.items():
            called = name if group == ALL else f"_{name}, {'AP called, PA not' if group == VIEW_RULE else group}_"
            rows.append(
                [called, str(figures.n), str(figures.positives), *_cells(figures.metrics, figures.note, metrics)]
            )
    for part, region in evaluation.shortcuts.items():
        for name, groups in (region.contrasts or {}).items():
            figures = groups[ALL]
            start = [f"_{name}, the model shown the {part}_", str(figures.n), str(figures.positives)]
            rows.append([*start, *_cells(figures.metrics, figures.note, metrics)])
    return markdown_table(heads, rows)


def doubt_table(named: Iterable[Named]) -> str:
    """Of tests with one score, a row each: abstaining, prediction sets, and errors without duplicates."""
    heads = [
        "model", "AURC (best possible)", "answered", "errors among them", "set coverage promised", "reached",
        "by true label", "sets of one label (wrong)", "errors without duplicates",
    ]  # fmt: skip
    return markdown_table(heads, ([name, *_doubt_cells(e)] for name, e in named if e.has_one_score))


def _doubt_cells(evaluation: Evaluation) -> Iterator[str]:
    (selective,) = evaluation.values.selective.values()
    aurc, best = selective.metrics["aurc"], selective.metrics["best_aurc"]
    yield f"{aurc.value:.4f} ({best.value:.4f})" if aurc and best else "not defined"
    yield with_interval(selective.metrics["coverage"])
    yield f"{selective.answered.errors} of {selective.answered.n}"
    if sets := evaluation.values.conformal:
        (question,) = sets.questions.values()
        yield number(sets.coverage)
        yield with_interval(question.covered)
        yield ", ".join(f"{name} {number(answer.covered.value)}" for name, answer in question.answers.items())
        yield f"{question.single.n} ({question.single.errors})"
    else:
        yield from [""] * 4
    distinct = evaluation.values.distinct
    yield f"{distinct.errors} of {distinct.n}" if distinct else ""


def sensitivity_table(named: Iterable[Named]) -> str:
    """Of tests with one score: the checkpoint's own threshold, then those that val promises a sensitivity at."""
    heads = [
        "model", "threshold for", "threshold", "errors", "accuracy", "balanced accuracy", "sensitivity", "specificity",
    ]  # fmt: skip
    rows = []
    for name, evaluation in named:
        if evaluation.has_one_score and evaluation.values.at_sensitivity:
            (figures,), (others,) = evaluation.values.labels.values(), evaluation.values.at_sensitivity.values()
            promised = {
                "its verdicts": figures,
                **{f"sensitivity {share} on val": other for share, other in others.items()},
            }
            for number_, (promise, report) in enumerate(promised.items()):
                start = ["" if number_ else name, promise, f"{report.threshold:.4f}", str(report.errors)]
                rows.append([*start, *_cells(report.metrics, report.note, MEASURED)])
    return markdown_table(heads, rows)


def external_table(named: Iterable[Named], columns: Collection[str] = ("view", "age")) -> str:
    """Tests and external films, a row each, and a row for every value of the ``columns`` of the external ones."""
    heads = [
        "films", "n", "prevalence", "errors", "AUROC", "sensitivity", "specificity", "balanced accuracy",
        "flagged as no such film",
    ]  # fmt: skip
    metrics = ("auroc", "sensitivity", "specificity", "balanced_accuracy")
    rows = []
    for name, evaluation in named:
        values = evaluation.values
        if len(values.labels) > 1:
            continue
        (figures,) = values.labels.values()
        start = [name, str(figures.n), number(figures.prevalence), str(figures.errors)]
        rows.append(
            [
                *start,
                *_cells(figures.metrics, figures.note, metrics),
                number(values.suspect.share) if values.suspect else "",
            ]
        )
        for column, groups in (values.groups or {}).items():
            for value, group in groups.items() if column in columns else ():
                start = [f"_{column} {value}_", str(group.n), number(group.prevalence), str(group.errors)]
                rows.append([*start, *_cells(group.metrics, group.note, metrics), ""])
    return markdown_table(heads, rows)


def _cells(estimates: Estimates, note: str | None, metrics: Iterable[str]) -> list[str]:
    """The ``metrics`` of one score's figures, with their intervals where there are enough films."""
    return ["too few" if note else with_interval(estimates[metric]) for metric in metrics]


def ood_table(report: OodReport) -> str:
    """How many pictures of every kind the check for other pictures flags, and its AUROC against films."""
    rows = [["test films as they are", str(report.films.n), number(1 - report.films.passed), ""]]
    for kind, check in report.kinds.items():
        rows.append(
            [kind, str(check.n), with_interval(check.share), with_interval(check.auroc) if check.auroc else "too few"]
        )
    return markdown_table(["picture", "n", "flagged", "AUROC"], rows)


def localization_table(report: LocalizationReport, *, refined: Collection[str] | None = None) -> str:
    """The report as a Markdown table: plain maps, variants (explained below it), baselines.

    "*" marks a pointing figure that is not above the centre's. ``refined``: the methods whose variants are shown; None
    shows all.
    """
    heads = [
        "map",
        "pointing",
        "over the centre",
        "hit rate",
        "pixel AUPRC",
        "pooled AUPRC",
        "IoU",
        "T(IoU) .1",
        "energy",
    ]
    rows = []
    centre = report.baselines["centre"].pointing.value
    variants = report.variants or {}
    for variant, entries in {PLAIN: report.methods, **variants}.items():
        for name, entry in entries.items():
            if refined is not None and variant not in (PLAIN, DEFAULT) and name not in refined:
                continue
            mark = "" if entry.pointing.value > centre else " *"
            rows.append(_localization_cells(titled(name, variant) + mark, entry, over_centre(entry)))
    rows += [_localization_cells(f"_{name}_", entry) for name, entry in report.baselines.items()]
    table = markdown_table(heads, rows) + (f"\n{legend(list(variants))}\n" if variants else "")
    return table + "".join(f"\n{line}\n" for line in _over_the_prior(report))


def _localization_cells(name: str, entry: MapReport, difference: str = "") -> list[str]:
    figures = (entry.hit_rate, entry.pixel_auprc, entry.pixel_auprc_pooled, entry.iou, entry.iou_accuracy["0.1"])
    return [name, f"{entry.pointing:.2f}", difference, *(f"{one:.2f}" for one in (*figures, entry.energy))]


def _over_the_prior(report: LocalizationReport) -> Iterator[str]:
    """What the checkpoint's own map is worth beyond the places where others' boxes lie, and in each view."""
    for name, entry in (report.variants or {}).get(DEFAULT, {}).items():
        prior = (entry.over or {}).get("prior", {})
        differences = ", ".join(
            f"{figure.replace('_', ' ')} {prior[figure]:+.2f}" for figure in OVER if figure in prior
        )
        yield f"{titled(name, DEFAULT)}, over the prior (the other patients' boxes) film by film: {differences}."
        for group, figures in (entry.groups or {}).items():
            others = (report.baseline_groups or {}).get("prior", {}).get(group)
            beside = f"; prior: {others.pointing:.2f}, {others.pixel_auprc:.2f}" if others else ""
            both = f"pointing {figures.pointing:.2f}, pixel AUPRC {figures.pixel_auprc:.2f}"
            yield f"{group}, {figures.films} films: {both}{beside}."


def over_centre(entry: MethodMapReport) -> str:
    """By how much a method points better than the film's centre, film by film, with its interval."""
    return f"{entry.over['centre']['pointing']:+.2f}" if entry.over else ""


def faithfulness_table(report: FaithfulnessReport) -> str:
    """The figures of covering, then the sanity check's, each where it was measured."""
    parts = []
    if report.faithfulness:
        rows = [[name, *(f"{row[key]:.2f}" for key in FIGURES)] for name, row in report.faithfulness.items()]
        parts.append(markdown_table(["map", *FIGURES.values()], rows))
    if report.randomisation:
        heads = [
            "map",
            "films",
            "head randomised: rank correlation",
            "SSIM",
            "all randomised: rank correlation",
            "SSIM",
        ]
        rows = []
        for name, check in report.randomisation.items():
            ends = (check.levels[0], check.levels[-1])
            cells = [f"{value:.2f}" for end in ends for value in (end.rank_correlation, end.similarity)]
            rows.append([name, str(check.films), *cells, "yes" if check.passes else "**no**"])
        parts.append(markdown_table([*heads, "passes"], rows))
    return "\n".join(parts)


def comparison_text(report: ComparisonReport) -> str:
    """A paired comparison as Markdown: a table and the words for each label."""
    lines = [
        f"{report.n} films of {report.patients} patients; 95 % intervals from {report.resamples} resamples of "
        "patients. p-values take films for independent; in brackets Holm's, for the number of pairs.",
        "",
    ]
    heads = [
        "a",
        "b",
        "only a right",
        "only b right",
        "McNemar p",
        "DeLong p",
        *(f"{metric}, a - b" for metric in COMPARED.values()),
    ]
    for label, comparison in report.labels.items():
        lines += [f"**{label}**: {comparison.positives} positive of {comparison.n}", ""]
        if comparison.note:
            lines += [comparison.note, ""]
            continue
        lines += [markdown_table(heads, map(_pair_cells, comparison.pairs))]
        lines += [f"By AUROC (> told apart, ~ within noise): {comparison.ranking}", ""]
        lines += [f"- {pair.words}" for pair in comparison.pairs] + [""]
    return "\n".join(lines)


def _pair_cells(pair: PairReport) -> list[str]:
    cells = [pair.a, pair.b, str(pair.mcnemar.only_a_right), str(pair.mcnemar.only_b_right)]
    cells += [f"{test.p:.3g} ({test.p_holm:.3g})" for test in (pair.mcnemar, pair.delong)]
    return [*cells, *(f"{pair.difference[name]:+.4f}" for name in COMPARED)]
