"""Publish a checkpoint folder as a model repository of the Hub, in one commit.

    hf-pneumo push --checkpoint space/checkpoints/pneumonia-official --repo user/name --dry-run
    hf-pneumo push --checkpoint space/checkpoints/pneumonia-official --repo user/name --tag v1

An unchanged folder makes no commit. Log in with `hf auth login` or set HF_TOKEN.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hf_pneumo.hub.push_model import plan_model, push_model
from hf_pneumo.hub.upload import DEFAULT_BRANCH, Destination


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder"})
    repo: str = field(metadata={"help": "user/name of the model repository; made when it does not exist"})
    private: bool = field(default=False, metadata={"help": "make a new repository private"})
    revision: str = field(default=DEFAULT_BRANCH, metadata={"help": "branch to push to; made when it does not exist"})
    create_pr: bool = field(default=False, metadata={"help": "open a pull request instead of changing main"})
    tag: str | None = field(default=None, metadata={"help": "tag that is to name the published commit, such as v1"})
    dry_run: bool = field(default=False, metadata={"help": "write the exact folder, say what changes, send nothing"})
    output: str | None = field(default=None, metadata={"help": "with --dry-run, the folder (default: dry-run/<name>)"})


def run(arguments: Arguments) -> None:
    to = Destination(
        arguments.repo,
        branch=arguments.revision,
        private=arguments.private or None,
        create_pr=arguments.create_pr,
        tag=arguments.tag,
    )
    if arguments.dry_run:
        folder = Path(arguments.output or f"dry-run/{arguments.repo.rpartition('/')[2]}")
        print(plan_model(arguments.checkpoint, to, folder))
        print(f"nothing was sent; {folder} is what {to.url} would hold")
        return
    with TemporaryDirectory() as folder:
        done = push_model(arguments.checkpoint, to, Path(folder))
    print(done.changes)
    print(done.pull_request or f"{done.url} at {done.commit}")
