"""Publish a checkpoint folder as a model repository of the Hub, in one commit.

    hf-pneumo push --checkpoint space/checkpoints/pneumonia-children --repo user/name --dry-run
    hf-pneumo push --checkpoint space/checkpoints/pneumonia-children --repo user/name --tag v1

An unchanged folder makes no commit. Log in with `hf auth login` or set HF_TOKEN.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hf_pneumo.cli.push_options import PushOptions, say_pushed
from hf_pneumo.hub.push_model import plan_model, push_checkpoint


@dataclass(frozen=True, kw_only=True)
class Arguments(PushOptions):
    checkpoint: str = field(metadata={"help": "checkpoint folder"})


def run(arguments: Arguments) -> None:
    to = arguments.destination()
    if arguments.dry_run:
        print(plan_model(arguments.checkpoint, to, arguments.dry_folder))
        print(f"nothing was sent; {arguments.dry_folder} is what {to.url} would hold")
        return
    with TemporaryDirectory() as folder:
        say_pushed(push_checkpoint(arguments.checkpoint, to, Path(folder)))
