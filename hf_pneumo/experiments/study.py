"""A study: backbones x variants x seeds under identical conditions, from one YAML file, run by run and resumable.

output: runs/paper           # a checkpoint folder for each run goes there, and the summary
models: [resnet18, resnet50]
seeds: [42]
splits: [test]              # measured beside val
train: {protocol: paper, ...}   # fields of TrainConfig, the same for every run
variants: {whole: {crop: none}, lung: {crop: lung}}  # what is compared beside the models, if anything
per_model: {resnet50: {mixed_precision: bf16}}       # fields for one backbone alone, such as what makes it fast
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from hf_pneumo.data.schema import SPLITS
from hf_pneumo.data.sources import source_name
from hf_pneumo.files import read_json, write_json, write_text
from hf_pneumo.models.config import CONFIG, WEIGHTS, read_config
from hf_pneumo.records import record_of
from hf_pneumo.training.config import RENAMED, TrainConfig, by_name, present_names, weights_name
from hf_pneumo.training.loop import LOG
from hf_pneumo.training.run import RUN

logger = logging.getLogger(__name__)

FAILURE = "failure.json"
STUDY = "study.yaml"
RENAMED_KEYS = {"subsets": "splits"}  # of a study's file, since 0.2
OWN_FIELDS = ("output", "model", "seed", "init_weights", "resume")  # of TrainConfig, set run by run

# (command, its words, file for what it says) to None, or the reason why it failed.
Runner = Callable[[str, list[str], Path], str | None]


@dataclass(frozen=True)
class Run:
    """One training run of a study; its folder becomes a checkpoint."""

    model: str
    variant: str
    config: TrainConfig
    splits: tuple[str, ...]

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def folder(self) -> Path:
        return Path(self.config.output)

    def results(self, split: str) -> Path:
        return self.folder / "results" / f"{self.config.protocol}-{split}.json"

    @property
    def is_trained(self) -> bool:
        return all((self.folder / name).exists() for name in (CONFIG, WEIGHTS)) and not (self.folder / RUN).exists()

    @property
    def is_finished(self) -> bool:
        return self.is_trained and all(map(self.is_measured, ("val", *self.splits)))

    def is_measured(self, split: str) -> bool:
        """Whether its results on ``split`` are there; the weights may not be, as in a record."""
        return (self.folder / CONFIG).exists() and self.results(split).exists()

    @property
    def failure(self) -> str | None:
        """Why it could not be carried out, None where it was not tried or went well."""
        path = self.folder / FAILURE
        return str(read_json(path)["reason"]) if path.exists() else None

    def other_settings(self) -> str | None:
        """How the settings of a run that was trained already differ from the study's, in words."""
        before = present_names(read_config(self.folder).training.config or {})
        now = json.loads(json.dumps(self.config.record()))
        changed = [k for k in now if k in before and now[k] != before[k]]
        told = ", ".join(f"{k} was {before[k]!r}, is {now[k]!r}" for k in changed)
        return (
            f"it was trained with other settings ({told}); remove {self.folder} or give another --output"
            if told
            else None
        )


