"""The loopback Hub's endpoints, one function each; patterns match the path as it was sent, before unquoting."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import Response
from fastapi.responses import JSONResponse, StreamingResponse
from hub_call import Call, Refusal
from hub_store import PREFIX, tree, upload_mode
from hub_yaml import validate

KIND = r"/api/(?P<kind>models|datasets|spaces)"
ID = r"(?P<id>[^/]+/[^/]+)"
REV = r"(?P<rev>[^/]+)"
FILES = r"/(?:(?P<kind>datasets|spaces)/)?"
PIECE = 2**20

Handler = Callable[[Call], Awaitable[Response | dict | list]]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def route(methods: str, pattern: str) -> Callable[[Handler], Handler]:
    """Answer these methods where `pattern` matches the path as it was sent, before unquoting."""

    def register(handler: Handler) -> Handler:
        ROUTES.append((methods, re.compile(pattern), handler))
        return handler

    return register


@route("GET", "/api/whoami-v2")
async def whoami(call: Call) -> dict:
    user = call.member()
    auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}}
    account = {"type": "user", "id": user.name, "name": user.name, "fullname": user.name.title(), "isPro": False}
    return account | {"email": f"{user.name}@example.org", "orgs": [], "auth": auth}


@route("POST", "/api/validate-yaml")
async def validate_yaml(call: Call) -> Response:
    body = await call.request.json()
    errors, warnings = validate(body["content"], body.get("repoType", "model"))
    answer = {"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}
    return JSONResponse(answer, 400 if errors else 200)


@route("POST", "/api/repos/create")
async def create(call: Call) -> dict:
    body = await call.request.json()
    repo_id = f"{body.get('organization') or call.member().name}/{body['name']}"
    kind = f"{body.get('type') or 'model'}s"
    call.writer(repo_id.split("/")[0])
    url = call.url(PREFIX[kind] + repo_id)
    if (kind, repo_id) in call.store.repos:
        raise Refusal(409, f"You already created this {kind[:-1]} repo: {repo_id}", url=url)
    private = body.get("visibility") == "private" or body.get("private") is True
    call.store.create(kind, repo_id, private, body.get("sdk"))
    return {"url": url, "name": repo_id, "id": repo_id}


@route("DELETE", "/api/repos/delete")
async def delete(call: Call) -> dict:
    body = await call.request.json()
    call.parts = {"kind": f"{body.get('type') or 'model'}s", "id": f"{body.get('organization')}/{body['name']}"}
    call.writer(call.repo().owner)
    del call.store.repos[call.kind, call.parts["id"]]
    return {}


@route("PUT", f"{KIND}/{ID}/settings")
async def settings(call: Call) -> dict:
    repo, body = call.repo(), await call.request.json()
    call.writer(repo.owner)
    repo.private = body.get("visibility", "private" if body.get("private", repo.private) else "public") == "private"
    repo.gated = body.get("gated", repo.gated)
    return {"private": repo.private, "gated": repo.gated}


@route("GET", KIND)
async def listing(call: Call) -> list:
    wanted = [
        repo
        for (kind, name), repo in sorted(call.store.repos.items())
        if kind == call.kind and name.startswith(f"{call.query.get('author', repo.owner)}/")
        and call.query.get("search", "") in name and (not repo.private or (call.user and call.user.name == repo.owner))
    ]  # fmt: skip
    return [call.store.info(repo, repo.find("main")) for repo in wanted]


@route("GET", f"{KIND}/{ID}(?:/revision/{REV})?")
async def info(call: Call) -> dict:
    repo = call.repo()
    return call.store.info(repo, call.commit(repo))


@route("GET", f"{KIND}/{ID}/tree/{REV}(?:/(?P<path>.+))?")
async def list_tree(call: Call) -> list:
    recursive, expand = (call.query.get(key) in {"true", "True", "1"} for key in ("recursive", "expand"))
    folder = (call.parts["path"] or "").strip("/")
    entries = tree(call.commit(call.repo()), folder, recursive, expand)
    if entries is None:
        raise Refusal(404, f"{folder} does not exist", "EntryNotFound")
    return entries


@route("POST", f"{KIND}/{ID}/paths-info/{REV}")
async def paths_info(call: Call) -> list:
    body = await call.request.body()
    is_json = "json" in call.request.headers.get("Content-Type", "")
    form = json.loads(body) if is_json else parse_qs(body.decode())
    expand = str(form.get("expand", [""])[0] if not is_json else form.get("expand")).lower() == "true"
    wanted = set(form.get("paths", []))
    return [entry for entry in tree(call.commit(call.repo()), "", True, expand) or [] if entry["path"] in wanted]


@route("GET", f"{KIND}/{ID}/refs")
async def refs(call: Call) -> dict:
    repo = call.repo()

    def listed(names: dict[str, str], prefix: str) -> list[dict]:
        return [{"name": name, "ref": prefix + name, "targetCommit": oid} for name, oid in names.items()]

    answer = {"branches": listed(repo.branches, "refs/heads/"), "tags": listed(repo.tags, "refs/tags/"), "converts": []}
    return answer | ({"pullRequests": listed(repo.pulls, "refs/pr/")} if call.query.get("include_prs") else {})


@route("GET", f"{KIND}/{ID}/commits/{REV}")
async def commits(call: Call) -> list:
    repo = call.repo()
    return [
        {"id": one.oid, "title": one.title, "message": one.message, "date": one.date, "authors": [{"user": one.author}]}
        for one in repo.history(call.commit(repo))
    ]


@route("POST DELETE", f"{KIND}/{ID}/(?P<what>tag|branch)/{REV}")
async def reference(call: Call) -> dict:
    repo, what, name = call.repo(), call.parts["what"], call.parts["rev"]
    call.writer(repo.owner)
    names = repo.tags if what == "tag" else repo.branches
    body = json.loads(await call.request.body() or b"{}")
    if call.request.method == "DELETE":
        if names.pop(name, None) is None:
            raise Refusal(404, f"{what} {name} does not exist", "RevisionNotFound")
        return {}
    if what == "tag":  # the path names what is tagged, the body the tag; with branches it is the other way round
        name, start = body["tag"], name
    else:
        start = body.get("startingPoint") or "main"
    if name in names:
        raise Refusal(409, f"Reference refs/{what}s/{name} already exists")
    call.parts["rev"] = start
    names[name] = call.commit(repo).oid
    return {}


@route("POST", f"{KIND}/{ID}/preupload/{REV}")
async def preupload(call: Call) -> dict:
    repo, body = call.repo(), await call.request.json()
    call.member() if call.query.get("create_pr") else call.writer(repo.owner)
    present = call.commit(repo).files
    files = [
        {
            "path": file["path"], "uploadMode": upload_mode(file["path"], file["size"]), "shouldIgnore": False,
            "oid": present[file["path"]].etag if file["path"] in present else None,
        }
        for file in body["files"]
    ]  # fmt: skip
    return {"files": files}


@route("POST", rf"{FILES}{ID}\.git/info/lfs/objects/batch")
async def lfs_batch(call: Call) -> dict:
    call.repo(), call.member()
    objects = []
    for wanted in (await call.request.json())["objects"]:
        objects.append({"oid": wanted["oid"], "size": wanted["size"]})
        if not call.store.has(wanted["oid"]):
            where = {name: {"href": call.url(f"lfs/{name}/{wanted['oid']}")} for name in ("upload", "verify")}
            objects[-1]["actions"] = where
    return {"transfer": "basic", "objects": objects}


@route("PUT", "/lfs/upload/(?P<oid>[0-9a-f]{64})")
async def lfs_upload(call: Call) -> dict:
    part, digest = call.store.path(f"{call.parts['oid']}.{id(call)}.part"), hashlib.sha256()
    try:
        with part.open("wb") as stream:
            async for piece in call.request.stream():
                digest.update(piece)
                stream.write(piece)
        if digest.hexdigest() != call.parts["oid"]:
            raise Refusal(400, "The content does not have the SHA-256 that was announced")
        part.rename(call.store.path(call.parts["oid"]))
    finally:
        part.unlink(missing_ok=True)
    return {}


@route("POST", "/lfs/verify/(?P<oid>[0-9a-f]{64})")
async def lfs_verify(call: Call) -> dict:
    call.member()
    oid, size = call.parts["oid"], (await call.request.json())["size"]
    if not call.store.has(oid) or call.store.path(oid).stat().st_size != size:
        raise Refusal(404, "Object not found in LFS storage")
    return {}


@route("POST", f"{KIND}/{ID}/commit/{REV}")
async def commit(call: Call) -> dict:
    repo, wants_pull = call.repo(), bool(call.query.get("create_pr"))
    user = call.member() if wants_pull else call.writer(repo.owner)
    lines = [json.loads(line) for line in (await call.request.body()).splitlines() if line.strip()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    head, revision = call.commit(repo), call.parts["rev"]
    number = revision.removeprefix("refs/pr/")
    if revision not in repo.branches and number not in repo.pulls:
        raise Refusal(404, f"{revision} is not a branch", "RevisionNotFound")
    if not head.oid.startswith(header.get("parentCommit") or ""):
        raise Refusal(412, "The branch has moved since the parent commit; fetch and try again")
    files = _changed(call, head.files, lines)
    new = repo.add(head, files, header["summary"], header.get("description", ""), user.name)
    page = call.url(f"{PREFIX[repo.kind]}{repo.id}")
    answer = {"success": True, "commitOid": new.oid, "commitUrl": f"{page}/commit/{new.oid}"}
    if wants_pull:
        repo.pulls[number := str(len(repo.pulls) + 1)] = new.oid
        answer["pullRequestUrl"] = f"{page}/discussions/{number}"
    else:
        (repo.branches if revision in repo.branches else repo.pulls)[number] = new.oid
    return answer


def _changed(call: Call, files: dict, lines: list[dict]) -> dict:
    files = dict(files)
    for line in lines:
        key, value = line["key"], line["value"]
        if key == "file":
            files[value["path"]] = call.store.regular(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if not call.store.has(value["oid"]):
                raise Refusal(400, f"LFS object {value['oid']} of {value['path']} was never uploaded")
            files[value["path"]] = call.store.large(value["oid"])
        elif key in ("deletedFile", "deletedFolder"):
            gone = [path for path in files if path == value["path"] or path.startswith(f"{value['path'].rstrip('/')}/")]
            if not gone:
                raise Refusal(404, f"A file with this name doesn't exist: {value['path']}", "EntryNotFound")
            for path in gone:
                del files[path]
    return files


@route("GET HEAD", f"{FILES}{ID}/resolve/{REV}/(?P<path>.+)")
async def resolve(call: Call) -> Response:
    repo = call.repo()
    if repo.gated and (call.user is None or call.user.name != repo.owner):
        raise Refusal(401 if call.user is None else 403, f"Access to {repo.id} is restricted", "GatedRepo")
    commit = call.commit(repo)
    file = commit.files.get(call.parts["path"])
    headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
    if file is None:
        refusal = Refusal(404, "Entry not found", "EntryNotFound").answer()
        refusal.headers.update(headers)
        return refusal
    first, last, status = 0, file.size - 1, 200
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.request.headers.get("Range", ""))
    if asked:
        first, last, status = int(asked[1]), min(int(asked[2] or last), last), 206
        if first >= file.size:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{file.size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
    headers |= {"ETag": f'"{file.etag}"', "Content-Length": str(last - first + 1)}
    body = _pieces(call.store.path(file.sha256), first, last + 1) if call.request.method == "GET" else iter(())
    return StreamingResponse(body, status, headers, media_type="application/octet-stream")


def _pieces(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(start)
        while start < stop and (piece := stream.read(min(PIECE, stop - start))):
            start += len(piece)
            yield piece


@route("GET POST DELETE", f"/api/(?P<kind>spaces)/{ID}/variables")
async def variables(call: Call) -> dict:
    repo = call.repo()
    call.writer(repo.owner)
    if call.request.method != "GET":
        body = await call.request.json()
        repo.variables.pop(body["key"], None)
        if call.request.method == "POST":
            repo.variables[body["key"]] = {"value": body["value"], "description": body.get("description")}
    return {key: {"key": key, **kept} for key, kept in repo.variables.items()}


@route("GET POST", "/api/collections")
async def collections(call: Call) -> list | dict:
    kept = call.store.collections
    if call.request.method == "GET":
        owner = call.query.get("owner")
        return [
            {key: value for key, value in one.items() if key != "position"}  # the client counts them itself
            for one in kept.values()
            if owner in (None, one["owner"]["name"])
        ]
    body = await call.request.json()
    call.writer(body["namespace"])
    title = re.sub(r"[^a-z0-9]+", "-", body["title"].lower()).strip("-")
    slug = f"{body['namespace']}/{title}-{hashlib.sha1(body['title'].encode()).hexdigest()[:24]}"
    if slug in kept:
        raise Refusal(409, "You already have a collection with this title", slug=slug)
    kept[slug] = {
        "slug": slug, "title": body["title"], "description": body.get("description"), "private": body["private"],
        "owner": {"name": body["namespace"]}, "items": [], "position": 0, "theme": "blue", "upvotes": 0,
        "lastUpdated": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip
    return kept[slug]


@route("GET PATCH DELETE", f"/api/collections/{ID}")
async def collection(call: Call) -> dict:
    one = _collection(call)
    if call.request.method == "GET":
        return one
    call.writer(one["owner"]["name"])
    if call.request.method == "DELETE":
        return call.store.collections.pop(one["slug"])
    one.update(await call.request.json())
    return {"data": one}


@route("POST", f"/api/collections/{ID}/items")
async def collection_items(call: Call) -> dict:
    one, body = _collection(call), await call.request.json()
    call.writer(one["owner"]["name"])
    item = body["item"]
    if any((other["id"], other["type"]) == (item["id"], item["type"]) for other in one["items"]):
        raise Refusal(409, "Item already in collection")
    note = {"note": {"text": body["note"]}} if body.get("note") else {}
    one["items"].append({"_id": f"{len(one['items']):024x}", **item, "position": len(one["items"]), **note})
    return one


def _collection(call: Call) -> dict:
    one = call.store.collections.get(call.parts["id"])
    if one is None:
        raise Refusal(404, "Collection not found")
    return one
