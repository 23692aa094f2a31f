"""The Hub's check of a README's metadata, as POST /api/validate-yaml answers it: a list of errors and of warnings."""

from __future__ import annotations

import re

import yaml

LICENSES = {"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "openrail", "unknown", "other"}
PIPELINES = {"image-classification", "image-segmentation", "object-detection", "mask-generation", "image-to-text"}
RELATIONS = {"finetune", "adapter", "merge", "quantized"}
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
SIZES = re.compile(r"n<1K|1K<n<10K|10K<n<100K|100K<n<1M|1M<n<10M|n>1T")
REPO = re.compile(r"[\w.-]+(/[\w.-]+)?")


def validate(content: str, kind: str) -> tuple[list[str], list[str]]:
    """Errors and warnings for the README `content` of a "model", "dataset" or "space" repository."""
    match = re.match(r"---\r?\n(.*?)\r?\n---(\r?\n|$)", content, re.DOTALL)
    if match is None:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        card = yaml.safe_load(match.group(1))
    except yaml.YAMLError as error:
        return [f"the metadata is not YAML: {error}"], []
    if not isinstance(card, dict):
        return ["the metadata must be a mapping"], []
    errors = [*_common(card), *{"model": _model, "dataset": _dataset, "space": _space}[kind](card)]
    return errors, []


def _common(card: dict) -> list[str]:
    errors = [f'"{key}" must be a list of strings' for key in ("tags", "datasets", "metrics", "models")
              if key in card and not _texts(card[key])]  # fmt: skip
    if "license" in card and card["license"] not in LICENSES:
        errors.append(f'"license" must be one of {sorted(LICENSES)}')
    return errors + [f'"{key}" must not be null' for key, value in card.items() if value is None]


def _model(card: dict) -> list[str]:
    errors = []
    if "pipeline_tag" in card and card["pipeline_tag"] not in PIPELINES:
        errors.append(f'"pipeline_tag" must be one of {sorted(PIPELINES)}')
    bases = card.get("base_model", [])
    for base in [bases] if isinstance(bases, str) else bases:
        if not REPO.fullmatch(base):
            errors.append(f'"base_model" with value "{base}" is not valid. Use a model id from https://hf.co/models.')
    if card.get("base_model_relation", "finetune") not in RELATIONS:
        errors.append(f'"base_model_relation" must be one of {sorted(RELATIONS)}')
    for position, model in enumerate(card.get("model-index", [])):
        where = f'"model-index[{position}]'
        if not isinstance(model.get("name"), str):
            errors.append(f'{where}.name" is required')
        for number, result in enumerate(model.get("results") or [{}]):
            errors += [f'{where}.results[{number}].{key}" is required' for key in _missing(result)]
    return errors


def _missing(result: dict) -> list[str]:
    task, data = result.get("task") or {}, result.get("dataset") or {}
    lacking = [name for name, found in (("task.type", task.get("type")), ("dataset.type", data.get("type")),
                                        ("dataset.name", data.get("name")), ("metrics", result.get("metrics")))
               if not found]  # fmt: skip
    lacking += ["dataset.type"] if not REPO.fullmatch(str(data.get("type", ""))) else []
    for number, metric in enumerate(result.get("metrics") or []):
        lacking += [f"metrics[{number}].{key}" for key in ("type", "value") if metric.get(key) is None]
    return lacking


def _dataset(card: dict) -> list[str]:
    lists = ("task_categories", "size_categories", "annotations_creators")
    errors = [f'"{key}" must be a list of strings' for key in lists if key in card and not _texts(card[key])]
    errors += [f'"size_categories" does not know {size!r}' for size in card.get("size_categories", [])
               if not SIZES.fullmatch(str(size))]  # fmt: skip
    for config in card.get("configs", []):
        if not isinstance(config.get("config_name"), str) or not config.get("data_files"):
            errors.append('each of "configs" needs "config_name" and "data_files"')
    return errors


def _space(card: dict) -> list[str]:
    errors = [f'"{key}" is required' for key in ("title", "sdk", "emoji", "colorFrom", "colorTo") if not card.get(key)]
    errors += [f'"{key}" must be one of {sorted(COLORS)}' for key in ("colorFrom", "colorTo")
               if card.get(key, "red") not in COLORS]  # fmt: skip
    if card.get("sdk", "gradio") not in {"gradio", "docker", "static"}:
        errors.append('"sdk" must be one of gradio, docker, static')
    for key in ("sdk_version", "python_version"):
        if key in card and not isinstance(card[key], str):
            errors.append(f'"{key}" must be a string')
    if len(card.get("short_description", "")) > 60:
        errors.append('"short_description" length must be less than or equal to 60 characters long')
    return errors


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