@dataclass(frozen=True)
class Study:
    """What a study's YAML file says; see the module's docstring.

    ``init_weights``: safetensors files by model, in whose place ``pretrained`` is switched off. ``controls``: also
    measure the trivial models, once for each split.
    """

    output: str
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    train: Mapping[str, Any]
    splits: tuple[str, ...] = ("test",)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    per_model: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    init_weights: Mapping[str, str] = field(default_factory=dict)
    controls: bool = False

    def __post_init__(self):
        for name in ("models", "seeds", "splits", "variants"):
            value = getattr(self, name)
            if not value or len(set(value)) != len(value):
                raise ValueError(f"`{name}` is {list(value)}; give at least one, and each once")
        if wrong := set(self.splits) - set(SPLITS):
            raise ValueError(f"`splits` names {', '.join(sorted(wrong))}; choose from {', '.join(SPLITS)}")
        known = {f.name for f in fields(TrainConfig)} - set(OWN_FIELDS)
        nested = {f"{name}.{k}": v for name in ("variants", "per_model") for k, v in getattr(self, name).items()}
        for name, given in {"train": self.train, **nested}.items():
            if unknown := set(given) - known:
                raise ValueError(f"`{name}` has unknown keys {sorted(unknown)}; known are {', '.join(sorted(known))}")
        for name in ("init_weights", "per_model"):
            if unknown := set(getattr(self, name)) - set(self.models):
                listed = ", ".join(self.models)
                raise ValueError(f"`{name}` names {sorted(unknown)}, which are not among the models {listed}")

    def runs(self) -> list[Run]:
        """Every run, seeds outermost: one of each model is there early. ValueError for settings that make no run."""
        return [
            Run(model, variant, self._config(model, variant, seed), self.splits)
            for seed, variant, model in product(self.seeds, self.variants, self.models)
        ]

    @property
    def protocol(self) -> str:
        """The split protocol of its runs."""
        return self.runs()[0].config.protocol

    def others(self, split: str) -> list[Path]:
        """Results on ``split`` of checkpoints beside the runs, such as ensembles of them."""
        runs = {run.folder for run in self.runs()}
        measured = sorted(Path(self.output).glob(f"*/results/{self.protocol}-{split}.json"))
        return [path for path in measured if path.parents[1] not in runs and (path.parents[1] / CONFIG).exists()]

    def _config(self, model: str, variant: str, seed: int) -> TrainConfig:
        values = {**self.train, **self.variants[variant], **self.per_model.get(model, {})}
        if model in self.init_weights:
            values |= {"pretrained": False, "init_weights": self.init_weights[model]}
        name = "-".join([model.replace("/", "_"), *([variant] if variant else []), f"s{seed}"])
        return TrainConfig(**values, model=model, seed=seed, output=str(Path(self.output) / name))


def read_study(path: str | Path) -> Study:
    """Read a study's YAML file; OSError where it cannot be read, ValueError for what is wrong in it."""
    values = _read_values(path)
    if old := sorted(set(_old_names(values))):
        logger.warning("%s has names of version 0.1 (%s); they go with version 0.3", path, ", ".join(old))
    return _study(values)


def _read_values(path: str | Path) -> Mapping[str, Any]:
    """What a study's YAML file holds, its keys checked; errors as of :func:`read_study`."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"`config` {str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    known = {f.name for f in fields(Study)}
    if not isinstance(values, Mapping):
        raise ValueError(f"`config` {str(path)!r} holds no mapping; its keys are {', '.join(sorted(known))}")
    if unknown := set(values) - known - set(RENAMED_KEYS):
        raise ValueError(
            f"`config` {str(path)!r} has unknown keys {sorted(unknown)}; known are {', '.join(sorted(known))}"
        )
    if missing := [name for name in ("output", "models", "seeds", "train") if name not in values]:
        raise ValueError(f"`config` {str(path)!r} lacks {', '.join(missing)}")
    return values


def _old_names(values: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a study's values, and fields of `TrainConfig` in them, that have the names of the version before."""
    yield from (name for name in values if name in RENAMED_KEYS)
    nested = [own for name in ("variants", "per_model") for own in (values.get(name) or {}).values()]
    for given in (values["train"], *nested):
        yield from (name for name in given or () if name in RENAMED)


def _study(values: Mapping[str, Any]) -> Study:
    """The study that a YAML file's ``values`` say, under names of this version or the one before."""
    present = {RENAMED_KEYS.get(key, key): value for key, value in values.items()}
    present["train"] = present_names(values["train"])
    for name in ("variants", "per_model"):
        if name in values:
            present[name] = {key: present_names(given or {}) for key, given in values[name].items()}
    return record_of(Study, present)


def carry_out(study: Study, runner: Runner) -> Iterator[Run]:
    """Carry out what is not finished, yielding each such run after it, done or failed; a failure stops no other.

    A run that was interrupted goes on where it was, one that failed is tried again. Raises ValueError for a finished
    run of other settings, before anything is trained.
    """
    runs = study.runs()
    for run in runs:
        if run.is_finished and (reason := run.other_settings()):
            raise ValueError(f"`output` {study.output!r}: {run.folder.name} is finished, but {reason}")
    for run in runs:
        if run.is_finished:
            continue
        run.folder.mkdir(parents=True, exist_ok=True)
        if reason := _carry_out(study, run, runner):
            logger.error("%s: %s", run.folder.name, reason)
            write_json(run.folder / FAILURE, {"reason": reason})
        else:
            (run.folder / FAILURE).unlink(missing_ok=True)
        yield run


