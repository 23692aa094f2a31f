"""Everything is published in the right order; after a failure repositories are whole, and running again ends it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi

from hf_pneumo.hub.publish_all import DESCRIPTION, Publication, publish
from hf_pneumo.hub.upload import PublishError
from hf_pneumo.models import hub_download

OWNER = HfApi(token="hf_owner_write_token")


@pytest.fixture
def publication(complete_folder: Path, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publication:
    monkeypatch.setattr(hub_download, "FIRST_WAIT_S", 0.0)
    for name in ("another", "pneumonia-children"):
        shutil.copytree(complete_folder, tmp_path / "checkpoints" / name)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/app.py").write_text("print('hello')\n")
    (tmp_path / "app/requirements.txt").write_text("timm>=1\n")
    (tmp_path / "app/README.md").write_text("---\ntitle: Films\n---\n\nhttps://arxiv.org/abs/2511.00456\n")
    return Publication(
        "owner", tmp_path / "checkpoints", dataset="phantom:12", dataset_repo="films", app=tmp_path / "app",
        space_repo="app", cache=str(tmp_path / "cache"), tag="v1", private=True,
        token=OWNER.token,
    )  # fmt: skip


def everything(hub: HubServer) -> dict[str, int]:
    return {f"{kind}/{name}": len(repo.commits) for (kind, name), repo in sorted(hub.store.repos.items())}


def test_all_of_it_in_order_and_again(publication: Publication, hub: HubServer) -> None:
    addresses = [address.removeprefix(hub.endpoint) for address, _ in publish(publication)]
    repos = ["/owner/pneumonia-children", "/owner/another", "/datasets/owner/films", "/spaces/owner/app"]
    assert addresses[:4] == repos and addresses[4].startswith("/collections/owner/pneumonia-from-chest-x-rays-")
    commit = OWNER.model_info("owner/pneumonia-children", revision="v1").sha
    other = OWNER.model_info("owner/another", revision="v1").sha
    pinned = f"owner/pneumonia-children@{commit} owner/another@{other}"
    assert OWNER.get_space_variables("owner/app")["HF_PNEUMO_MODEL"].value == pinned
    collection = next(iter(OWNER.list_collections(owner="owner")))
    assert collection.description == DESCRIPTION and len(DESCRIPTION) <= 150
    assert [(item.item_id, item.item_type) for item in collection.items] == [
        ("2511.00456", "paper"),
        ("owner/app", "space"),
        ("owner/pneumonia-children", "model"),
        ("owner/another", "model"),
        ("owner/films", "dataset"),
    ]
    before = everything(hub)
    assert set(before.values()) == {2}  # the Hub's own first commit, and ours
    told = [happened for _, happened in publish(publication)]
    assert everything(hub) == before and all("unchanged" in text for text in told[:4]) and told[4] == "0 of 5 added"


def test_a_collection_without_description_gets_one(publication: Publication, hub: HubServer) -> None:
    OWNER.create_collection(publication.collection, namespace="owner")
    list(publish(publication))
    (collection,) = OWNER.list_collections(owner="owner")
    assert collection.description == DESCRIPTION and len(collection.items) == 5


def test_the_papers_page_has_something_in_each_of_its_lists(publication: Publication, hub: HubServer) -> None:
    """What links to arXiv 2511.00456 by its card, as the Hub finds it, and the Collection that holds the paper."""
    list(publish(publication))
    linked = "arxiv:2511.00456"
    for name in ("pneumonia-children", "another"):
        assert linked in OWNER.model_info(f"owner/{name}").tags
    assert linked in OWNER.dataset_info("owner/films").tags and linked in OWNER.space_info("owner/app").tags
    assert any(item.item_id == "2511.00456" for item in next(iter(OWNER.list_collections(owner="owner"))).items)


@pytest.mark.parametrize("where", ["models/owner/another/commit", "datasets/owner/films/preupload", "collections"])
def test_a_failure_leaves_whole_repositories(publication: Publication, hub: HubServer, where: str) -> None:
    hub.fault(f"POST /api/{where}", status=403, times=1)
    with pytest.raises(PublishError):
        list(publish(publication))
    assert set(everything(hub).values()) <= {1, 2}  # empty or whole
    list(publish(publication))
    assert set(everything(hub).values()) == {2} and len(everything(hub)) == 4


def test_a_broken_checkpoint_stops_it_before_anything_is_published(publication: Publication, hub: HubServer) -> None:
    (publication.checkpoints / "another/config.json").write_text("{}")
    with pytest.raises(hub_download.CheckpointError, match="another/config.json"):
        list(publish(publication))
    assert not hub.store.repos


def test_publications_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no checkpoint folders; give their parent"):
        Publication("owner", tmp_path)
    with pytest.raises(ValueError, match="`namespace` is 'a/b'"):
        Publication("a/b", tmp_path)
