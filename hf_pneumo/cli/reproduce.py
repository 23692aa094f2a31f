"""Recompute every printed figure from the committed predictions; write the README's tables, or check them.

hf-pneumo reproduce          # write the tables between the README's markers
hf-pneumo reproduce --check  # change nothing, fail on any difference
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from hf_pneumo.cli import benchmark
from hf_pneumo.cli.checkout import repository
from hf_pneumo.data.labels import TASKS
from hf_pneumo.evaluation.classification.metrics import Estimates
from hf_pneumo.evaluation.classification.reevaluate import remeasure
from hf_pneumo.evaluation.classification.region_ablation import RegionAblationReport, measure_regions, region_files
from hf_pneumo.evaluation.classification.report import ClassificationReport, sets_from
from hf_pneumo.evaluation.explanations.localization import LocalizationReport
from hf_pneumo.evaluation.predictions import Predictions, validation_predictions
from hf_pneumo.experiments.study import STUDY, Study, read_record
from hf_pneumo.experiments.summary import METRICS as SUMMARY
from hf_pneumo.experiments.summary import as_lines, entries, origin, trivial_models, write_summary
from hf_pneumo.files import read_json
from hf_pneumo.hub.push_model import find_checkpoints
from hf_pneumo.models.checkpoint import CONFIG, read_config
from hf_pneumo.reporting.checkpoint_report import Evaluation, Report, read_report
from hf_pneumo.reporting.formatting import number, with_interval
from hf_pneumo.reporting.tables import (
    causes_table,
    doubt_table,
    external_table,
    faithfulness_table,
    label_table,
    localization_table,
    over_centre,
    sensitivity_table,
)

ROOT = repository()
MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)
COST = re.compile(r"(<!-- cost of an explanation -->\n).*?(<!-- end of cost -->)", re.DOTALL)
METRICS = {name: heading for name, heading in SUMMARY.items() if name != "f1"}
TOLERANCE = 1e-9
Reports = Mapping[Path, Report]  # by checkpoint folder
Section = tuple[str, list[str]]  # a title and the lines of Markdown under it
PHANTOM_VARIANTS = {"lungs": "held to the lungs", "smooth": "ten views", "smooth+lungs": "ten views, held to the lungs"}
REFINED = ("gradcam",)  # methods whose refined maps stand in the README, too; the cards have all


@dataclass(frozen=True)
class Arguments:
    check: bool = field(default=False, metadata={"help": "fail on any difference instead of writing"})
    checkpoints: str = field(default=str(ROOT / "space/checkpoints"), metadata={"help": "folder of checkpoint folders"})
    studies: str = field(
        default=str(ROOT / "results"), metadata={"help": "folder of studies' records (run_study.py --record)"}
    )
    readme: str = field(default=str(ROOT / "README.md"), metadata={"help": "file with the results markers"})


def run(arguments: Arguments) -> bool:
    folders = find_checkpoints(Path(arguments.checkpoints))
    studies = [read_record(path.parent) for path in sorted(Path(arguments.studies).glob(f"*/{STUDY}"))]
    measured = [path.parent for study in studies for path in sorted(Path(study.output).glob(f"*/{CONFIG}"))]
    problems = [problem for folder in (*folders, *measured) for problem in recomputed(folder)]
    for study in studies:
        if arguments.check:
            problems += summarised(study)
        else:
            write_summary(study, title=Path(study.output).name)
    readme = Path(arguments.readme)
    text = readme.read_text(encoding="utf-8")
    reports = {folder: read_report(folder) for folder in folders}
    sections = [*tables(reports), *phantom_table(Path(arguments.studies) / "phantoms"), *map(study_table, studies)]
    blocks = [*headline(reports), *map(folded, sections)]
    fresh = MARKERS.sub(lambda m: m[1] + "\n".join(blocks) + "\n" + m[2], text)
    if benchmark.EXPLAIN.is_file():
        cost = benchmark.explain_table(read_json(benchmark.EXPLAIN)["rows"])
        fresh = COST.sub(lambda m: m[1] + cost + m[2], fresh)
    if arguments.check and fresh != text:
        problems.append(f"the tables of {readme.name} are not those of the results files; run hf-pneumo reproduce")
    elif not arguments.check:
        readme.write_text(fresh, encoding="utf-8")
    for problem in problems:
        print(problem)
    print(f"{len(folders) + len(measured)} checkpoints recomputed, {len(problems)} differences")
    return not problems


def recomputed(folder: Path) -> Iterator[str]:
    """Differences between a checkpoint's results files and what its predictions give now, in words."""
    config = read_config(folder)
    val, sets = validation_predictions(folder, config), config.operating_point.sets
    if val is not None and sets is not None:
        now = sets_from(val, config, coverage=sets.coverage).to_dict()
        yield from (f"{folder.name}/config.json: {line}" for line in differences(now, sets.to_dict()))
    for path, _, report in remeasure(folder, config):
        stored = ClassificationReport.read(path).to_json()
        yield from (f"{folder.name}/{path.stem}: {line}" for line in differences(report.to_json(), stored))
    for parquet, path in region_files(folder):
        stored = RegionAblationReport.read(path)
        regions = measure_regions(Predictions.read(parquet, config), stored.subset)
        lines = differences(regions.to_json(), stored.to_json())
        yield from (f"{folder.name}/{path.stem}: {line}" for line in lines)


