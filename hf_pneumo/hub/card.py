"""The model card of a checkpoint folder: README.md, from config.json and results/*.json alone.

No .eval_results/ is written: the Hub reads it for registered benchmarks, whose data set states the task ids, and none
of the collections here is one. The same figures stand in the card's model-index.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from hf_pneumo.evaluation.explanations.localization import LocalizationReport
from hf_pneumo.hub.provenance import (
    PAPER,
    PAPER_KEY,
    FilmSource,
    WeightSource,
    film_source,
    initial_weights,
    reference,
    trained_on,
)
from hf_pneumo.hub.short_tables import collapsed, in_words
from hf_pneumo.models.checkpoint import complete_config
from hf_pneumo.models.config import WEIGHTS, CheckpointConfig, read_config
from hf_pneumo.models.ood_detector import DENSITY
from hf_pneumo.project import install_command, project_url
from hf_pneumo.reporting.checkpoint_report import HEADINGS, HEADLINE, Evaluation, Report, read_report, rows
from hf_pneumo.reporting.formatting import number
from hf_pneumo.reporting.tables import (
    causes_table,
    contrasts_table,
    doubt_table,
    external_table,
    faithfulness_table,
    label_table,
    localization_table,
    ood_table,
    sensitivity_table,
)

LICENSE = "apache-2.0"
TAGS = ("medical-imaging", "chest-x-ray", "pneumonia", "grad-cam", "hf_pneumo")
INDEXED = ("auroc", "accuracy", "sensitivity", "specificity")  # what of a test stands in the model-index
CAPTIONS = {
    "roc": "ROC curve",
    "pr": "precision-recall curve",
    "reliability": "reliability",
    "confusion": "confusion",
    "risk-coverage": "errors by share answered",
}
MISTAKES = 5  # shown of each evaluation
OUTDATED = ".eval_results"  # what versions before 0.2 wrote beside the card, with task ids that no benchmark has


@dataclass(frozen=True)
class CardSource:
    """A checkpoint folder as its card sees it; `repo` is where the snippets load it from.

    `figures_at` goes before each link to a figure or file, for a card that lies outside the folder. `baselines`: as for
    `read_report`.
    """

    folder: Path
    repo: str
    figures_at: str = ""
    baselines: Path | None = None

    @cached_property
    def config(self) -> CheckpointConfig:
        return read_config(self.folder)

    @cached_property
    def report(self) -> Report:
        return read_report(self.folder, self.baselines)

    @property
    def has_weights(self) -> bool:
        """False for a run of a study's record."""
        return (self.folder / WEIGHTS).is_file()

    @property
    def is_plain(self) -> bool:
        """Whether timm and transformers can load it."""
        return self.config.is_plain_timm

    @property
    def name(self) -> str:
        return self.repo.rpartition("/")[2]

    @cached_property
    def films(self) -> FilmSource:
        """The collection that it was trained on."""
        return trained_on(self.config)

    @property
    def dataset(self) -> str | None:
        """The Hub's data set with the films that it was trained on, be it in their original size; None without one."""
        return self.films.hub_id

    @property
    def weights(self) -> WeightSource:
        return initial_weights(self.config)

    def measured_on(self, evaluation: Evaluation) -> FilmSource:
        """The collection of an evaluation: what a record calls as it calls the training's films is those films."""
        name = str(evaluation.dataset)
        return self.films if name == self.config.data.source else film_source(name)

    def title(self, evaluation: Evaluation) -> str:
        """What a table calls an evaluation: its films, and their part under which protocol."""
        return f"{self.measured_on(evaluation).title}, {_part(evaluation)}"

    @property
    def references(self) -> list[str]:
        """Keys of what is to be cited: the paper, and whoever collected the films of training and tests."""
        sources = [self.films, *(self.measured_on(evaluation) for evaluation in self.report.evaluations)]
        return [PAPER_KEY, *dict.fromkeys(key for source in sources for key in source.cite)]

    @property
    def files(self) -> list[str]:
        own = ("config.json", WEIGHTS, DENSITY, "training.jsonl")
        kept = (*own, "results/*.json", "predictions/**/*.parquet")
        found = (path for pattern in kept for path in self.folder.glob(pattern))
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def mistakes(self, evaluation: Evaluation) -> list[tuple[str, str, str]]:
        """File, subgroup and probability of the films called wrong with the most confidence, for tasks of one score."""
        path = self.folder / f"predictions/{evaluation.stem}.parquet"
        labels = self.config.labels
        if len(labels.score_names) > 1 or not path.is_file():
            return []
        frame = pd.read_parquet(path)
        positive = labels.score_targets(frame["label"].to_numpy())[:, 0] == 1
        frame["margin"] = (frame["probability"] - evaluation.threshold).abs()
        wrong = frame[(frame["probability"] >= evaluation.threshold) != positive]
        worst = wrong.sort_values(["margin", "file_name"], ascending=[False, True]).head(MISTAKES)
        return [(row.file_name, str(row.subgroup), number(row.probability)) for row in worst.itertuples()]

    def all_figures(self) -> list[tuple[str, str]]:
        """Caption and link of every figure: those of the evaluations first, in their order, the training's last."""
        shown = {
            f"figures/{evaluation.stem}/{stem}.png": f"{self.title(evaluation)}: {caption}"
            for evaluation in self.report.evaluations
            for stem, caption in CAPTIONS.items()
            if evaluation in (*self.report.tests, *self.report.externals)
        }
        unshown = {f"figures/{evaluation.stem}/" for evaluation in self.report.evaluations}
        paths = [path.relative_to(self.folder).as_posix() for path in sorted((self.folder / "figures").rglob("*.png"))]
        others = {
            path: re.sub(r"[-_/]", " ", path.removeprefix("figures/").removesuffix(".png"))
            for path in paths
            if not any(path.startswith(folder) for folder in unshown)
        }
        return [(caption, path) for path, caption in {**shown, **others}.items() if path in paths]


