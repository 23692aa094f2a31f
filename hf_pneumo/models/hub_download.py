"""Where a checkpoint folder comes from: a path on this disk, or a model repository of the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import logging
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

logger = logging.getLogger(__name__)

# All that inference, explanation and the card's numbers need; predictions, figures and logs stay on the Hub.
NEEDED = (
    "config.json", "model.safetensors", "graph.onnx", "film_density.safetensors", "README.md", "results/*.json",
)  # fmt: skip
REQUIRED = ("config.json", "model.safetensors")

# Shipped checkpoints that others have taken the place of.
RENAMED = {
    "pneumonia-official": "pneumonia-children",
    "pneumonia-official-lungs": "pneumonia-children",
    "aetiology-official": "aetiology-children",
    "findings-nih": "findings-adults",
}
ATTEMPTS = 4
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
TIMEOUT_S = 10.0

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TIMM = re.compile(r"(hf[-_]hub:)?timm/|hf[-_]hub:")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[\x21-\x7e]+")

_Answer = TypeVar("_Answer")


class CheckpointError(OSError):
    """A checkpoint that cannot be had or read; the message is one sentence that ends in the fix."""


@dataclass(frozen=True)
class Fetched:
    """A checkpoint folder on this disk: `name` is the repository or the folder's own name, `revision` the full
    commit hash of a Hub repository, None for a local folder."""

    path: Path
    name: str
    revision: str | None


def fetch(where: str | PathLike[str], *, revision: str | None = None, token: str | bool | None = None) -> Fetched:
    """Bring a checkpoint folder to this disk.

    `where` is a local folder, `user/repo` or `user/repo@revision`; a branch, tag, `refs/pr/N` or commit will do as
    revision. `token` as in huggingface_hub: None takes the saved login, False goes without one. A full commit hash
    that is already in the cache is used without asking the Hub; when the Hub cannot be reached, the revision in the
    cache is used and a warning names it. The weights' SHA-256 is checked once they have arrived.

    Raises CheckpointError when there is no usable checkpoint, ValueError for arguments that contradict each other.
    """
    name, revision = _split(str(where), revision)
    if isinstance(token, str) and not _TOKEN.fullmatch(token):
        raise ValueError("`token` must be printable ASCII without spaces; it looks damaged, copy it again.")
    folder = _renamed(Path(name).expanduser())
    if (prefix := _TIMM.match(name)) and not folder.exists():
        raise CheckpointError(_hint(name, prefix))
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"`revision` {revision!r} has no meaning for the local folder {name!r}; leave it out.")
        _require(folder, f"The folder {name!r}", sorted(path.name for path in folder.iterdir()))
        return Fetched(folder, folder.resolve().name, None)
    if folder.is_file():
        raise CheckpointError(f"`where` {name!r} is a file; give the checkpoint folder that holds it.")
    if not _REPO.fullmatch(name):
        raise CheckpointError(
            f"`where` {name!r} is neither a folder on this machine nor a Hub repository; give an existing folder, "
            "'user/repo' or 'user/repo@revision'."
        )
    return _Repository(name, revision, token).fetch()


def _hint(name: str, prefix: re.Match[str]) -> str:
    bare = name[prefix.end() :]
    if "timm/" in prefix[0]:
        return (
            f"`where` {name!r} is a backbone of timm, which knows nothing of chest films; train it with "
            f"hf-pneumo train --model {bare} --pretrained, and give that run's folder."
        )
    return f"`where` {name!r} is timm's way of writing; give 'user/repo' alone, {bare!r}."


def is_in_hub_cache(folder: Path) -> bool:
    """Whether ``folder`` is, or lies in, a snapshot of the Hub's cache, this machine's or one copied from elsewhere."""
    parts = folder.resolve().parts
    pairs = zip(parts, parts[1:], strict=False)
    return any(parent.startswith("models--") and child == "snapshots" for parent, child in pairs)


def _renamed(folder: Path) -> Path:
    """``folder``, or the one beside it that a shipped checkpoint of that name has become; until the next version."""
    now = folder.with_name(RENAMED.get(folder.name, folder.name))
    if now == folder or folder.exists() or not now.is_dir():
        return folder
    warnings.warn(
        f"the checkpoint {folder.name} is now {now.name}, which is taken; the old name goes with the next version",
        FutureWarning,
        stacklevel=4,
    )
    return now


def is_repository(name: str) -> bool:
    """Whether ``name`` has the form of a repository's id, user/name."""
    return bool(_REPO.fullmatch(name))


