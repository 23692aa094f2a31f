"""The loopback Hub answers the real clients as the Hub does."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import datasets
import httpx2
import numpy as np
import pytest
from hub_server import HubServer
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    ModelCard,
    hf_hub_download,
    metadata_update,
    snapshot_download,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from PIL import Image

OWNER = HfApi(token="hf_owner_write_token")
READER = HfApi(token="hf_owner_read_token")
STRANGER = HfApi(token="hf_stranger_write_token")
ANYONE = HfApi(token=False)


def commit(api: HfApi, repo: str, files: dict[str, bytes], **how):
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    return api.create_commit(repo, operations, commit_message="x", **how)


@pytest.fixture
def repo(hub: HubServer) -> str:
    OWNER.create_repo("owner/model")
    return "owner/model"


def test_accounts(hub: HubServer) -> None:
    assert OWNER.whoami()["name"] == "owner"
    assert READER.whoami()["auth"]["accessToken"]["role"] == "read"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(token="hf_nobody").whoami()


def test_a_repository_is_made_once_and_deleted(hub: HubServer) -> None:
    assert OWNER.create_repo("owner/model") == f"{hub.endpoint}/owner/model"
    assert OWNER.create_repo("owner/model", exist_ok=True) == f"{hub.endpoint}/owner/model"
    with pytest.raises(HfHubHTTPError, match="409"):
        OWNER.create_repo("owner/model")
    for api in (READER, STRANGER):
        with pytest.raises(HfHubHTTPError, match="403"):
            api.create_repo("owner/other")
    OWNER.delete_repo("owner/model")
    assert not OWNER.repo_exists("owner/model")


def test_large_and_small_files_come_back_as_they_went(repo: str, hub: HubServer, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).bytes(12 * 2**20)
    done = commit(OWNER, repo, {"model.safetensors": weights, "config.json": b"{}", "results/a b.json": b"[]"})
    info = ANYONE.model_info(repo, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings}
    assert info.sha == done.oid and files["config.json"].lfs is None
    assert files["model.safetensors"].lfs.sha256 == hashlib.sha256(weights).hexdigest()
    assert {path.path for path in ANYONE.list_repo_tree(repo, recursive=True)} == {*files, "results"}
    assert [path.path for path in ANYONE.list_repo_tree(repo, "results")] == ["results/a b.json"]
    assert [path.size for path in ANYONE.get_paths_info(repo, ["model.safetensors", "none"])] == [12 * 2**20]
    folder = Path(snapshot_download(repo, cache_dir=tmp_path, token=False))
    assert folder.name == done.oid
    assert (folder / "model.safetensors").read_bytes() == weights
    assert (folder / "results/a b.json").read_bytes() == b"[]"
    before = len(hub.log)
    again = hf_hub_download(repo, "model.safetensors", cache_dir=tmp_path, token=False)
    assert os.stat(again).st_ino == (folder / "model.safetensors").stat().st_ino
    assert not [line for line in hub.log[before:] if line.startswith("GET") and "resolve" in line]
    with HfFileSystem(token=False).open(f"{repo}/model.safetensors", block_size=1000) as stream:
        stream.seek(5_000_000)
        assert stream.read(10) == weights[5_000_000:5_000_010]


def test_unchanged_files_make_no_commit(repo: str) -> None:
    files = {"model.safetensors": b"w" * 100, "config.json": b"{}"}
    assert commit(OWNER, repo, files).oid == commit(OWNER, repo, files).oid
    assert len(OWNER.list_repo_commits(repo)) == 2


def test_branches_tags_and_pull_requests(repo: str) -> None:
    first = commit(OWNER, repo, {"config.json": b"1"}).oid
    OWNER.create_tag(repo, tag="v1")
    OWNER.create_branch(repo, branch="feat/x")
    second = commit(OWNER, repo, {"config.json": b"2"}, revision="feat/x").oid
    pull = commit(STRANGER, repo, {"config.json": b"3"}, create_pr=True)
    assert (pull.pr_num, pull.pr_revision) == (1, "refs/pr/1")
    names = ("main", "v1", "feat/x", "refs/pr/1", second[:8])
    heads = {name: ANYONE.model_info(repo, revision=name).sha for name in names}
    assert heads == {"main": first, "v1": first, "feat/x": second, "refs/pr/1": pull.oid, second[:8]: second}
    refs = ANYONE.list_repo_refs(repo, include_pull_requests=True)
    assert [branch.name for branch in refs.branches] == ["main", "feat/x"]
    assert [tag.target_commit for tag in refs.tags] == [first] and len(refs.pull_requests) == 1
    with pytest.raises(HfHubHTTPError, match="409"):
        OWNER.create_tag(repo, tag="v1")
    OWNER.delete_tag(repo, tag="v1")
    OWNER.delete_branch(repo, branch="feat/x")
    for revision in ("v1", "feat/x", "0" * 40):
        with pytest.raises(RevisionNotFoundError):
            ANYONE.model_info(repo, revision=revision)
    with pytest.raises(RevisionNotFoundError):
        commit(OWNER, repo, {"config.json": b"4"}, revision=first)


def test_a_commit_on_a_stale_parent_is_refused(repo: str) -> None:
    first = commit(OWNER, repo, {"config.json": b"1"}).oid
    commit(OWNER, repo, {"config.json": b"2"})
    with pytest.raises(HfHubHTTPError, match="412"):
        commit(OWNER, repo, {"config.json": b"3"}, parent_commit=first)


def test_deletion(repo: str) -> None:
    commit(OWNER, repo, {"a/1": b"1", "a/2": b"2", "b": b"3"})
    OWNER.create_commit(repo, [CommitOperationDelete("a/")], commit_message="x")
    assert OWNER.list_repo_files(repo) == [".gitattributes", "b"]
    with pytest.raises(RemoteEntryNotFoundError):
        OWNER.delete_file("a/1", repo)


def test_private_and_gated(repo: str, tmp_path: Path) -> None:
    commit(OWNER, repo, {"config.json": b"{}"})
    OWNER.update_repo_settings(repo, gated="auto")
    assert ANYONE.model_info(repo).gated == "auto"
    for api in (ANYONE, STRANGER):
        with pytest.raises(GatedRepoError):
            api.hf_hub_download(repo, "config.json", cache_dir=tmp_path)
    OWNER.update_repo_settings(repo, private=True, gated=False)
    assert READER.model_info(repo).private
    for api in (ANYONE, STRANGER):
        with pytest.raises(RepositoryNotFoundError):
            api.model_info(repo)
        assert list(api.list_models(author="owner")) == []
    with pytest.raises(HfHubHTTPError, match="403"):
        commit(READER, repo, {"config.json": b"1"})


def test_metadata_is_validated_and_becomes_tags(repo: str) -> None:
    with pytest.raises(ValueError, match="license"):
        commit(OWNER, repo, {"README.md": b"---\nlicense: beer\n---\n"})
    card = b"---\nlicense: mit\nbase_model: timm/resnet18.a1_in1k\ntags: [x-ray]\n---\nhttps://arxiv.org/abs/2511.00456"
    commit(OWNER, repo, {"README.md": card})
    base = "base_model:finetune:timm/resnet18.a1_in1k"
    assert set(ANYONE.model_info(repo).tags) >= {"x-ray", "license:mit", "arxiv:2511.00456", base}
    with pytest.raises(ValueError, match="short_description"):
        OWNER._validate_yaml("---\ntitle: t\nsdk: gradio\nemoji: e\ncolorFrom: red\ncolorTo: red\nshort_description: "
                             + "x" * 61 + "\n---\n", repo_type="space")  # fmt: skip


def test_collections(repo: str) -> None:
    made = OWNER.create_collection("Pneumonia tools", exists_ok=True)
    assert OWNER.create_collection("Pneumonia tools", exists_ok=True).slug == made.slug
    for _ in range(2):
        OWNER.add_collection_item(made.slug, repo, "model", note="the model", exists_ok=True)
    found = next(iter(ANYONE.list_collections(owner="owner")))
    assert [(item.item_id, item.note) for item in found.items] == [(repo, "the model")]


def test_spaces(hub: HubServer) -> None:
    OWNER.create_repo("owner/app", repo_type="space", space_sdk="gradio")
    commit(OWNER, "owner/app", {"app.py": b"1"}, repo_type="space")
    assert ANYONE.space_info("owner/app").sdk == "gradio"
    assert ANYONE.file_exists("owner/app", "app.py", repo_type="space")


def test_metadata_update(repo: str) -> None:
    commit(OWNER, repo, {"README.md": b"---\nlicense: mit\n---\n# Card\n"})
    metadata_update(repo, {"license": "apache-2.0"}, overwrite=True, token=OWNER.token)
    assert ModelCard.load(repo).data.license == "apache-2.0"


def test_a_folder_of_images_is_a_data_set(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "USE_PARQUET_EXPORT", False)  # a look-up at another host
    OWNER.create_repo("owner/images", repo_type="dataset")
    files = {}
    for number, path in enumerate(("train/NORMAL/a.png", "train/PNEUMONIA/b.png", "test/NORMAL/c.png")):
        buffer = io.BytesIO()
        Image.new("L", (8, 8), 10 * number).save(buffer, "png")
        files[path] = buffer.getvalue()
    commit(OWNER, "owner/images", files, repo_type="dataset")
    loaded = datasets.load_dataset("owner/images")
    assert [np.asarray(film).mean() for film in loaded["train"]["image"]] == [0, 10]
    assert loaded["train"].features["label"].names == ["NORMAL", "PNEUMONIA"] and len(loaded["test"]) == 1


def test_an_upload_must_have_the_announced_sum(repo: str, hub: HubServer) -> None:
    wrong = "0" * 64
    answer = httpx2.put(f"{hub.endpoint}/lfs/upload/{wrong}", content=b"x")
    assert answer.status_code == 400 and "SHA-256" in answer.json()["error"]
    assert not hub.store.has(wrong)


def test_the_command_line_client(hub: HubServer, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "model.safetensors").write_bytes(b"weights")
    hf = [str(Path(sys.executable).with_name("hf"))]
    env = os.environ | {"HF_TOKEN": "hf_owner_write_token"}
    for arguments in (["upload", "owner/cli", str(source)], ["download", "owner/cli", "--local-dir", str(target)]):
        done = subprocess.run(hf + arguments, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (target / "model.safetensors").read_bytes() == b"weights"
