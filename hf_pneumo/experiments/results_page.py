"""results/README.md: every table of the repository, each with the command that makes it, and the README's one table.

A file of `notes` says in words what the rows of a section mean; its first line is the day that sorts the studies, the
newest first. All figures come from the results files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.data.labels import TASKS
from hf_pneumo.evaluation.classification.metrics import Estimates, LabelReport
from hf_pneumo.evaluation.explanations.localization import LocalizationReport
from hf_pneumo.experiments.published import published_lines
from hf_pneumo.experiments.study import STUDY, Study, read_record
from hf_pneumo.experiments.summary import METRICS as SUMMARY
from hf_pneumo.experiments.summary import as_lines, entries, trivial_models
from hf_pneumo.models.training_record import TrainingRecord
from hf_pneumo.reporting.checkpoint_report import Evaluation, Report, read_report
from hf_pneumo.reporting.formatting import markdown_table, number, with_interval
from hf_pneumo.reporting.tables import (
    causes_table,
    contrasts_table,
    doubt_table,
    external_table,
    faithfulness_table,
    label_table,
    localization_table,
    over_centre,
    sensitivity_table,
)

METRICS = {name: heading for name, heading in SUMMARY.items() if name != "f1"}
HEADLINE = {name: METRICS[name] for name in ("auroc", "balanced_accuracy")}
PROTOCOLS = ("official", "strict", "paper")  # the order of tests, the hardest first
PHANTOM_VARIANTS = {"lungs": "held to the lungs", "smooth": "ten views", "smooth+lungs": "ten views, held to the lungs"}
REFINED = ("gradcam",)  # methods whose refined maps stand on the page, too; the cards have all
HEAD = """\
# Results

