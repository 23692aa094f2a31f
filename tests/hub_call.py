"""One request to the loopback Hub: who asks, for which repository and commit, and the Hub's way of saying no."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse
from hub_store import USERS, Commit, Repo, Store, User


class Refusal(Exception):
    """An error answer in the Hub's form."""

    def __init__(self, status: int, message: str, code: str | None = None, **extra: object) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.extra = status, message, code, extra

    def answer(self) -> JSONResponse:
        headers = {"X-Error-Message": self.message} | ({"X-Error-Code": self.code} if self.code else {})
        return JSONResponse({"error": self.message, **self.extra}, self.status, headers)


class Call:
    """One request: who asks (None: anonymous), the parts of its path, its body."""

    def __init__(self, endpoint: str, store: Store, request: Request, parts: dict[str, str | None]) -> None:
        self.endpoint, self.store, self.request, self.parts = endpoint, store, request, parts
        self.query = request.query_params
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme and token not in USERS:
            raise Refusal(401, "Invalid credentials in Authorization header")
        self.user: User | None = USERS.get(token)

    @property
    def kind(self) -> str:
        return self.parts.get("kind") or "models"

    def url(self, path: str) -> str:
        return f"{self.endpoint}/{path}"

    def member(self) -> User:
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        return self.user

    def writer(self, owner: str) -> User:
        user = self.member()
        if user.name != owner or user.role != "write":
            raise Refusal(403, f"You don't have the rights to write under the namespace {owner!r}")
        return user

    def repo(self) -> Repo:
        repo = self.store.repos.get((self.kind, self.parts["id"]))
        if repo is None or (repo.private and (self.user is None or self.user.name != repo.owner)):
            raise Refusal(401 if self.user is None else 404, "Repository not found", "RepoNotFound")
        return repo

    def commit(self, repo: Repo) -> Commit:
        commit = repo.find(self.parts.get("rev") or "main")
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {self.parts.get('rev')}", "RevisionNotFound")
        return commit
