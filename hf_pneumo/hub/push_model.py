"""A checkpoint folder becomes a model repository: checked, described by its card, published in one commit."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from hf_pneumo.evaluation.classification.baselines import BaselinesReport
from hf_pneumo.files import replacing
from hf_pneumo.hub.card import write_card
from hf_pneumo.hub.upload import Changes, Destination, PublishError, Pushed, compare, push
from hf_pneumo.models.checkpoint import Checkpoint, load
from hf_pneumo.models.config import CONFIG
from hf_pneumo.models.ood_detector import DENSITY
from hf_pneumo.reporting.checkpoint_report import BASELINES, read_report
from hf_pneumo.serving.graph import LIGHT, graph_path

logger = logging.getLogger(__name__)

# All of a checkpoint folder that is published; anything else in it (states of unfinished runs, notes) stays here.
PUBLISHED = (
    "config.json", "model.safetensors", LIGHT, DENSITY, "README.md", "LICENSE", "training.jsonl", "results/*.json",
    "onnx/*.onnx", "predictions/**/*.parquet", "figures/**/*.png",
)  # fmt: skip
# Files there that a push may remove when they are gone here; fnmatch's * crosses slashes.
OWNED = (
    "config.json", "model.safetensors", LIGHT, DENSITY, "training.jsonl", "results/*", "onnx/*", "predictions/*",
    "figures/*", ".eval_*/*",
)  # fmt: skip
DEFAULT_MODEL = "pneumonia-children"  # the one that the Space loads, where there are several
PICKLES = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}


def find_checkpoints(parent: Path) -> list[Path]:
    """The checkpoint folders in `parent`, the default one first; ValueError when there is none."""
    found = [path.parent for path in parent.glob(f"*/{CONFIG}")]
    if not found:
        raise ValueError(f"`checkpoints` {str(parent)!r} holds no checkpoint folders; give their parent.")
    return sorted(found, key=lambda folder: (folder.name != DEFAULT_MODEL, folder.name))


def stage(checkpoint: str | Path, repo: str, into: Path) -> list[str]:
    """Write into the empty folder `into` exactly what `repo` is to hold; gives the files that are left out.

    Raises CheckpointError for a folder that cannot be loaded, PublishError for one that must not be published.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        raise ValueError(f"`checkpoint` {str(checkpoint)!r} is no folder on this machine; only such can be pushed.")
    problems = list(_problems(folder, load(folder)))
    if problems:
        raise PublishError(f"{folder} cannot be published: {'; '.join(problems)}.")
    into.mkdir(parents=True, exist_ok=True)
    if any(into.iterdir()):
        raise ValueError(f"`output` {str(into)!r} is not empty; give a new folder.")
    taken = sorted({path for pattern in PUBLISHED for path in folder.glob(pattern) if path.is_file()})
    for path in taken:
        target = into / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    _add_baselines(folder, into)
    _add_graph(into)
    write_card(into, repo)
    every = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in every if path not in taken)


def _add_baselines(folder: Path, into: Path) -> None:
    """What a checkout holds once for all its checkpoints goes with each repository."""
    for evaluation in read_report(folder).evaluations:
        own = [into / "results" / f"{evaluation.stem}{ending}.json" for ending in BASELINES]
        if evaluation.controls and not any(path.is_file() for path in own):
            BaselinesReport(dict(evaluation.controls)).write(own[0])


def _add_graph(into: Path) -> None:
    """The graph with its weights in it, for loaders that take one file, where the checkpoint has one without them."""
    whole = graph_path(into)
    if (into / LIGHT).is_file() and not whole.is_file():
        import onnx  # for publication alone

        model = onnx.load(into / LIGHT)  # with the weights of model.safetensors
        with replacing(whole) as temporary:
            onnx.save(model, temporary)


def push_checkpoint(checkpoint: str | Path, to: Destination, into: Path) -> Pushed:
    """Publish the checkpoint folder at `to`; `into` is an empty folder to prepare it in. Raises PublishError."""
    _tell(stage(checkpoint, to.repo, into))
    return push(into, to, message=f"Publish {Path(checkpoint).resolve().name}", owned=OWNED)


def plan_model(checkpoint: str | Path, to: Destination, into: Path) -> Changes:
    """Write the exact folder that `push_checkpoint` would publish and say what it would change; nothing is sent."""
    _tell(stage(checkpoint, to.repo, into))
    logger.info("%s is what %s would hold", into, to.url)
    return compare(into, to, owned=OWNED)


def _tell(left_out: list[str]) -> None:
    if left_out:
        logger.info("not published: %s", ", ".join(left_out))


def _problems(folder: Path, checkpoint: Checkpoint) -> Iterator[str]:
    pickles = sorted(path.name for path in folder.rglob("*") if path.suffix in PICKLES)
    if pickles:
        yield f"it holds pickles ({', '.join(pickles)}), which nobody should have to load; remove them"
    config = checkpoint.config
    for evaluation in read_report(folder).evaluations:
        measured = (evaluation.values.architecture, evaluation.values.temperature)
        if measured != (config.architecture, config.operating_point.temperature):
            yield (
                f"results/{evaluation.stem}.json was measured on another network or temperature than config.json "
                "states; evaluate it again with hf-pneumo evaluate"
            )
