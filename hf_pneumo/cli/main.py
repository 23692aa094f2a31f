"""The entry point: `hf-pneumo COMMAND [options]`; each command's module is imported when it is asked for."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from hf_pneumo import __version__
from hf_pneumo.cli.options import BAD_USAGE, parse

FAILED = 1


@dataclass(frozen=True)
class Command:
    """A subcommand: the module of this package that holds it, and what it does in a few words."""

    module: str
    does: str
    bare: str | None = None  # the option that words before the first option belong to


COMMANDS = {
    "train": Command("train", "train a classifier and write its checkpoint folder"),
    "train-lungs": Command("train_lungs", "train the segmenter of the lungs that the package ships"),
    "train-film-check": Command("train_film_check", "fit the check that a picture is an upright frontal chest film"),
    "study": Command("run_study", "train and compare several backbones over several seeds"),
    "evaluate": Command("evaluate", "measure a checkpoint on a split of a data set, or on films from elsewhere"),
    "reevaluate": Command("reevaluate", "measure again from stored predictions, without the network"),
    "compare": Command("compare", "compare models in pairs on the same films", bare="results"),
    "compare-crops": Command("compare_crops", "draw figures and heatmaps before and after a crop"),
    "ensemble": Command("ensemble", "make one model of several checkpoints"),
    "predict": Command("predict", "score films: a row a file, or the reason why there is none"),
    "listen": Command("listen", "a PACS node: take films over, send heatmap and report into their studies"),
    "explain": Command("explain", "write a map, an overlay and boxes for each film"),
    "score": Command("score", "score an archive into parquet shards, losing no film"),
    "export": Command("export_onnx", "export a checkpoint as one ONNX graph with its map"),
    "localization": Command("evaluate_localization", "measure maps against boxes or masks"),
    "faithfulness": Command("faithfulness", "measure whether maps show what the network uses"),
    "configure": Command("configure", "say for whom a checkpoint is, and how its maps are made"),
    "audit": Command("audit_data", "patients and identical films on two sides of a split"),
    "label-reports": Command("label_reports", "fourteen observations from report text"),
    "fit-ood": Command("fit_ood", "fit and measure the check for pictures that are no such films"),
    "convert": Command("convert_checkpoint", "turn the paper's .pth file into a checkpoint folder"),
    "push": Command("push_model", "publish a checkpoint folder on the Hub"),
    "push-dataset": Command("push_dataset", "publish patients, splits and audit of a data set"),
    "deploy-space": Command("deploy_space", "publish the Space"),
    "publish": Command("publish", "publish models, data set, Space and a Collection of them"),
    "write-cards": Command("write_cards", "write the model cards from what the checkpoints hold"),
    "reproduce": Command("reproduce", "recompute every printed figure, and write or check the tables"),
    "benchmark": Command(
        "benchmark", "measure what explanations, the training loop and report labels cost", bare="what"
    ),
}


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command line ``words`` (default: the process's own) and end the process with its status."""
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        sys.exit(0 if words else BAD_USAGE)
    if words[0] == "--version":
        sys.stdout.write(f"hf-pneumo {__version__}\n")
        sys.exit(0)
    if words[0] not in COMMANDS:
        sys.stderr.write(f"error: `{words[0]}` is no command; choose one of {', '.join(COMMANDS)}\n")
        sys.exit(BAD_USAGE)
    run_command(words[0], words[1:])


def usage() -> str:
    """What `hf-pneumo --help` says."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.does}" for name, command in COMMANDS.items()]
    head = "usage: hf-pneumo COMMAND [options]; hf-pneumo COMMAND --help says more\n\n"
    return head + "\n".join(lines) + "\n\nFor research and teaching. Not a medical device, not for diagnosis.\n"


def run_command(name: str, words: Sequence[str]) -> NoReturn:
    """Run the command ``name``: 0 when it went well, 2 for bad usage, 1 when something failed; an error is one line."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Large pages for large tensors on the CPU; read by torch at its first allocation.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("hf_pneumo").setLevel(logging.INFO)
    command = COMMANDS[name]
    try:
        module = import_module(f"hf_pneumo.cli.{command.module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("hf_pneumo"):
            raise
        _stop(ImportError(f"`{name}` needs {error.name}, which is not installed: {_fix(error.name)}"), FAILED)
    arguments = parse(
        module.Arguments, words, prog=f"hf-pneumo {name}", description=_description(module), bare=command.bare
    )
    _keep_freed_memory()
    _finish(module.run, arguments)


def _description(module: ModuleType) -> str:
    return (module.__doc__ or "").strip()


def _keep_freed_memory() -> None:
    from hf_pneumo.training.memory import keep_freed_memory

    keep_freed_memory()


def _finish(action: Callable[[Any], object], arguments: Any) -> NoReturn:
    try:
        done = action(arguments)
    except ValueError as error:
        _stop(error, BAD_USAGE)
    except (OSError, RuntimeError, ArithmeticError) as error:
        _stop(error, FAILED)
    sys.exit(FAILED if done is False else 0)


# Which extra brings a package that the library alone does without.
EXTRAS = {"spacy": "reports", "negspacy": "reports", "pydicom": "dicom", "highdicom": "dicom", "gradio": "space"}
EXTRAS |= {"pynetdicom": "pacs", "prometheus_client": "pacs", "dicomweb_client": "pacs"}


def _fix(package: str) -> str:
    extra = EXTRAS.get(package.partition(".")[0])
    return f"pip install 'hf-pneumo[{extra}]'" if extra else f"pip install {package}"


def _stop(error: Exception, status: int) -> NoReturn:
    logging.getLogger("hf_pneumo").debug("traceback", exc_info=error)
    sentence = " ".join(str(error).split()) or type(error).__name__
    sys.stderr.write(f"error: {sentence}\n")
    sys.exit(status)
