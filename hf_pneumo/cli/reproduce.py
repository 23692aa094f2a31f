"""Recompute every printed figure from the committed predictions; write the tables, or check them.

hf-pneumo reproduce          # write summaries, results/README.md and the table between the README's markers
hf-pneumo reproduce --check  # change nothing, fail on any difference
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.cli import benchmark
from hf_pneumo.cli.checkout import repository
from hf_pneumo.experiments.recompute import checkpoint_differences, study_differences
from hf_pneumo.experiments.results_page import ResultsPage
from hf_pneumo.experiments.summary import write_summary
from hf_pneumo.files import read_json, write_text
from hf_pneumo.hub.push_model import find_checkpoints
from hf_pneumo.models.config import CONFIG

ROOT = repository()
MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)


@dataclass(frozen=True)
class Arguments:
    check: bool = field(default=False, metadata={"help": "fail on any difference instead of writing"})
    checkpoints: str = field(default=str(ROOT / "space/checkpoints"), metadata={"help": "folder of checkpoint folders"})
    results: str = field(
        default=str(ROOT / "results"),
        metadata={"help": "folder of studies' records and of the page", "renamed": {"studies": None}},
    )
    readme: str = field(default=str(ROOT / "README.md"), metadata={"help": "file with the results markers"})


def run(arguments: Arguments) -> bool:
    page = ResultsPage(Path(arguments.results), tuple(find_checkpoints(Path(arguments.checkpoints))))
    if not arguments.check:
        for study in page.studies:
            write_summary(study, title=Path(study.output).name, baselines=page.baselines)
        for path, text in pages(arguments, page).items():
            write_text(path, text)
            print(path)
        return True
    runs = [path.parent for study in page.studies for path in sorted(Path(study.output).glob(f"*/{CONFIG}"))]
    problems = [problem for folder in (*page.checkpoints, *runs) for problem in checkpoint_differences(folder)]
    problems += [problem for study in page.studies for problem in study_differences(study, page.baselines)]
    problems += [
        f"{path.name} is not what the results files say; run hf-pneumo reproduce"
        for path, text in pages(arguments, page).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for problem in problems:
        print(problem)
    print(f"{len(page.checkpoints) + len(runs)} checkpoints recomputed, {len(problems)} differences")
    return not problems


def pages(arguments: Arguments, page: ResultsPage) -> dict[Path, str]:
    """Both files and what they are to say."""
    readme = Path(arguments.readme)
    before = readme.read_text(encoding="utf-8")
    text = MARKERS.sub(lambda m: f"{m[1]}{page.headline()}{m[2]}", before)
    cost = page.results / benchmark.EXPLAIN.name
    more = ""
    if cost.is_file():
        table = benchmark.explain_table(read_json(cost)["rows"])
        more = f"\n## What an explanation costs\n\n`hf-pneumo benchmark explain`\n\n{table}"
    return {readme: text, page.results / "README.md": page.text() + more}
