"""The model card of a checkpoint folder: README.md and .eval_results/, from config.json and results/*.json alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import pandas as pd
import timm
import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml
from jinja2 import Environment, StrictUndefined

from hf_pneumo.models.checkpoint import WEIGHTS, CheckpointConfig, read_config
from hf_pneumo.models.ood_detector import DENSITY
from hf_pneumo.reporting.checkpoint_report import CALIBRATION, HEADINGS, HEADLINE, Evaluation, Report, read_report, rows
from hf_pneumo.reporting.formatting import number, with_interval
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
PAPER = "2511.00456"
KERMANY = "hf-vision/chest-xray-pneumonia"  # the Hub's copy of Kermany et al. 2018
TAGS = ("medical-imaging", "radiology", "chest-x-ray", "pneumonia", "grad-cam", "weakly-supervised", "hf_pneumo")
METRICS = ("roc_auc", "average_precision", "accuracy", "recall", "specificity", "f1", "brier_score")
CAPTIONS = {
    "roc": "ROC curve",
    "pr": "precision-recall curve",
    "reliability": "reliability",
    "confusion": "confusion",
    "risk-coverage": "errors by share answered",
}
EVAL_FOLDER = ".eval_results"
MISTAKES = 5  # shown of each evaluation
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


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
    def name(self) -> str:
        return self.repo.rpartition("/")[2]

    @property
    def source(self) -> str:
        return str(self.config.data.get("source", "an unnamed collection"))

    @property
    def dataset(self) -> str | None:
        """The data set's id on the Hub, None when it is not from there."""
        return self.source if _HUB_ID.fullmatch(self.source) else None

    @property
    def base_model(self) -> str | None:
        """The timm repository of the ImageNet weights that training started from, None for a random start."""
        if self.config.training.get("initial_weights") in (None, "random"):
            return None
        origin = timm.get_pretrained_cfg(self.config.architecture)
        if origin is None or not origin.hf_hub_id:
            return None
        if not origin.hf_hub_id.endswith("/"):
            return origin.hf_hub_id
        return f"{origin.hf_hub_id}{self.config.architecture}" + (f".{origin.tag}" if origin.tag else "")

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
        frame["margin"] = (frame["probability"] - evaluation.values.threshold).abs()
        wrong = frame[(frame["probability"] >= evaluation.values.threshold) != positive]
        worst = wrong.sort_values(["margin", "file_name"], ascending=[False, True]).head(MISTAKES)
        return [(row.file_name, str(row.subgroup), number(row.probability)) for row in worst.itertuples()]

    def figures(self, evaluation: Evaluation) -> list[tuple[str, str]]:
        """Caption and link of the figures of one evaluation."""
        found = [(caption, f"figures/{evaluation.stem}/{stem}.png") for stem, caption in CAPTIONS.items()]
        return [(f"{evaluation.title}: {caption}", link) for caption, link in found if (self.folder / link).is_file()]

    def other_figures(self) -> list[tuple[str, str]]:
        """Caption and link of the figures of no evaluation and not of the training, as of localization or controls."""
        stems = {evaluation.stem for evaluation in self.report.evaluations}
        paths = sorted((self.folder / "figures").rglob("*.png"))
        links = [path.relative_to(self.folder).as_posix() for path in paths]
        return [
            (re.sub(r"[-_/]", " ", link.removeprefix("figures/").removesuffix(".png")), link)
            for link in links
            if link.split("/")[1] not in stems and link != "figures/training.png"
        ]