def _carry_out(study: Study, run: Run, runner: Runner) -> str | None:
    log = run.folder / "output.log"
    if not run.is_trained:
        logger.info("training %s", run.folder.name)
        if reason := runner("train", as_words(replace(run.config, resume=True)), log):
            return reason
    elif reason := run.other_settings():
        return reason
    for split in ("val", *run.splits):
        if not run.results(split).exists():
            logger.info("measuring %s on %s", run.folder.name, split)
            words = _evaluation_words(study, run, split)
            if reason := runner("evaluate", words, log):
                return f"trained, but not measured on {split}: {reason}"
    return None


def as_words(config: TrainConfig) -> list[str]:
    """The command line that gives ``config``: every field that differs from its default."""
    changed = {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) != f.default}
    return [word for name, value in changed.items() for word in (f"--{name}", str(value))]


def _evaluation_words(study: Study, run: Run, split: str) -> list[str]:
    config = run.config
    given = {
        "checkpoint": config.output,
        "dataset": config.dataset,
        "dataset_name": config.dataset_name or source_name(config.dataset),
        "protocol": config.protocol,
        "split": split,
        "revision": config.revision,
        "cache": config.cache,
    }
    words = [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
    wanted = study.controls and split in study.splits
    measured = any(Path(study.output).glob(f"*/results/{config.protocol}-{split}-baselines.json"))
    return words + (["--controls"] if wanted and not measured else [])


def keep_record(study: Study, folder: str | Path) -> Study:
    """Copy to ``folder`` all that the study's figures follow from, and no weights; the study that is there then.

    study.yaml says what was asked for, data sets and initial weights by name; of each run, and of each other
    checkpoint beside the runs, there are config, log, results and predictions on the study's films and, where it
    failed, the reason. What was recorded of it before is replaced. Raises ValueError for the study's own output.
    """
    folder = Path(folder)
    if folder.resolve() == Path(study.output).resolve():
        raise ValueError(f"`record` {str(folder)!r} is where the runs are; give another folder")
    parts = [CONFIG, LOG, FAILURE]
    for name in (f"{study.protocol}-{split}" for split in ("val", *study.splits)):
        parts += [f"results/{name}.json", f"results/{name}-baselines.json", f"predictions/{name}.parquet"]
    others = {path.parents[1] for split in study.splits for path in study.others(split)}
    for source in {*(run.folder for run in study.runs()), *others}:
        shutil.rmtree(folder / source.name, ignore_errors=True)
        for part in (part for part in parts if (source / part).exists()):
            target = folder / source.name / part
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / part, target)
    values = asdict(replace(study, output=folder.name))
    values["train"] = by_name(study.train)
    values["train"].pop("cache", None)
    values["init_weights"] = {model: weights_name(file) for model, file in study.init_weights.items()}
    plain = json.loads(json.dumps(values))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / STUDY, yaml.safe_dump(plain, sort_keys=False))
    return read_record(folder)


def read_record(folder: str | Path) -> Study:
    """The study whose record is in ``folder``, its output; errors as of `read_study`."""
    return replace(_study(_read_values(Path(folder) / STUDY)), output=str(folder))


def overridden(
    study: Study,
    *,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    output: str | None = None,
    init_weights: Sequence[str] = (),
    **train: Any,
) -> Study:
    """``study`` with what the command line says instead; ``train`` are fields of TrainConfig, None for the file's own.

    ``init_weights``: "MODEL=FILE" each. Raises ValueError for pairs that are none.
    """
    pairs = [pair.partition("=") for pair in init_weights]
    if wrong := [pair for pair, (model, sign, file) in zip(init_weights, pairs, strict=True) if not (model and file)]:
        raise ValueError(f"`init_weights` is {wrong[0]!r}; give MODEL=FILE, as in resnet18=resnet18.safetensors")
    chosen = tuple(models) if models else study.models
    weights = {**study.init_weights, **{model: file for model, _, file in pairs}}
    return replace(
        study,
        models=chosen,
        seeds=tuple(seeds) if seeds else study.seeds,
        output=output or study.output,
        init_weights={model: file for model, file in weights.items() if model in chosen or model not in study.models},
        per_model={model: own for model, own in study.per_model.items() if model in chosen},
        train={**study.train, **{k: v for k, v in train.items() if v is not None}},
    )
