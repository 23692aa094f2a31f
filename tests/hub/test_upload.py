"""A folder becomes a repository's state in one commit, or not at all, whatever happens on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer
from huggingface_hub import HfApi

from hf_pneumo.hub.upload import Changes, Destination, PublishError, compare, push
from hf_pneumo.models import hub_download

OWNER = HfApi(token="hf_owner_write_token")
REPO = "owner/pneumonia"
TO = Destination(REPO, token="hf_owner_write_token")
GROUPS = ("*.json", "results/*", "model.safetensors", "README.md")


@pytest.fixture
def folder(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hub_download, "FIRST_WAIT_S", 0.0)
    files = {
        "config.json": b"{}", "README.md": b"---\nlicense: mit\n---\n", "results/official.json": b"[1]",
        "model.safetensors": np.random.default_rng(0).bytes(1_000_000),
    }  # fmt: skip
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def send(folder: Path, to: Destination = TO, message: str = "Publish"):
    return push(folder, to, message=message, owned=GROUPS)


def commits(branch: str = "main") -> list[str]:
    return [commit.title for commit in OWNER.list_repo_commits(REPO, revision=branch)]


def test_everything_goes_in_one_commit(folder: Path, hub: HubServer) -> None:
    done = send(folder)
    assert done.changes.added == ("README.md", "config.json", "model.safetensors", "results/official.json")
    assert commits() == ["Publish", "initial commit"]
    assert done.url == f"{hub.endpoint}/{REPO}" and done.commit == OWNER.model_info(REPO).sha
    assert OWNER.list_repo_files(REPO) == [".gitattributes", *done.changes.added]


def test_an_unchanged_folder_makes_no_commit(folder: Path, hub: HubServer) -> None:
    first = send(folder)
    before = len(hub.log)
    again = send(folder)
    assert again.commit == first.commit and not again.changes and commits() == ["Publish", "initial commit"]
    assert not [line for line in hub.log[before:] if "/commit/" in line or line.startswith("PUT")]


def test_what_is_gone_here_goes_there_but_not_what_others_added(folder: Path, hub: HubServer) -> None:
    send(folder)
    hub.store.write("models", REPO, "images/by-hand.txt", b"x")
    hub.store.write("models", REPO, "results/old.json", b"x")
    (folder / "results/official.json").unlink()
    (folder / "config.json").write_bytes(b"[]")
    expected = Changes(
        OWNER.model_info(REPO).sha, changed=("config.json",), deleted=("results/official.json", "results/old.json"),
        unchanged=("README.md", "model.safetensors"),
    )  # fmt: skip
    assert compare(folder, TO, owned=GROUPS) == expected
    assert send(folder).changes == expected
    assert OWNER.list_repo_files(REPO) == [".gitattributes", "README.md", "config.json", "images/by-hand.txt",
                                           "model.safetensors"]  # fmt: skip


def test_comparing_changes_nothing(folder: Path, hub: HubServer) -> None:
    changes = compare(folder, TO)
    assert changes.head is None and len(changes.added) == 4
    assert str(changes).splitlines()[0] == "+ README.md"
    assert all(line.startswith(("GET", "HEAD")) for line in hub.log)
    assert not hub.store.repos


def test_branch_tag_and_pull_request(folder: Path) -> None:
    first = send(folder, Destination(REPO, token=TO.token, tag="v1"))
    (folder / "config.json").write_bytes(b"[]")
    branch = send(folder, Destination(REPO, token=TO.token, branch="next/one"))
    assert commits("next/one")[0] == "Publish" and OWNER.model_info(REPO).sha == first.commit
    pull = send(folder, Destination(REPO, token="hf_stranger_write_token", create_pr=True))
    assert pull.pull_request.endswith(f"{REPO}/discussions/1")
    assert OWNER.model_info(REPO, revision="refs/pr/1").sha == pull.commit != branch.commit
    assert send(folder, Destination(REPO, token=TO.token, branch="next/one", tag="v2")).commit == branch.commit
    assert OWNER.model_info(REPO, revision="v2").sha == branch.commit
    with pytest.raises(PublishError, match="the tag 'v1' .* already names commit .* choose another `tag`"):
        send(folder, Destination(REPO, token=TO.token, tag="v1"))


def test_private(folder: Path) -> None:
    send(folder, Destination(REPO, token=TO.token, private=True))
    assert OWNER.model_info(REPO).private
    OWNER.create_repo("owner/open")
    with pytest.raises(PublishError, match="is public although `private` is asked for; nothing was uploaded"):
        send(folder, Destination("owner/open", token=TO.token, private=True))
    assert OWNER.list_repo_files("owner/open") == [".gitattributes"]


@pytest.mark.parametrize(
    ("pattern", "how"),
    [
        ("POST /api/repos/create", {"status": 500}),
        ("POST /api/validate-yaml", {"status": 503, "retry_after": 0}),
        ("POST .*/preupload/", {"status": 503, "retry_after": 0}),
        ("PUT /lfs/upload/", {"status": 500}),
        ("PUT /lfs/upload/", {"drop_upload": 300_000}),
        ("POST .*/commit/", {"status": 503}),
        ("POST .*/commit/", {"drop_upload": 10}),
        ("POST .*/commit/", {"lose_answer": True}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value.split("/")[-1] or value.split("/")[-2],
)
def test_it_recovers_with_one_commit(folder: Path, hub: HubServer, pattern: str, how: dict) -> None:
    fault = hub.fault(pattern, **how)
    done = send(folder)
    assert fault.seen == 1 and done.commit == OWNER.model_info(REPO).sha
    assert commits() == ["Publish", "initial commit"]
    assert not compare(folder, TO)


def test_a_commit_of_someone_else_meanwhile_is_not_overwritten(folder: Path, hub: HubServer) -> None:
    send(folder)
    (folder / "config.json").write_bytes(b"[]")
    hub.fault("POST .*/commit/", before=lambda: hub.store.write("models", REPO, "config.json", b"theirs"))
    with pytest.raises(PublishError, match="got another commit meanwhile; nothing of yours was published: look at"):
        send(folder)
    assert commits() == ["Someone else's commit", "Publish", "initial commit"]


def test_nor_is_one_that_came_while_an_answer_was_lost(folder: Path, hub: HubServer) -> None:
    send(folder)
    (folder / "config.json").write_bytes(b"[]")
    hub.fault("POST .*/commit/", status=503, before=lambda: hub.store.write("models", REPO, "x.txt", b"theirs"))
    with pytest.raises(PublishError, match="got another commit meanwhile"):
        send(folder)
    assert commits()[0] == "Someone else's commit"


def test_a_pull_request_whose_answer_is_lost_is_not_opened_twice(folder: Path, hub: HubServer) -> None:
    OWNER.create_repo(REPO)
    hub.fault("POST .*/commit/", lose_answer=True)
    with pytest.raises(PublishError, match="/discussions whether the pull request is there, else run it again"):
        send(folder, Destination(REPO, token=TO.token, create_pr=True))
    assert len(OWNER.list_repo_refs(REPO, include_pull_requests=True).pull_requests) == 1


def test_a_hub_that_dies_in_mid_upload_keeps_no_half_model(folder: Path, hub: HubServer) -> None:
    hub.fault("POST .*/commit/", status=500, times=100)
    with pytest.raises(PublishError, match=r"broke off \(HTTP status 500\); the repository is as it was.*run it again"):
        send(folder)
    assert OWNER.list_repo_files(REPO) == [".gitattributes"]
    hub.faulty.clear()
    before = len(hub.log)
    send(folder)
    assert commits() == ["Publish", "initial commit"]
    assert not [line for line in hub.log[before:] if line.startswith("PUT")]  # the weights had arrived


def test_no_hub(folder: Path, hub: HubServer) -> None:
    hub.stop()
    with pytest.raises(PublishError, match=r"broke off \(ConnectError\).*check the connection"):
        send(folder)
    hub.start()


@pytest.mark.parametrize("token", ["hf_owner_read_token", "hf_stranger_write_token", "hf_forged", False])
def test_without_the_right_to_write(folder: Path, hub: HubServer, token: str | bool) -> None:
    refusal = "does not let this login write to .* give a token with write access"
    with pytest.raises(PublishError, match=refusal) as caught:
        send(folder, Destination(REPO, token=token))
    assert str(token) not in str(caught.value) and caught.value.__cause__ is None
    assert not hub.store.repos


def test_metadata_that_the_hub_refuses(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: beer\n---\n")
    with pytest.raises(PublishError, match='does not accept this folder: Invalid metadata in README.md. - "license"'):
        send(folder)
    assert OWNER.list_repo_files(REPO) == [".gitattributes"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"create_pr": True, "branch": "x"}, "`create_pr` opens a pull request against main"),
        ({"create_pr": True, "tag": "v1"}, "`tag` names a published commit"),
        ({"repo": "pneumonia"}, "`repo` is 'pneumonia'; give 'user/name'"),
    ],
)
def test_destinations_that_make_no_sense(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Destination(**{"repo": REPO, **arguments})
