"""One folder, one commit: bring a repository of the Hub to the state of a folder, or say what would change."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, TypeVar

import httpx2
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile
from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled, RevisionNotFoundError

from hf_pneumo.models import hub_download
from hf_pneumo.models.hub_download import brief, patiently

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset", "space"]
DEFAULT_BRANCH = "main"
# The commit itself may have arrived although its answer was lost: compare anew before sending it again.
COMMIT_ATTEMPTS = 3
MOVED = 412  # the Hub's answer where the branch is no longer at the commit that was compared with
STEP = "`hf auth login` or HF_TOKEN"

_Answer = TypeVar("_Answer")


class PublishError(OSError):
    """Publication that failed; the message is one sentence that ends in the fix. Nothing half-published is left."""


@dataclass(frozen=True)
class Changes:
    """What a push does to a branch, as paths in it; `head` is the commit compared with, None for a new repository."""

    head: str | None
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.deleted)

    def __str__(self) -> str:
        lines = [f"{sign} {path}" for sign, group in (("+", self.added), ("~", self.changed), ("-", self.deleted))
                 for path in group]  # fmt: skip
        return "\n".join([*lines, f"{len(self.unchanged)} files unchanged"])


@dataclass(frozen=True)
class Pushed:
    """Where a folder lies now: the repository's page, the commit that holds it, and what changed to get there."""

    repo: str
    url: str
    commit: str | None
    changes: Changes
    pull_request: str | None = None


@dataclass(frozen=True)
class Destination:
    """A repository, its kind, and the branch to write to; `private` is for a repository that has to be made."""

    repo: str
    kind: Kind = "model"
    branch: str = DEFAULT_BRANCH
    private: bool | None = None
    create_pr: bool = False
    tag: str | None = None
    token: str | bool | None = None

    def __post_init__(self) -> None:
        if self.create_pr and self.branch != DEFAULT_BRANCH:
            raise ValueError("`create_pr` opens a pull request against main; leave `revision` out.")
        if self.create_pr and self.tag is not None:
            raise ValueError("`tag` names a published commit; leave it out with `create_pr`.")
        if self.repo.count("/") != 1:
            raise ValueError(f"`repo` is {self.repo!r}; give 'user/name'.")

    @property
    def api(self) -> HfApi:
        return HfApi(token=self.token, library_name="hf_pneumo")

    @property
    def url(self) -> str:
        return f"{self.api.endpoint}/{'' if self.kind == 'model' else f'{self.kind}s/'}{self.repo}"


def compare(folder: Path, to: Destination, *, owned: Sequence[str] = ("*",)) -> Changes:
    """What `push` would do: `folder` against the branch; files there that match `owned` and are not here go.

    Only reads. Raises PublishError.
    """
    return asked(lambda: _compare(folder, to, owned), to)


def _compare(folder: Path, to: Destination, owned: Sequence[str]) -> Changes:
    here = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    head, there = _listing(to)
    changed = tuple(path for path in here if path in there and not _same(folder / path, there[path]))
    stale = (path for path in sorted(there) if path not in here and path != ".gitattributes")
    return Changes(
        head,
        added=tuple(path for path in here if path not in there),
        changed=changed,
        deleted=tuple(path for path in stale if any(fnmatch(path, pattern) for pattern in owned)),
        unchanged=tuple(path for path in here if path in there and path not in changed),
    )


def push(
    folder: Path, to: Destination, *, message: str, owned: Sequence[str] = ("*",), sdk: str | None = None
) -> Pushed:
    """Make the branch equal `folder` in one commit; no commit when it already is.

    The repository is made when it is missing (`sdk` for a Space), the branch from main likewise. Large files go first,
    the commit that names them last: a push that breaks off leaves the repository as it was, running it again goes on.
    Raises PublishError.
    """
    asked(lambda: _prepare(to, sdk), to)
    first = changes = compare(folder, to, owned=owned)
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        done: CommitInfo | None = None
        if changes:
            if changes.head != first.head:  # while we waited to ask again
                raise _refused(to, MOVED)
            try:
                done = asked(lambda state=changes: _commit(folder, to, state, message), to, patient=False)
            except _Unanswered as lost:
                if attempt == COMMIT_ATTEMPTS or to.create_pr:
                    raise _broken(to, lost) from None
                logger.info("The commit to %s was not answered (%s); looking whether it arrived.", to.repo, lost)
                time.sleep(hub_download.FIRST_WAIT_S * 2**attempt)
                changes = compare(folder, to, owned=owned)
                continue
        commit = changes.head if done is None else done.oid
        pull_request = None if done is None else done.pr_url
        if to.tag is not None:
            asked(lambda oid=commit: _tag(to, oid), to)
        return Pushed(to.repo, to.url, commit, changes, pull_request)
    raise _broken(to, "no answer")


class _Unanswered(Exception):
    """A request that may have had its effect although no answer came."""