def summarised(study: Study) -> Iterator[str]:
    """Differences between a study's summary and comparison and what its runs' predictions give now, in words."""
    kept = Path(study.output)
    with TemporaryDirectory() as folder:
        for path in write_summary(study, title=kept.name, folder=Path(folder)):
            where = f"{kept.name}/{path.name}"
            if path.suffix == ".csv":
                now, stored = (_rows(pd.read_csv(p)) for p in (path, kept / path.name))
                yield from (f"{where}: {line}" for line in differences(now, stored))
            elif path.suffix == ".json":
                yield from (f"{where}: {line}" for line in differences(read_json(path), read_json(kept / path.name)))
            elif path.suffix == ".md" and path.read_text("utf-8") != (kept / path.name).read_text("utf-8"):
                yield f"{where} is not what the runs' results give; run hf-pneumo reproduce"


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def study_table(study: Study) -> Section:
    """A study's summary for the README, with a link to all of it."""
    name = Path(study.output).name
    lines = [f"All of it, per seed and compared in pairs: [results/{name}](results/{name}/summary.md)."]
    for subset in study.subsets:
        lines += ["", f"**{study.protocol} {subset}**", ""]
        lines += as_lines(entries(study, subset), trivial_models(study, subset))
    return f"Study {name}: identical conditions, {study.protocol} split", lines