Written by `hf-pneumo reproduce` from what is committed with each checkpoint and study; `hf-pneumo reproduce --check`
recomputes all that follows from predictions. What needs the films themselves (localization, faithfulness, baselines,
the check for other pictures) stands as its results file has it. In brackets: 95 % intervals, bootstrap by patient.
Threshold, temperature and best epoch come from validation films; test films only measure. The trivial models see no
lungs (except the 48x48 pixels), and say how much of a figure the exposure or the border of a film would give alone.
They were measured once for each test, on films of 224 x 224 pixels, whatever a study's own models are shown.
"""


@dataclass(frozen=True)
class Section:
    """A part of the page: its heading, the command that makes its table, the table, and what the rows mean."""

    title: str
    command: str
    body: str
    note: str = ""

    def __str__(self) -> str:
        parts = [f"## {self.title}", f"`{self.command}`", self.note, self.body]
        return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


@dataclass(frozen=True)
class ResultsPage:
    """All results below a folder ``results`` and of the ``checkpoints``, as pages of text.

    ``cards``: where the checkpoints' cards lie, seen from the page of the README.
    """

    results: Path
    checkpoints: tuple[Path, ...]
    cards: str = "model_cards"
    reports: Mapping[Path, Report] = field(init=False)

    def __post_init__(self) -> None:
        reports = {folder: read_report(folder, self.baselines) for folder in self.checkpoints}
        object.__setattr__(self, "reports", reports)

    @property
    def baselines(self) -> Path:
        """What trivial models reach: one file a data set, protocol and split."""
        return self.results / "baselines"

    @property
    def studies(self) -> list[Study]:
        """The studies' records, the newest first."""
        folders = [path.parent for path in self.results.glob(f"*/{STUDY}")]
        return [read_record(folder) for folder in sorted(sorted(folders), key=self._day, reverse=True)]

    def headline(self) -> str:
        """One row a checkpoint and test, beside the trivial model that ranks the same films best."""
        heads = ["model", "test", "films", "errors", *HEADLINE.values(), "best trivial model: errors, AUROC"]
        rows = []
        for tests in self._by_test().values():
            for folder, test in tests:
                cells = [f"[{folder.name}]({self.cards}/{folder.name}.md)", f"{test.protocol} {test.subset}"]
                cells += [str(test.values.n), _errors(test.values.errors)]
                cells += [with_interval(test.metrics.get(name)) for name in HEADLINE]
                rows.append([*cells, _best(test.controls)])
        return markdown_table(heads, rows)

    def text(self) -> str:
        """results/README.md."""
        sections = [*self._tests(), *self._elsewhere(), *self._studies(), *self._maps(), *self._phantoms()]
        sections += list(self._others())
        return "\n".join([HEAD, *map(str, sections)])

    def _note(self, name: str) -> tuple[str, str]:
        """The day and the words of a file of notes; both empty where there is none."""
        path = self.results / "notes" / f"{name}.md"
        if not path.is_file():
            return "", ""
        day, _, words = path.read_text(encoding="utf-8").partition("\n")
        return day.strip(), words.strip()

    def _day(self, folder: Path) -> str:
        return self._note(folder.name)[0]

    def _by_test(self) -> dict[str, list[tuple[Path, Evaluation]]]:
        """Checkpoints with their results, by test: official first, and the tasks in their order."""
        tests = [(folder, test) for folder, report in self.reports.items() for test in report.tests]
        tests.sort(key=lambda row: list(TASKS).index(row[1].values.task))
        stems = sorted({test.stem for _, test in tests}, key=_order)
        return {stem: [(folder, test) for folder, test in tests if test.stem == stem] for stem in stems}

    def _tests(self) -> Iterator[Section]:
        """One section a test: our models, the trivial ones on the same films, and what doubt is worth."""
        for stem, tests in self._by_test().items():
            first = tests[0][1]
            named = [(folder.name, test) for folder, test in tests]
            parts = [
                "\n".join([_test_table(named).rstrip("\n"), *published_lines(first.protocol, first.subset)]) + "\n"
            ]
            if any(test.has_one_score for _, test in tests):
                parts += ["**Abstaining, prediction sets and duplicates**\n", doubt_table(named)]
                parts += ["**Other thresholds, fitted on val**\n", sensitivity_table(named)]
            parts += [label_table(name, test) for name, test in named if test.labels]
            parts += [contrasts_table(name, test) for name, test in named if test.values.contrasts]
            parts += [causes_table(name, test) for name, test in named if test.has_causes]
            title = f"{first.title}: {first.values.n} films of {first.values.patients} patients"
            command = (
                f"hf-pneumo evaluate --checkpoint C --dataset {first.values.dataset} --protocol {first.protocol} "
                f"--split {first.subset}"
            )
            yield Section(title, command, "\n".join(parts), self._note(stem)[1])

    def _elsewhere(self) -> Iterator[Section]:
        """Per checkpoint: its own tests beside films from elsewhere. What else doubt is worth stands in its card."""
        for folder, report in self.reports.items():
            if report.externals:
                table = external_table((test.title, test) for test in (*report.tests, *report.externals))
                against = [contrasts_table(test.title, test) for test in report.externals if test.values.contrasts]
                command = f"hf-pneumo evaluate --checkpoint {folder.name} --external FILMS"
                title = f"Films from elsewhere, nothing fitted on them: {folder.name}"
                yield Section(title, command, "\n".join([table, *against]))

    def _studies(self) -> Iterator[Section]:
        """A study's summary without the runs that failed, which its own summary names."""
        for study in self.studies:
            name = Path(study.output).name
            parts = [f"Per seed, compared in pairs, and what failed: [{name}/summary.md]({name}/summary.md)."]
            for subset in study.splits:
                measured = [entry for entry in entries(study, subset) if entry.results]
                lines = as_lines(measured, trivial_models(study, subset, self.baselines))
                parts += ["", f"**{study.protocol} {subset}**", "", *lines]
            title = f"Study {name}: identical conditions, {study.protocol} protocol"
            command = f"hf-pneumo study --config scripts/configs/{name}.yaml"
            yield Section(title, command, "\n".join(parts), self._note(name)[1])

    def _maps(self) -> Iterator[Section]:
        """Per checkpoint: how well its maps find boxes, beside maps that look at no film, and their faithfulness."""
        note = self._note("localization")[1]
        for folder, report in self.reports.items():
            for stem, boxed in report.localizations.items():
                films = stem.removeprefix("localization-")
                command = f"hf-pneumo localization --checkpoint {folder.name} --images {films} --boxes boxes.csv"
                table = "* is not above the film's centre.\n\n" + localization_table(boxed, refined=REFINED)
                yield Section(f"Localization on {films}: {folder.name}", command, table, note)
                note = ""  # said once
            for stem, found in report.faithfulness.items():
                films = stem.removeprefix("faithfulness-")
                command = f"hf-pneumo faithfulness --checkpoint {folder.name} --images {films}"
                yield Section(f"Faithfulness of the maps on {films}: {folder.name}", command, faithfulness_table(found))

    def _phantoms(self) -> Iterator[Section]:
        """One row a backbone that was trained on phantoms: how well its maps point at planted opacities."""
        reports = [LocalizationReport.read(path) for path in sorted((self.results / "phantoms").glob("*.json"))]
        if not reports:
            return
        heads = ["run", "backbone", "from", "map", "plain", "over the centre", *PHANTOM_VARIANTS.values()]
        heads += ["plain, no tolerance", "the centre", "the lungs"]
        rows: list[list[str]] = []
        for report in sorted(reports, key=lambda report: (str(report.architecture), str(report.checkpoint))):
            rows += _phantom_rows(report)
        command = "hf-pneumo localization --checkpoint C --images phantom:100"
        title = "Pointing at planted opacities: each backbone, trained on phantoms"
        yield Section(title, command, markdown_table(heads, rows), self._note("phantoms")[1])

    def _others(self) -> Iterator[Section]:
        """The tables that a command wrote as Markdown: a note of the file's name says which."""
        for path in sorted(self.results.glob("*.md")):
            _, words = self._note(path.stem)
            if path.name != "README.md":
                command, _, note = words.partition("\n")
                title = path.stem.replace("-", " ").replace("_", " ").capitalize()
                yield Section(title, command or f"{path.name}", path.read_text(encoding="utf-8"), note)


