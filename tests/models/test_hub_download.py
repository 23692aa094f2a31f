"""A checkpoint is fetched, or one clear sentence says why not and what to do."""

from __future__ import annotations

import json
import logging
import zlib
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from safetensors.numpy import save

from hf_pneumo.models import hub_download
from hf_pneumo.models.hub_download import CheckpointError, fetch

TOKEN = "hf_owner_write_token"
OWNER = HfApi(token=TOKEN)
WEIGHTS = save({"weight": np.random.default_rng(0).standard_normal(300_000).astype(np.float32)})
FILES = {
    "config.json": b'{"architecture": "resnet18"}', "model.safetensors": WEIGHTS,
    "README.md": b"---\nlicense: mit\n---\n",
    "results/official.json": b"{}", "figures/roc.png": b"PNG",
}  # fmt: skip


@pytest.fixture
def repo(hub: HubServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(hub_download, "FIRST_WAIT_S", 0.0)
    name = f"owner/m{zlib.crc32(request.node.name.encode())}"  # its own cache in each test
    OWNER.create_repo(name)
    operations = [CommitOperationAdd(path, data) for path, data in FILES.items()]
    OWNER.create_commit(name, operations, commit_message="first")
    return name


def change(repo: str) -> str:
    return OWNER.create_commit(repo, [CommitOperationAdd("config.json", b'{"v": 2}')], commit_message="second").oid


def head(repo: str) -> str:
    return OWNER.model_info(repo).sha


def test_a_local_folder_has_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes(FILES[file])
    assert fetch(tmp_path) == hub_download.Fetched(tmp_path, tmp_path.name, None)
    with pytest.raises(ValueError, match="`revision` 'v1' has no meaning for the local folder"):
        fetch(tmp_path, revision="v1")
    monkeypatch.chdir(tmp_path.parent)
    (tmp_path.parent / "runs").mkdir()
    tmp_path.rename(tmp_path.parent / "runs/best@2")
    assert fetch("runs/best@2").name == "best@2"


def test_the_old_name_of_a_shipped_checkpoint_leads_to_what_took_its_place(tmp_path: Path) -> None:
    now = tmp_path / "pneumonia-children"
    now.mkdir()
    for file in ("config.json", "model.safetensors"):
        (now / file).write_bytes(FILES[file])
    with pytest.warns(FutureWarning, match="pneumonia-official is now pneumonia-children"):
        assert fetch(tmp_path / "pneumonia-official").path == now
    (tmp_path / "pneumonia-official").mkdir()  # one's own folder of that name is taken as it is
    with pytest.raises(CheckpointError, match="no config.json"):
        fetch(tmp_path / "pneumonia-official")


def test_only_what_inference_needs_is_downloaded(repo: str) -> None:
    fetched = fetch(repo)
    assert (fetched.name, fetched.revision) == (repo, head(repo))
    present = {str(path.relative_to(fetched.path)) for path in fetched.path.rglob("*") if path.is_file()}
    assert present == {"config.json", "model.safetensors", "README.md", "results/official.json"}
    assert (fetched.path / "model.safetensors").read_bytes() == WEIGHTS


def test_revisions(repo: str) -> None:
    first = head(repo)
    OWNER.create_tag(repo, tag="v1")
    second = change(repo)
    for old in (fetch(f"{repo}@v1"), fetch(repo, revision="v1"), fetch(f"{repo}@{first}")):
        assert old.revision == first
    newest = fetch(repo)
    assert newest.revision == second and json.loads((newest.path / "config.json").read_text()) == {"v": 2}


def test_a_commit_in_the_cache_needs_no_hub(repo: str, hub: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    pinned = f"{repo}@{fetch(repo).revision}"
    before = len(hub.log)
    fetch(pinned)
    assert hub.log[before:] == [] and not caplog.records


def test_without_network_the_cache_serves_and_the_warning_names_the_revision(
    repo: str, hub: HubServer, caplog: pytest.LogCaptureFixture
) -> None:
    known = fetch(repo)
    hub.stop()
    with caplog.at_level(logging.WARNING):
        assert fetch(repo) == known
    assert known.revision in caplog.text and "cannot be reached" in caplog.text
    with pytest.raises(CheckpointError, match="cannot be reached .* is not in the cache; connect this machine"):
        fetch(f"{repo}@v1")
    hub.start()
    assert fetch(repo) == known


def test_an_unfinished_newer_download_does_not_hide_the_older_one(repo: str, hub: HubServer) -> None:
    known = fetch(repo)
    change(repo)
    hub.fault("GET .*/resolve/", status=404, times=10)
    with pytest.raises(CheckpointError):
        fetch(repo)
    hub.stop()
    assert fetch(repo) == known
    hub.start()


@pytest.mark.parametrize(
    ("where", "token", "message"),
    [
        ("owner/nothing", TOKEN, "has no model repository 'owner/nothing'.*check the spelling, or log in"),
        ("owner/nothing", False, "has no model repository 'owner/nothing'.*check the spelling, or log in"),
        ("{repo}@v9", TOKEN, r"`revision` 'v9' does not exist in .*branches are \['main'\], its tags \['v1'\]"),
        ("{repo}", "hf_forged", "refuses this login; make a new token at"),
        ("nothing/at/all", None, "neither a folder on this machine nor a Hub repository"),
        ("{repo}", "hf_with space", "`token` must be printable ASCII"),
        ("{repo}@", None, "ends in @ without a revision"),
    ],
)
def test_refusals(repo: str, where: str, token: str | bool | None, message: str) -> None:
    OWNER.create_tag(repo, tag="v1")
    with pytest.raises((CheckpointError, ValueError), match=message) as caught:
        fetch(where.format(repo=repo), token=token)
    assert "\n" not in str(caught.value) and "hf_forged" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_private_and_gated_repositories(repo: str) -> None:
    OWNER.update_repo_settings(repo, gated="manual")
    with pytest.raises(CheckpointError, match="is gated; ask for access at http.*, then log in"):
        fetch(repo, token=False)
    OWNER.update_repo_settings(repo, gated=False, private=True)
    with pytest.raises(CheckpointError, match="or it is private and this login may not read it"):
        fetch(repo, token="hf_stranger_write_token")
    assert fetch(repo, token=TOKEN).revision == head(repo)
    with pytest.raises(CheckpointError, match="or it is private"):  # the cache is no way around a withdrawn right
        fetch(repo, token=False)


def test_a_repository_without_weights_is_no_checkpoint(repo: str) -> None:
    OWNER.create_commit(repo, [CommitOperationDelete("model.safetensors")], commit_message="oops")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors \(it holds: .*config.json.* not a checkpoint"):
        fetch(repo)


@pytest.mark.parametrize(
    ("pattern", "how"),
    [
        ("GET /api/models/", {"status": 500, "times": 2}),
        ("GET /api/models/", {"status": 503, "retry_after": 0, "times": 3}),
        ("GET .*safetensors", {"status": 503, "retry_after": 0}),
        ("GET .*safetensors", {"drop_body": 700_000}),
        ("GET .*safetensors", {"drop_upload": 0}),
        ("GET .*safetensors", {"corrupt": True}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_it_recovers(repo: str, hub: HubServer, pattern: str, how: dict) -> None:
    fault = hub.fault(pattern, **how)
    assert (fetch(repo).path / "model.safetensors").read_bytes() == WEIGHTS
    assert fault.seen == fault.times


def test_weights_damaged_for_good_are_refused_and_not_kept(repo: str, hub: HubServer) -> None:
    hub.fault("GET .*safetensors", corrupt=True, times=2)
    with pytest.raises(CheckpointError, match="does not have the SHA-256 that the Hub states for it"):
        fetch(repo)
    assert (fetch(repo).path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_stalled_download_ends(repo: str, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.fault("GET .*safetensors", stall_body=500_000)
    assert (fetch(repo).path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_hub_that_stays_down_is_named(repo: str, hub: HubServer) -> None:
    hub.fault("GET /api/models/", status=503, retry_after=0, times=100)
    with pytest.raises(CheckpointError, match=r"cannot be reached \(HTTP status 503\) and .* is not in the cache"):
        fetch(repo)


def test_names_as_timm_writes_them_get_a_hint() -> None:
    for name in ("timm/resnet18.a1_in1k", "hf-hub:timm/resnet18.a1_in1k"):
        with pytest.raises(CheckpointError, match="--model resnet18.a1_in1k --pretrained"):
            fetch(name)
    with pytest.raises(CheckpointError, match="'user/repo' alone, 'user/films'"):
        fetch("hf-hub:user/films")


def test_a_snapshot_is_known_wherever_it_lies(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub/models--user--repo/snapshots/0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "link").symlink_to(snapshot)
    assert hub_download.is_in_hub_cache(snapshot) and hub_download.is_in_hub_cache(tmp_path / "link")
    assert not hub_download.is_in_hub_cache(tmp_path)
