"""Write the card of every checkpoint in the repository: README.md in its folder, and model_cards/<name>.md.

    python scripts/write_cards.py

Run it after training or evaluation; the cards hold what results/*.json say and nothing else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import command

from hf_pneumo.hub.card import CardSource, model_card, write_card
from hf_pneumo.hub.push import find_checkpoints

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Arguments:
    checkpoints: str = field(default=str(ROOT / "space/checkpoints"), metadata={"help": "folder of checkpoint folders"})
    output: str = field(default=str(ROOT / "model_cards"), metadata={"help": "folder for the cards' copies"})
    namespace: str = field(default="user", metadata={"help": "account that the cards' snippets name"})


def run(arguments: Arguments) -> None:
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    for folder in find_checkpoints(Path(arguments.checkpoints)):
        repo = f"{arguments.namespace}/{folder.name}"
        print(write_card(folder, repo))
        link = Path(os.path.relpath(folder, output)).as_posix()
        copy = output / f"{folder.name}.md"
        copy.write_text(model_card(CardSource(folder, repo, figures_at=f"{link}/")), encoding="utf-8")
        print(copy)


if __name__ == "__main__":
    command.main(Arguments, run, __doc__)