def _phantom_rows(report: LocalizationReport) -> Iterator[list[str]]:
    about = [str(report.checkpoint), str(report.architecture), (report.training or TrainingRecord()).origin]
    base = [number(report.baselines[name].pointing.value) for name in ("centre", "lungs")]
    variants = report.variants or {}
    for method, plain in report.methods.items():
        cells = [*about, method, with_interval(plain.pointing), over_centre(plain)]
        cells += [with_interval(variants[name][method].pointing) for name in PHANTOM_VARIANTS]
        yield [*cells, with_interval(plain.hit_rate), *base]


def _test_table(named: Iterable[tuple[str, Evaluation]]) -> str:
    """Every checkpoint, it shown parts of the films alone, then the trivial models of the first that has them."""
    rows: list[list[str]] = []
    trivial: dict[str, LabelReport] = {}
    for name, test in named:
        rows.append(_row(f"{name} ({test.values.architecture})", test.values.errors, test.values.metrics))
        for region, report in test.shortcuts.items():
            rows.append(_row(f"*{name} shown the {region}*", report.errors, report.metrics))
        trivial = trivial or dict(test.controls)
    rows += [_row(f"*trivial: {name}*", report.errors, report.metrics) for name, report in trivial.items()]
    return markdown_table(["model", "errors", *METRICS.values()], rows)


def _row(name: str, errors: int | None, metrics: Estimates) -> list[str]:
    return [name, _errors(errors), *(with_interval(metrics.get(metric)) for metric in METRICS)]


def _errors(errors: int | None) -> str:
    return "" if errors is None else str(errors)


def _best(trivial: Mapping[str, LabelReport]) -> str:
    """The trivial model of the highest AUROC."""
    values = {name: report.value("auroc") for name, report in trivial.items()}
    if not values:
        return ""
    name = max(values, key=lambda name: values[name])
    return f"{name}: {trivial[name].errors}, {number(values[name])}"


def _order(stem: str) -> tuple[int, str]:
    """Sorting key: official before strict before paper before anything else."""
    return next((i for i, name in enumerate(PROTOCOLS) if stem.startswith(name)), 9), stem