def _commit(folder: Path, to: Destination, changes: Changes, message: str) -> CommitInfo:
    operations = [CommitOperationAdd(path, folder / path) for path in (*changes.added, *changes.changed)]
    removals = [CommitOperationDelete(path, is_folder=False) for path in changes.deleted]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*about to commit a data file.*")  # predictions belong to a model
        # Not upload_folder: with Xet it may split a folder into several commits.
        return to.api.create_commit(
            to.repo,
            [*operations, *removals],
            commit_message=message,
            repo_type=to.kind,
            revision=to.branch,
            parent_commit=changes.head,
            create_pr=to.create_pr,
        )


def _prepare(to: Destination, sdk: str | None) -> None:
    api = to.api
    api.create_repo(to.repo, repo_type=to.kind, private=to.private, exist_ok=True, space_sdk=sdk)
    if to.private and not api.repo_info(to.repo, repo_type=to.kind).private:
        raise PublishError(
            f"{to.url} exists and is public although `private` is asked for; nothing was uploaded: make it private in "
            "its settings first, or choose another name."
        )
    if to.branch != DEFAULT_BRANCH and not to.branch.startswith("refs/pr/"):
        api.create_branch(to.repo, branch=to.branch, repo_type=to.kind, exist_ok=True)


def _tag(to: Destination, commit: str | None) -> None:
    refs = to.api.list_repo_refs(to.repo, repo_type=to.kind)
    present = next((ref.target_commit for ref in refs.tags if ref.name == to.tag), None)
    if present is None:
        to.api.create_tag(to.repo, tag=to.tag, revision=commit, repo_type=to.kind)
    elif present != commit:
        raise PublishError(
            f"The files are published, but the tag {to.tag!r} of {to.url} already names commit {present}; "
            "choose another `tag`: a tag that moves is no pin."
        )


def _listing(to: Destination) -> tuple[str | None, dict[str, RepoFile]]:
    api = to.api
    try:
        if not api.repo_exists(to.repo, repo_type=to.kind):
            return None, {}
        head = api.repo_info(to.repo, repo_type=to.kind, revision=to.branch).sha
    except RevisionNotFoundError:  # a branch that a push would make from main
        head = api.repo_info(to.repo, repo_type=to.kind).sha
    entries = api.list_repo_tree(to.repo, recursive=True, revision=head, repo_type=to.kind)
    return head, {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _same(file: Path, there: RepoFile) -> bool:
    """Whether the Hub holds these bytes, by the hash that it states: SHA-256 for LFS, else git's of a blob."""
    size = file.stat().st_size
    if size != there.size:
        return False
    digest = hashlib.sha256() if there.lfs is not None else hashlib.sha1(b"blob %d\0" % size)
    with file.open("rb") as stream:
        while piece := stream.read(2**20):
            digest.update(piece)
    return digest.hexdigest() == (there.blob_id if there.lfs is None else there.lfs.sha256)


def asked(ask: Callable[[], _Answer], to: Destination, *, patient: bool = True) -> _Answer:
    """What `ask` gets from the Hub, again and again while it is down; PublishError, in one sentence, when it refuses.

    The request is no cause of that error: it carries the token.
    """
    try:
        return patiently(ask, to.repo) if patient else ask()
    except PublishError:
        raise
    except HFValidationError as error:
        raise ValueError(f"`repo` is {to.repo!r}: {error}") from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) and not patient:  # an error page instead of the Hub's answer
            raise _Unanswered("an answer that is not the Hub's") from None
        reason = " ".join(str(error).split())
        raise PublishError(f"{to.url} does not accept this folder: {reason}; correct it.") from None
    except (httpx2.HTTPError, OSError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
        response = getattr(cause, "response", None)
        if response is not None and response.status_code < 500:
            raise _refused(to, response.status_code) from None
        if patient or isinstance(cause, (httpx2.ConnectError, OfflineModeIsEnabled)):
            raise _broken(to, brief(cause)) from None
        raise _Unanswered(brief(cause)) from None


def _refused(to: Destination, status: int) -> PublishError:
    if status == MOVED:
        return PublishError(
            f"{to.url} got another commit meanwhile; nothing of yours was published: look at "
            f"{to.url}/commits/{to.branch} and run it again."
        )
    if status in (401, 403, 404):
        return PublishError(
            f"The Hub does not let this login write to {to.url} (HTTP status {status}); give a token with write access "
            f"to {to.repo.split('/')[0]!r} by {STEP}."
        )
    return PublishError(f"The Hub refuses the upload to {to.url} (HTTP status {status}); run it again later.")


def _broken(to: Destination, reason: object) -> PublishError:
    if to.create_pr:
        return PublishError(
            f"The exchange with {to.url} broke off ({reason}); main is as it was: look at {to.url}/discussions whether "
            "the pull request is there, else run it again."
        )
    return PublishError(
        f"The exchange with {to.url} broke off ({reason}); the repository is as it was: check the connection and run "
        "it again, files that have arrived are not sent twice."
    )
