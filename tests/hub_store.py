"""What the loopback Hub keeps: repositories with commits, branches, tags and pull requests, and their files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import yaml

PREFIX = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}
LFS_SUFFIXES = {".safetensors", ".parquet", ".png", ".jpg", ".npy", ".bin", ".pth", ".pt", ".zip", ".onnx", ".arrow"}
LARGE_BYTES = 10 * 2**20
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"


@dataclass(frozen=True)
class User:
    name: str
    role: str = "write"


USERS = {
    "hf_owner_write_token": User("owner"),
    "hf_owner_read_token": User("owner", "read"),
    "hf_stranger_write_token": User("stranger"),
    "hf_user_write_token": User("user"),
}


@dataclass(frozen=True)
class File:
    """One version of a file: `oid` is git's blob hash (of the pointer, for LFS), `sha256` that of the content."""

    oid: str
    sha256: str
    size: int
    lfs: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    @property
    def lfs_info(self) -> dict | None:
        if not self.lfs:
            return None
        pointer = len(POINTER.format(sha256=self.sha256, size=self.size))
        return {"oid": self.sha256, "sha256": self.sha256, "size": self.size, "pointerSize": pointer}


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: dict[str, File]


@dataclass
class Repo:
    kind: str
    id: str
    private: bool = False
    gated: str | bool = False
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)
    variables: dict[str, dict] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    def find(self, revision: str) -> Commit | None:
        named = {**self.tags, **self.branches, **{f"refs/pr/{number}": oid for number, oid in self.pulls.items()}}
        oid = named.get(revision.removeprefix("refs/heads/"), revision)
        if len(oid) < 40:
            oid = next((full for full in self.commits if len(oid) >= 7 and full.startswith(oid)), oid)
        return self.commits.get(oid)

    def history(self, commit: Commit) -> list[Commit]:
        line = [commit]
        while line[-1].parent is not None:
            line.append(self.commits[line[-1].parent])
        return line

    def add(self, parent: Commit | None, files: dict[str, File], title: str, message: str, author: str) -> Commit:
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        seed = f"{self.kind} {self.id} {parent and parent.oid} {title} {date} {len(self.commits)}"
        oid = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent and parent.oid, title, message, author, date, files)
        return self.commits[oid]


class Store:
    """All repositories and collections; contents lie in `root` under their SHA-256."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)
        self.repos: dict[tuple[str, str], Repo] = {}
        self.collections: dict[str, dict] = {}

    def path(self, sha256: str) -> Path:
        return self.root / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.path(sha256).write_bytes(content)
        return sha256

    def regular(self, content: bytes) -> File:
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return File(oid, self.put(content), len(content), lfs=False)

    def large(self, sha256: str) -> File:
        size = self.path(sha256).stat().st_size
        pointer = POINTER.format(sha256=sha256, size=size).encode()
        return File(hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest(), sha256, size, lfs=True)

    def read(self, file: File) -> bytes:
        return self.path(file.sha256).read_bytes()

    def create(self, kind: str, repo_id: str, private: bool, sdk: str | None = None) -> Repo:
        repo = self.repos[kind, repo_id] = Repo(kind, repo_id, private, sdk=sdk)
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in sorted(LFS_SUFFIXES))
        first = repo.add(None, {".gitattributes": self.regular(attributes.encode())}, "initial commit", "", repo.owner)
        repo.branches["main"] = first.oid
        return repo

    def write(self, kind: str, repo_id: str, path: str, content: bytes, title: str = "Someone else's commit") -> str:
        """Commit one small file to main behind the clients' backs, as another person would; gives the commit."""
        repo = self.repos[kind, repo_id]
        head = repo.commits[repo.branches["main"]]
        commit = repo.add(head, {**head.files, path: self.regular(content)}, title, "", "stranger")
        repo.branches["main"] = commit.oid
        return commit.oid

    def card(self, commit: Commit) -> tuple[dict, str]:
        """The metadata and the text of README.md."""
        file = commit.files.get("README.md")
        text = self.read(file).decode() if file else ""
        match = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", text, re.DOTALL)
        return (yaml.safe_load(match.group(1)) or {}) if match else {}, text

    def info(self, repo: Repo, commit: Commit) -> dict:
        """The answer of GET /api/{kind}/{id}."""
        card, text = self.card(commit)
        tags = [*card.get("tags", []), *(f"arxiv:{paper}" for paper in sorted(set(_ARXIV.findall(text))))]
        if isinstance(card.get("base_model"), str):
            relation = card.get("base_model_relation", "finetune")
            tags += [f"base_model:{card['base_model']}", f"base_model:{relation}:{card['base_model']}"]
        tags += [f"license:{card['license']}"] if "license" in card else []
        answer = {
            "_id": repo.commits[commit.oid].oid[:24], "id": repo.id, "author": repo.owner, "sha": commit.oid,
            "private": repo.private, "gated": repo.gated, "disabled": False, "downloads": 0, "likes": 0, "tags": tags,
            "lastModified": commit.date, "createdAt": repo.history(commit)[-1].date, "cardData": card,
            "siblings": [
                {"rfilename": name, "size": file.size, "blobId": file.oid, "lfs": file.lfs_info}
                for name, file in sorted(commit.files.items())
            ],
        }  # fmt: skip
        if repo.kind == "models":
            answer |= {"pipeline_tag": card.get("pipeline_tag"), "library_name": card.get("library_name")}
            answer["model-index"] = card.get("model-index")
        if repo.kind == "spaces":
            runtime = {"stage": "BUILDING", "hardware": {"current": None}, "storage": None}
            answer |= {"sdk": repo.sdk, "runtime": runtime}
        return answer


_ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})")


def upload_mode(path: str, size: int) -> str:
    return "lfs" if size > LARGE_BYTES or PurePosixPath(path).suffix in LFS_SUFFIXES else "regular"


def tree(commit: Commit, folder: str, recursive: bool, expand: bool) -> list[dict] | None:
    """Entries below `folder`, None when there is no such folder."""
    prefix = f"{folder}/" if folder else ""
    below = {path: file for path, file in sorted(commit.files.items()) if path.startswith(prefix)}
    if folder and not below:
        return None
    last = {"lastCommit": {"id": commit.oid, "title": commit.title, "date": commit.date}} if expand else {}
    folders = {str(parent) for path in below for parent in PurePosixPath(path).parents if str(parent) != "."}
    entries = [
        {"type": "directory", "path": name, "size": 0, "oid": hashlib.sha1(name.encode()).hexdigest(), **last}
        for name in sorted(folders)
        if name.startswith(prefix) and name != folder
    ]
    for path, file in below.items():
        entries.append({"type": "file", "path": path, "size": file.size, "oid": file.oid, **last})
        if file.lfs:
            entries[-1]["lfs"] = file.lfs_info
    return [entry for entry in entries if recursive or "/" not in entry["path"].removeprefix(prefix)]