def _split(where: str, revision: str | None) -> tuple[str, str | None]:
    name, found, pinned = where.partition("@")
    if not found or not _REPO.fullmatch(name) or Path(where).expanduser().exists():  # a path may hold an @ itself
        return where, revision
    if not pinned:
        raise ValueError(f"`where` {where!r} ends in @ without a revision; give 'user/repo' or 'user/repo@revision'.")
    if revision not in (None, pinned):
        raise ValueError(f"`where` {where!r} and `revision` {revision!r} name two revisions; give one of them.")
    return name, pinned


def _require(folder: Path, what: str, present: list[str]) -> None:
    missing = [file for file in REQUIRED if not (folder / file).is_file()]
    if missing:
        held = ", ".join(present[:12]) or "nothing"
        raise CheckpointError(
            f"{what} has no {' and no '.join(missing)} (it holds: {held}), so it is not a checkpoint; give a folder or "
            "repository written by hf_pneumo, or convert pickled weights with hf-pneumo convert."
        )


@dataclass(frozen=True)
class _Repository:
    name: str
    revision: str | None
    token: str | bool | None

    @property
    def api(self) -> HfApi:
        return HfApi(token=self.token, library_name="hf_pneumo")

    @property
    def label(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"

    def fetch(self) -> Fetched:
        if self.revision is not None and _COMMIT.fullmatch(self.revision):
            cached = self._cached(self.revision)
            if cached is not None:  # a commit never changes: nothing to ask
                return cached
        try:
            commit = patiently(
                lambda: self.api.model_info(self.name, revision=self.revision, timeout=TIMEOUT_S).sha, self.label
            )
        except (httpx2.TransportError, OfflineModeIsEnabled, HfHubHTTPError) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                raise self._refused(error) from None  # the cause would carry the request's headers, token and all
            return self._from_cache(error)
        if commit is None:
            raise CheckpointError(f"{self.api.endpoint} gave no commit for {self.label!r}; check HF_ENDPOINT.")
        return self._download(commit)

    def _download(self, commit: str) -> Fetched:
        pin = f"{self.name}@{commit}"

        def snapshot(force: bool = False) -> Path:
            return Path(
                snapshot_download(
                    self.name,
                    revision=commit,
                    token=self.token,
                    allow_patterns=list(REQUIRED if force else NEEDED),
                    force_download=force,
                    library_name="hf_pneumo",
                )
            )

        try:
            folder = patiently(snapshot, pin)
            if _damaged(folder):
                logger.warning("The weights of %s arrived damaged; downloading them again.", pin)
                folder = patiently(lambda: snapshot(force=True), pin)
                if _damaged(folder):
                    weights = folder / "model.safetensors"
                    weights.resolve().unlink()  # so that nobody takes them from the cache
                    weights.unlink()
                    raise CheckpointError(
                        f"model.safetensors of {pin} does not have the SHA-256 that the Hub states for it, twice over; "
                        "a proxy or the storage damages it: try again later or over another network."
                    )
            if self._known_commit() != commit:  # remember what the branch pointed at, for a day without network
                self.api.resolve_revision(self.name, revision=self.revision)
        except CheckpointError:
            raise
        except (httpx2.HTTPError, OfflineModeIsEnabled, RevisionResolutionError, OSError) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                raise self._refused(error) from None
            raise CheckpointError(
                f"Downloading {pin} from {self.api.endpoint} broke off ({brief(error)}); check the connection and the "
                "free disk space, then run it again: nothing half-written is kept."
            ) from None
        _require(folder, f"The repository {pin}", self._files(commit))
        return Fetched(folder, self.name, commit)

    def _from_cache(self, error: Exception) -> Fetched:
        commit = self.revision if _COMMIT.fullmatch(self.revision or "") else self._known_commit()
        cached = self._cached(commit) if commit else None
        if cached is None:
            raise CheckpointError(
                f"The Hub at {self.api.endpoint} cannot be reached ({brief(error)}) and {self.label!r} is not in the "
                "cache; connect this machine, or download the repository elsewhere and give its folder."
            ) from None
        logger.warning(
            "The Hub at %s cannot be reached (%s); using revision %s of %s from the cache, which may be outdated.",
            self.api.endpoint, brief(error), cached.revision, self.name,
        )  # fmt: skip
        return cached

    def _known_commit(self) -> str | None:
        """The commit that the cache remembers for the wanted branch or tag."""
        try:
            return self.api.resolve_revision(self.name, revision=self.revision, local_files_only=True).resolved
        except RevisionResolutionError:
            return None

    def _cached(self, commit: str) -> Fetched | None:
        try:
            folder = snapshot_download(self.name, revision=commit, local_files_only=True, allow_patterns=list(NEEDED))
        except IncompleteSnapshotError as partial:
            folder = partial.snapshot_path
        except LocalEntryNotFoundError:
            return None
        if any(not Path(folder, file).is_file() for file in REQUIRED):
            return None
        return Fetched(Path(folder), self.name, commit)

    def _refused(self, error: HfHubHTTPError) -> CheckpointError:
        endpoint, status = self.api.endpoint, error.response.status_code
        if isinstance(error, GatedRepoError):
            return CheckpointError(
                f"{self.name!r} is gated; ask for access at {endpoint}/{self.name}, then log in with `hf auth login` "
                "or set HF_TOKEN."
            )
        if isinstance(error, RepositoryNotFoundError):
            return CheckpointError(
                f"{endpoint} has no model repository {self.name!r}, or it is private and this login may not read it; "
                "check the spelling, or log in with `hf auth login` or set HF_TOKEN."
            )
        if isinstance(error, RevisionNotFoundError):
            return CheckpointError(f"`revision` {self.revision!r} does not exist in {self.name!r}; {self._revisions()}")
        if isinstance(error, DisabledRepoError):
            return CheckpointError(f"{self.name!r} has been disabled by the Hub; choose another checkpoint.")
        if status == 401:
            return CheckpointError(
                f"{endpoint} refuses this login; make a new token at {endpoint}/settings/tokens and run "
                "`hf auth login`, or unset HF_TOKEN to read public repositories."
            )
        return CheckpointError(
            f"{endpoint} refuses {self.label!r} with HTTP status {status}; check that the token may read this "
            f"repository at {endpoint}/settings/tokens, or try again later."
        )

    def _revisions(self) -> str:
        try:
            refs = self.api.list_repo_refs(self.name)
        except (httpx2.HTTPError, OSError):
            return f"see {self.api.endpoint}/{self.name}/commits/main for those that do."
        branches, tags = ([ref.name for ref in group][:8] for group in (refs.branches, refs.tags))
        return f"its branches are {branches}, its tags {tags}; a full commit hash is allowed too."

    def _files(self, commit: str) -> list[str]:
        try:
            return self.api.list_repo_files(self.name, revision=commit)
        except (httpx2.HTTPError, OSError):
            return []


def patiently(ask: Callable[[], _Answer], what: str) -> _Answer:
    """Ask again after a server error or a broken connection, as long as Retry-After says or doubling the wait."""
    wait, left = FIRST_WAIT_S, ATTEMPTS
    while True:
        left -= 1
        try:
            return ask()
        except (httpx2.TransportError, HfHubHTTPError) as error:
            response = getattr(error, "response", None)
            refused = response is not None and response.status_code < 500 and response.status_code != 429
            if left == 0 or refused or isinstance(error, httpx2.ConnectError):  # nobody there: do not make them wait
                raise
            stated = response.headers.get("Retry-After", "") if response is not None else ""
            pause = min(float(stated) if stated.isdigit() else wait, LONGEST_WAIT_S)
            logger.info("%s: %s; trying again in %g s.", what, brief(error), pause)
            time.sleep(pause)
            wait *= 2


def _damaged(folder: Path) -> bool:
    """Whether the weights' bytes differ from the SHA-256 under which the cache stores them."""
    weights = (folder / "model.safetensors").resolve()
    if not _SHA256.fullmatch(weights.name):  # a cache without symbolic links does not keep the sum
        return False
    with weights.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() != weights.name


def brief(error: BaseException) -> str:
    """What went wrong, without the message: those of the HTTP client can quote the headers, hence the token."""
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, HfHubHTTPError):
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