def differences(now: Any, stored: Any, where: str = "") -> Iterator[str]:
    """Every place at which ``now`` is not in ``stored``; numbers may differ by rounding of the last bits."""
    if isinstance(now, Mapping) and isinstance(stored, Mapping):
        for key, value in now.items():
            yield from differences(value, stored.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(now, list) and isinstance(stored, list) and len(now) == len(stored):
        for i, (a, b) in enumerate(zip(now, stored, strict=True)):
            yield from differences(a, b, f"{where}[{i}]")
    elif isinstance(now, float) and isinstance(stored, (int, float)):
        if abs(now - stored) > TOLERANCE:
            yield f"{where} is {stored} in the file and {now} from the predictions"
    elif now != stored:
        yield f"{where} is {stored!r} in the file and {now!r} from the predictions"


def folded(section: Section) -> str:
    """A section that opens on a click, as Markdown on the Hub and on GitHub has it."""
    title, lines = section
    return "\n".join([f"<details><summary>{title}</summary>", "", "\n".join(lines).strip("\n"), "", "</details>", ""])


def by_test(reports: Reports) -> dict[str, list[tuple[Path, Evaluation]]]:
    """Checkpoints with their results, by test subset: official first, and the tasks in their order."""
    tests = [(folder, test) for folder, report in reports.items() for test in report.tests]
    tests.sort(key=lambda row: list(TASKS).index(row[1].values.task))
    stems = sorted({test.stem for _, test in tests}, key=order)
    return {stem: [(folder, test) for folder, test in tests if test.stem == stem] for stem in stems}


def headline(reports: Reports) -> Iterator[str]:
    """One row a checkpoint and test, beside the trivial model that ranks the same films best."""
    shown = {name: METRICS[name] for name in ("auroc", "accuracy", "balanced_accuracy")}
    yield "| model | test | films | errors | " + " | ".join(shown.values()) + " | best trivial model, AUROC |"
    yield "|---" * (5 + len(shown)) + "|"
    for found in by_test(reports).values():
        controls = [control for _, test in found for control in test.controls.items()]
        trivial = {name: control.value("auroc") for name, control in controls}
        best = max(trivial, key=trivial.get, default=None)
        for folder, test in found:
            cells = [_link(folder), f"{test.protocol} {test.subset}", str(test.values.n), _errors(test.values.errors)]
            cells += [with_interval(test.metrics.get(name)) for name in shown]
            yield "| " + " | ".join([*cells, f"{best}, {number(trivial[best])}" if best else ""]) + " |"
    yield ""


def tables(reports: Reports) -> Iterator[Section]:
    """One section per test subset: our models, then the trivial controls on the same films, and what doubt is worth.

    Then, per checkpoint: films from elsewhere, and how well its maps find boxes, beside maps that look at no film.
    """
    for found in by_test(reports).values():
        first = found[0][1]
        lines = ["| model | errors | " + " | ".join(METRICS.values()) + " |", "|---|---|" + "---|" * len(METRICS)]
        for folder, test in found:
            lines.append(_row(f"{_link(folder)} ({test.values.architecture})", test.values.errors, test.values.metrics))
            for shown, shortcut in test.shortcuts.items():
                lines.append(_row(f"*{folder.name} shown the {shown}*", shortcut.errors, shortcut.metrics))
        for name, control in next((test.controls for _, test in found if test.controls), {}).items():
            lines.append(_row(f"*trivial: {name}*", control.errors, control.metrics))
        named = [(folder.name, test) for folder, test in found]
        if any(test.has_one_score for _, test in found):
            lines += ["", "**Abstaining, prediction sets and distinct films**", "", doubt_table(named)]
            lines += ["**Other thresholds, fitted on val**", "", sensitivity_table(named)]
        lines += ["", *(label_table(name, test) for name, test in named if test.labels)]
        lines += [causes_table(name, test) for name, test in named if test.has_causes]
        title = f"{first.title}: {first.values.n} films of {first.values.patients} patients"
        yield title, lines
    yield from _elsewhere(reports)
    for folder, report in reports.items():
        for stem, found in report.localizations.items():
            title = f"Localization on {stem.removeprefix('localization-')}: {folder.name}"
            yield title, ["* is not above the film's centre.", "", localization_table(found, refined=REFINED)]
        for stem, found in report.faithfulness.items():
            title = f"Faithfulness of the maps on {stem.removeprefix('faithfulness-')}: {folder.name}"
            yield title, [faithfulness_table(found)]


def phantom_table(folder: Path) -> Iterator[Section]:
    """One row a backbone that was trained on phantoms: how well its maps point at what was planted in fresh ones.

    ``folder`` holds localization.json of each, as hf-pneumo localization writes it, under the run's name.
    """
    found = [LocalizationReport.read(path) for path in sorted(folder.glob("*.json"))]
    if not found:
        return
    heads = ["run", "backbone", "from", "map", "plain", "over the centre", *PHANTOM_VARIANTS.values()]
    heads += ["plain, no tolerance", "the centre", "the lungs"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for report in sorted(found, key=lambda report: (report.architecture, report.checkpoint)):
        about = [report.checkpoint, report.architecture, origin(report.training)]
        base = [number(report.baselines[name].pointing.value) for name in ("centre", "lungs")]
        for method, plain in report.methods.items():
            cells = [*about, method, with_interval(plain.pointing), over_centre(plain)]
            cells += [with_interval(report.variants[name][method].pointing) for name in PHANTOM_VARIANTS]
            lines.append("| " + " | ".join([*cells, with_interval(plain.hit_rate), *base]) + " |")
    yield "Pointing at planted opacities: each backbone, trained on phantoms", lines


def _elsewhere(reports: Reports) -> Iterator[Section]:
    """Per checkpoint: its own tests beside films from elsewhere. What else doubt is worth stands in its card."""
    for folder, report in reports.items():
        if report.externals:
            table = external_table((test.title, test) for test in (*report.tests, *report.externals))
            yield f"Films from elsewhere, nothing fitted on them: {folder.name}", [table]


def _link(folder: Path) -> str:
    return f"[{folder.name}](model_cards/{folder.name}.md)"


def _errors(errors: int | None) -> str:
    return "" if errors is None else str(errors)


def order(stem: str) -> tuple[int, str]:
    """Sorting key: official before strict before paper before anything else."""
    return next((i for i, name in enumerate(("official", "strict", "paper")) if stem.startswith(name)), 9), stem


def _row(name: str, errors: int | None, metrics: Estimates) -> str:
    cells = [with_interval(metrics.get(metric)) for metric in METRICS]
    return f"| {name} | {_errors(errors)} | " + " | ".join(cells) + " |"
