"""The options that every push to the Hub has, and the repository that they name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.hub.upload import DEFAULT_BRANCH, Destination, Kind, Pushed


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """Where a folder goes on the Hub, and whether it is sent at all."""

    repo: str = field(metadata={"help": "user/name of the repository; made when it does not exist"})
    private: bool = field(default=False, metadata={"help": "make a new repository private"})
    revision: str = field(default=DEFAULT_BRANCH, metadata={"help": "branch to push to; made when it does not exist"})
    create_pr: bool = field(default=False, metadata={"help": "open a pull request instead of changing main"})
    tag: str | None = field(default=None, metadata={"help": "tag that is to name the published commit, such as v1"})
    dry_run: bool = field(default=False, metadata={"help": "write the exact folder, say what changes, send nothing"})
    output: str | None = field(default=None, metadata={"help": "with --dry-run, the folder (default: dry-run/<name>)"})

    def destination(self, kind: Kind = "model") -> Destination:
        """The repository, as the options say."""
        return Destination(
            self.repo,
            kind,
            branch=self.revision,
            private=self.private or None,
            create_pr=self.create_pr,
            tag=self.tag,
        )

    @property
    def dry_folder(self) -> Path:
        """Where a dry run writes."""
        return Path(self.output or f"dry-run/{self.repo.rpartition('/')[2]}")


def say_pushed(done: Pushed) -> None:
    """What changed, and the page that has it."""
    print(done.changes)
    print(done.pull_request or f"{done.url} at {done.commit}")