def model_card(source: CardSource) -> str:
    """The text of README.md: metadata with the results, then the sections of the template."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "zip": zip}
    text = files("hf_pneumo.hub").joinpath("templates/model_card.md.jinja").read_text(encoding="utf-8")
    body = environment.from_string(text).render(
        card=source, config=source.config, report=source.report, rows=rows, with_interval=with_interval,
        paper=PAPER, kermany=KERMANY, label_table=label_table, causes_table=causes_table,
        contrasts_table=contrasts_table,
        localization_table=localization_table, faithfulness_table=faithfulness_table,
        named_tests=[(e.title, e) for e in source.report.tests],
        named_externals=[(e.title, e) for e in source.report.externals],
        doubt_table=doubt_table, external_table=external_table, ood_table=ood_table,
        sensitivity_table=sensitivity_table,
        headline=[(name, HEADINGS[name][0]) for name in HEADLINE],
        calibration=[(name, HEADINGS[name][0]) for name in CALIBRATION],
    )  # fmt: skip
    return f"---\n{metadata(source)}\n---\n\n" + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


def metadata(source: CardSource) -> ModelCardData:
    """The card's front matter, with the model-index of every test result."""
    results = [result for evaluation in source.report.tests for result in _index(source, evaluation)]
    linear = source.config.is_plain_timm
    base = {"base_model": source.base_model, "base_model_relation": "finetune"} if source.base_model else {}
    return ModelCardData(
        license=LICENSE,
        library_name="timm" if linear else "hf_pneumo",
        pipeline_tag="image-classification",
        tags=[*TAGS, *(("timm", "transformers") if linear else ())],
        datasets=[source.dataset] if source.dataset else None,
        **({"model_name": source.name, "eval_results": results, "metrics": list(METRICS)} if results else {}),
        **base,
    )


def _index(source: CardSource, evaluation: Evaluation) -> Iterator[EvalResult]:
    """One entry a metric, and for tasks of several labels one a label and metric beside their means."""
    values, labels = evaluation.values, source.config.labels
    figures = [("", name, found.value) for name, found in evaluation.metrics.items()]
    for label, name, value in [*figures, *evaluation.label_metrics]:
        heading, hub_name = HEADINGS[name]
        yield EvalResult(
            task_type="image-classification",
            task_name="Pneumonia screening" if labels.task == "pneumonia" else labels.task,
            dataset_type=re.sub(r"[^\w./-]+", "-", str(values.dataset)),
            dataset_name=str(values.dataset).rpartition("/")[2],
            dataset_config=evaluation.protocol,
            dataset_split=evaluation.subset,
            dataset_revision=values.dataset_revision,
            metric_type=hub_name,
            metric_name=f"{heading}, {label}" if label else heading,
            metric_value=round(value, 4),
        )


def eval_results(source: CardSource) -> dict[str, str]:
    """Path and content of .eval_results/*.yaml, one file for each test result on a data set of the Hub."""
    written = {}
    for evaluation in source.report.tests:
        values = evaluation.values
        if not _HUB_ID.fullmatch(str(values.dataset)):
            continue
        entries = [
            EvalResultEntry(
                dataset_id=values.dataset,
                task_id=f"{evaluation.protocol}-{evaluation.subset}-{HEADINGS[name][1]}",
                value=round(found.value, 4),
                dataset_revision=values.dataset_revision,
                notes=f"{evaluation.protocol} split, {evaluation.subset}, n = {values.n}, 95 % interval in the card",
            )
            for name, found in evaluation.metrics.items()
        ]
        text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
        written[f"{EVAL_FOLDER}/{evaluation.stem}.yaml"] = text
    return written


def write_card(folder: Path, repo: str, baselines: Path | None = None) -> Path:
    """Write README.md and .eval_results/ into the checkpoint `folder`; gives the README's path.

    ``baselines``: as for `read_report`.
    """
    source = CardSource(folder, repo, baselines=baselines)
    wanted = eval_results(source)
    for stale in (folder / EVAL_FOLDER).glob("*.yaml"):
        if stale.relative_to(folder).as_posix() not in wanted:
            stale.unlink()
    for path, text in {**wanted, "README.md": model_card(source)}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder / "README.md"


def snippets(card: str) -> list[str]:
    """The Python blocks of a card, in order."""
    return re.findall(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE)
