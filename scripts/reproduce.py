"""Recompute every printed figure from the committed predictions; write the README's tables, or check them.

    python scripts/reproduce.py          # write the tables between the README's markers
    python scripts/reproduce.py --check  # change nothing, fail on any difference
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import benchmark
import command
import pandas as pd

from hf_pneumo.data.labels import TASKS
from hf_pneumo.evaluation.boxed_films import localization_table
from hf_pneumo.evaluation.report import full_report, sets_from, val_predictions
from hf_pneumo.evaluation.results import read_results
from hf_pneumo.evaluation.shortcuts import shortcut_files, shortcut_results
from hf_pneumo.hub.doubt import doubt_table, external_table, sensitivity_table
from hf_pneumo.hub.push import find_checkpoints
from hf_pneumo.hub.report import causes_table, label_table, number, read_report, with_interval
from hf_pneumo.models.checkpoint import CONFIG, read_config
from hf_pneumo.training.study import STUDY, Study, read_record
from hf_pneumo.training.summary import METRICS as SUMMARY
from hf_pneumo.training.summary import as_lines, entries, trivial_models, write_summary

ROOT = Path(__file__).resolve().parents[1]
MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)
COST = re.compile(r"(<!-- cost of an explanation -->\n).*?(<!-- end of cost -->)", re.DOTALL)
METRICS = {name: heading for name, heading in SUMMARY.items() if name != "f1"}
TOLERANCE = 1e-9
REFINED = ("gradcam",)  # methods whose refined maps stand in the README, too; the cards have all


@dataclass(frozen=True)
class Arguments:
    check: bool = field(default=False, metadata={"help": "fail on any difference instead of writing"})
    checkpoints: str = field(default=str(ROOT / "space/checkpoints"), metadata={"help": "folder of checkpoint folders"})
    studies: str = field(
        default=str(ROOT / "results"), metadata={"help": "folder of studies' records (train_all.py --record)"}
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
    fresh = MARKERS.sub(lambda m: m[1] + "\n".join([*tables(folders), *map(study_table, studies)]) + "\n" + m[2], text)
    if benchmark.EXPLAIN.is_file():
        cost = benchmark.explain_table(read_results(benchmark.EXPLAIN)["rows"])
        fresh = COST.sub(lambda m: m[1] + cost + m[2], fresh)
    if arguments.check and fresh != text:
        problems.append(f"the tables of {readme.name} are not those of the results files; run scripts/reproduce.py")
    elif not arguments.check:
        readme.write_text(fresh, encoding="utf-8")
    for problem in problems:
        print(problem)
    print(f"{len(folders) + len(measured)} checkpoints recomputed, {len(problems)} differences")
    return not problems


def recomputed(folder: Path) -> Iterator[str]:
    """Differences between a checkpoint's results files and what its predictions give now, in words."""
    config = read_config(folder)
    val, sets = val_predictions(folder, config), config.operating_point.sets
    if val is not None and sets is not None:
        now = sets_from(val, config, coverage=sets.coverage).to_dict()
        yield from (f"{folder.name}/config.json: {line}" for line in differences(now, sets.to_dict()))
    for path in sorted((folder / "predictions").glob("*.parquet")):
        stored = read_results(folder / "results" / f"{path.stem}.json")
        about = {"protocol": stored.get("protocol")}
        beside = None if stored.get("subset") == "val" else val
        now = full_report(pd.read_parquet(path), config, about, val=beside)
        yield from (f"{folder.name}/{path.stem}: {line}" for line in differences(now, stored))
    for predicted, measured in shortcut_files(folder):
        now = shortcut_results(pd.read_parquet(predicted), config)
        yield from (f"{folder.name}/{measured.stem}: {line}" for line in differences(now, read_results(measured)))


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
                yield from (
                    f"{where}: {line}" for line in differences(read_results(path), read_results(kept / path.name))
                )
            elif path.suffix == ".md" and path.read_text("utf-8") != (kept / path.name).read_text("utf-8"):
                yield f"{where} is not what the runs' results give; run scripts/reproduce.py"


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def study_table(study: Study) -> str:
    """A study's summary for the README, with a link to all of it."""
    name = Path(study.output).name
    link, parts = f"[{name}](results/{name}/summary.md)", []
    for subset in study.subsets:
        parts += [f"**Identical conditions**, study {link}, {study.protocol} {subset}", ""]
        parts += [*as_lines(entries(study, subset), trivial_models(study, subset)), ""]
    return "\n".join(parts)


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


def tables(folders: list[Path]) -> Iterator[str]:
    """One table per test subset, official first: our models, then the trivial controls on the same films.

    Then one per checkpoint and set of boxed films: how well its maps find them, beside maps that look at no film.
    """
    tests = [(folder, test) for folder in folders for test in read_report(folder).tests]
    tests.sort(key=lambda row: list(TASKS).index(row[1].values["task"]))
    for stem in sorted({test.stem for _, test in tests}, key=order):
        found = [(folder, test) for folder, test in tests if test.stem == stem]
        first = found[0][1]
        yield f"**{first.title}**: {first.values['n']} films of {first.values['patients']} patients"
        yield ""
        yield "| model | errors | " + " | ".join(METRICS.values()) + " |"
        yield "|---|---|" + "---|" * len(METRICS)
        for folder, test in found:
            link = f"[{folder.name}](model_cards/{folder.name}.md) ({test.values['architecture']})"
            yield _row(link, test.values)
            for shown, shortcut in test.shortcuts.items():
                yield _row(f"*{folder.name} shown the {shown}*", shortcut)
        for name, control in next((test.controls for _, test in found if test.controls), {}).items():
            yield _row(f"*trivial: {name}*", control)
        yield ""
        if any(test.has_one_score for _, test in found):
            yield f"**Abstaining, prediction sets and distinct films**, {first.protocol} {first.subset}"
            yield ""
            yield doubt_table((folder.name, test) for folder, test in found)
            yield f"**Other thresholds, fitted on val**, {first.protocol} {first.subset}"
            yield ""
            yield sensitivity_table((folder.name, test) for folder, test in found)
        yield from (label_table(folder.name, test) for folder, test in found if test.labels)
        yield from (causes_table(folder.name, test) for folder, test in found if test.has_causes)
    yield from _elsewhere(folders)
    for folder in folders:
        for stem, found in read_report(folder).localizations.items():
            films = stem.removeprefix("localization-")
            yield f"**Localization on {films}**, {folder.name} (* is not above the film's centre)"
            yield ""
            yield localization_table(found, refined=REFINED)
        for stem, table in read_report(folder).faithfulness.items():
            yield f"**Faithfulness of the maps on {stem.removeprefix('faithfulness-')}**, {folder.name}"
            yield ""
            yield table


def _elsewhere(folders: list[Path]) -> Iterator[str]:
    """Per checkpoint: its own tests beside films from elsewhere. What else doubt is worth stands in its card."""
    for folder in folders:
        report = read_report(folder)
        if report.externals:
            yield f"**External validation**, {folder.name}: nothing fitted on these films"
            yield ""
            yield external_table((test.title, test) for test in (*report.tests, *report.externals))


def order(stem: str) -> tuple[int, str]:
    """Sorting key: official before strict before paper before anything else."""
    return next((i for i, name in enumerate(("official", "strict", "paper")) if stem.startswith(name)), 9), stem


def _row(name: str, values: Mapping[str, Any]) -> str:
    cells = [with_interval(values["metrics"].get(metric)) for metric in METRICS]
    return f"| {name} | {number(values.get('errors', ''))} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    command.main(Arguments, run, __doc__)