def _part(evaluation: Evaluation) -> str:
    same = evaluation.protocol == evaluation.subset
    return evaluation.protocol if same else f"{evaluation.protocol} {evaluation.subset}"


def model_card(source: CardSource) -> str:
    """The text of README.md: metadata with the results, then the sections of the template."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "zip": zip, "collapsed": collapsed, "in_words": in_words}
    text = files("hf_pneumo.hub").joinpath("templates/model_card.md.jinja").read_text(encoding="utf-8")
    report = source.report
    named_tests = [(source.title(evaluation), evaluation) for evaluation in report.tests]
    named_externals = [(source.title(evaluation), evaluation) for evaluation in report.externals]
    body = environment.from_string(text).render(
        card=source, config=source.config, report=report, rows=rows, paper=PAPER,
        url=project_url(), install=install_command(), reference=reference,
        headline=[(name, HEADINGS[name][0]) for name in HEADLINE],
        named_tests=named_tests, named_externals=named_externals,
        named_measured=[*named_tests, *(one for one in named_externals if one[1].has_figures)],
        label_table=label_table, causes_table=causes_table, localization_table=localization_table,
        faithfulness_table=faithfulness_table, best_map=_best_map, doubt_table=doubt_table,
        contrasts_table=contrasts_table, external_table=external_table, ood_table=ood_table,
        sensitivity_table=sensitivity_table,
        timm_call=lambda inputs: f"model({inputs})",
        transformers_call=lambda inputs: f"model({inputs}).logits",
    )  # fmt: skip
    return f"---\n{metadata(source)}\n---\n\n" + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


def metadata(source: CardSource) -> ModelCardData:
    """The card's front matter, with the model-index of every test result."""
    results = [result for evaluation in source.report.tests for result in _index(source, evaluation)]
    base = source.weights.base_model
    return ModelCardData(
        license=LICENSE,
        library_name="timm" if source.is_plain else "hf_pneumo",
        pipeline_tag="image-classification",
        tags=[*TAGS, *(["transformers"] if source.is_plain else [])],
        datasets=[source.dataset] if source.dataset else None,
        **({"model_name": source.name, "eval_results": results} if results else {}),
        **({"base_model": base, "base_model_relation": "finetune"} if base else {}),
    )


def _index(source: CardSource, evaluation: Evaluation) -> Iterator[EvalResult]:
    """One entry a metric; of tasks of several labels the means, the labels' own figures are in the card."""
    films = source.measured_on(evaluation)
    for name in INDEXED:
        if name in evaluation.metrics:
            heading, hub_name = HEADINGS[name]
            yield EvalResult(
                task_type="image-classification",
                dataset_type=films.hub_id or films.name,
                dataset_name=source.title(evaluation),
                # The official protocol's parts are the data set's own splits, the others' are not.
                dataset_split=evaluation.subset if evaluation.protocol == "official" else _part(evaluation),
                metric_type=hub_name,
                metric_name=heading,
                metric_value=round(evaluation.value(name), 4),
            )


def _best_map(report: LocalizationReport) -> list[str]:
    """The method whose plain map points best: the one whose variants are worth a row."""
    return [max(report.methods, key=lambda name: report.methods[name].pointing.value)]


def write_card(folder: Path, repo: str, baselines: Path | None = None) -> Path:
    """Write README.md into the checkpoint `folder`, and into config.json what foreign loaders need; gives the path.

    ``baselines``: as for `read_report`.
    """
    complete_config(folder)
    shutil.rmtree(folder / OUTDATED, ignore_errors=True)
    (folder / "README.md").write_text(model_card(CardSource(folder, repo, baselines=baselines)), encoding="utf-8")
    return folder / "README.md"


def snippets(card: str) -> list[str]:
    """The Python blocks of a card, in order."""
    return re.findall(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE)
