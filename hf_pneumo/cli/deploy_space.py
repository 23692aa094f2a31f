"""Publish the Space: the app with the library beside it, pinned packages, and the model that it loads.

    hf-pneumo deploy-space --repo user/space --model user/name@v1 user/another@v1
    hf-pneumo deploy-space --repo user/space --dry-run

Without --model the Space answers with the checkpoints in space/checkpoints, which travel with it. Models are pinned to
their commits and loaded from there, the first at the start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hf_pneumo.cli.checkout import repository
from hf_pneumo.hub.space import deploy_space, plan_space
from hf_pneumo.hub.upload import Destination

APP = repository() / "space"


@dataclass(frozen=True)
class Arguments:
    repo: str = field(metadata={"help": "user/name of the Space; made when it does not exist"})
    model: list[str] = field(
        default_factory=list, metadata={"help": "user/name[@revision] of the models that it loads, the first one first"}
    )
    private: bool = field(default=False, metadata={"help": "make a new Space private"})
    create_pr: bool = field(default=False, metadata={"help": "open a pull request instead of changing the Space"})
    dry_run: bool = field(default=False, metadata={"help": "write the exact folder, say what changes, send nothing"})
    output: str | None = field(default=None, metadata={"help": "with --dry-run, the folder (default: dry-run/<name>)"})


def run(arguments: Arguments) -> None:
    to = Destination(arguments.repo, "space", private=arguments.private or None, create_pr=arguments.create_pr)
    if arguments.dry_run:
        folder = Path(arguments.output or f"dry-run/{arguments.repo.rpartition('/')[2]}")
        print(plan_space(APP, to, folder, arguments.model))
        print(f"nothing was sent; {folder} is what {to.url} would hold")
        return
    with TemporaryDirectory() as staged:
        done = deploy_space(APP, to, Path(staged), arguments.model)
    print(done.changes)
    print(done.pull_request or f"{done.url} at {done.commit}")
