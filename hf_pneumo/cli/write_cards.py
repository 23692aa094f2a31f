"""Write the cards of the repository: model_cards/<name>.md for each checkpoint, model_cards/<study>/<run>.md for each
run of a record. A checkpoint's own README.md is made when it is pushed.

    hf-pneumo write-cards

Run it after training or evaluation; the cards hold what config.json and results/*.json say and nothing else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.cli.checkout import repository
from hf_pneumo.hub.card import CardSource, model_card
from hf_pneumo.hub.push_model import find_checkpoints
from hf_pneumo.models.checkpoint import complete_config

ROOT = repository()


@dataclass(frozen=True)
class Arguments:
    checkpoints: str = field(default=str(ROOT / "space/checkpoints"), metadata={"help": "folder of checkpoint folders"})
    studies: list[str] = field(
        default_factory=lambda: [str(ROOT / "results/seven")], metadata={"help": "records whose runs get cards, too"}
    )
    output: str = field(default=str(ROOT / "model_cards"), metadata={"help": "folder for the cards"})
    namespace: str = field(default="user", metadata={"help": "account that the cards' snippets name"})


def run(arguments: Arguments) -> None:
    output = Path(arguments.output)
    for folder in find_checkpoints(Path(arguments.checkpoints)):
        complete_config(folder)
        print(_write_apart(folder, f"{arguments.namespace}/{folder.name}", output))
    for study in map(Path, arguments.studies):
        for folder in find_checkpoints(study):
            print(_write_apart(folder, f"{arguments.namespace}/{study.name}-{folder.name}", output / study.name))


def _write_apart(folder: Path, repo: str, output: Path) -> Path:
    """Write the card of the checkpoint in `folder` into `output`; its links lead back."""
    output.mkdir(parents=True, exist_ok=True)
    link = Path(os.path.relpath(folder, output)).as_posix()
    card = output / f"{folder.name}.md"
    card.write_text(model_card(CardSource(folder, repo, figures_at=f"{link}/")), encoding="utf-8")
    return card
