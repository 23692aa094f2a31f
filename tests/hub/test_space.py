"""A deployed Space holds all that it needs to start, pinned, and says so in metadata that the Hub accepts."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.repocard import RepoCard

from hf_pneumo.hub.push_model import push_checkpoint
from hf_pneumo.hub.space import deploy_space, plan_space, stage_space
from hf_pneumo.hub.upload import Destination
from hf_pneumo.models.hub_download import CheckpointError

OWNER = HfApi(token="hf_owner_write_token")
APP = Path(__file__).parents[2] / "space"
REPO = "owner/app"
TO = Destination(REPO, "space", token=OWNER.token)


@pytest.fixture
def model(complete_folder: Path, hub: HubServer, tmp_path: Path) -> str:
    to = Destination("owner/space-model", token=OWNER.token, tag="v1")
    return push_checkpoint(complete_folder, to, tmp_path / "model").commit


def test_a_hosted_space_starts_from_what_is_published(model: str, tmp_path: Path) -> None:
    deploy_space(APP, TO, tmp_path / "staged", ["owner/space-model@v1"])
    folder = snapshot_download(REPO, repo_type="space", token=OWNER.token)
    variables = {name: found.value for name, found in OWNER.get_space_variables(REPO).items()}
    assert variables == {"HF_PNEUMO_MODEL": f"owner/space-model@{model}"}
    code = (
        "import hf_pneumo, os, pathlib, app, model_registry\n"
        "assert pathlib.Path(hf_pneumo.__file__).parent.parent == pathlib.Path.cwd()\n"
        "found = model_registry.Shelf(model_registry.places(os.environ['HF_PNEUMO_MODEL']))\n"
        "print(type(app.build_demo(found)).__name__)\n"
    )
    env = os.environ | variables | {"PYTHONSAFEPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "Blocks", done.stderr


def test_metadata_and_pins(model: str, tmp_path: Path) -> None:
    stage_space(APP, tmp_path / "staged", ["owner/space-model"])
    data = RepoCard.load(tmp_path / "staged/README.md").data
    assert (data.sdk, data.sdk_version, data.app_file) == ("gradio", version("gradio"), "app.py")
    assert data.models == ["owner/space-model"] and data.datasets == ["hf-vision/chest-xray-pneumonia"]
    assert data.preload_from_hub == [f"owner/space-model config.json,model.safetensors {model}"]
    assert len(data.short_description) <= 60
    first, *pins = (tmp_path / "staged/requirements.txt").read_text().splitlines()
    assert first == "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert f"timm=={version('timm')}" in pins and all("==" in pin and not pin.startswith("gradio=") for pin in pins)
    assert not (tmp_path / "staged/checkpoints").exists()  # what is loaded from the Hub is not shipped beside it
    left = [path for path in (tmp_path / "staged").rglob("*") if "__pycache__" in path.parts]
    assert not left and (tmp_path / "staged/hf_pneumo/hub/templates/model_card.md.jinja").is_file()


def test_the_paper_is_cited_where_its_page_looks_for_it(model: str, tmp_path: Path) -> None:
    deploy_space(APP, TO, tmp_path / "staged", ["owner/space-model"])
    assert "arxiv:2511.00456" in OWNER.space_info(REPO).tags


def test_the_library_can_be_installed_from_it(model: str, tmp_path: Path) -> None:
    stage_space(APP, tmp_path / "staged", ["owner/space-model"])
    project = tomllib.loads((tmp_path / "staged/pyproject.toml").read_text())["project"]
    assert any(name.startswith("timm") for name in project["dependencies"])
    for file in ("LICENSE", project["readme"], "hf_pneumo/__init__.py"):
        assert (tmp_path / "staged" / file).is_file(), file


def test_several_models_are_pinned_and_the_first_is_shown_first(model: str, small_app: Path, tmp_path: Path) -> None:
    second = push_checkpoint(
        complete := tmp_path / "model", Destination("owner/other", token=OWNER.token), tmp_path / "o"
    )
    assert (complete / "config.json").is_file()
    deploy_space(small_app, TO, tmp_path / "1", ["owner/space-model", "owner/other"])
    pinned = OWNER.get_space_variables(REPO)["HF_PNEUMO_MODEL"].value
    assert pinned == f"owner/space-model@{model} owner/other@{second.commit}"
    assert RepoCard.load(tmp_path / "1/README.md").data.models == ["owner/space-model", "owner/other"]


@pytest.fixture
def small_app(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/app.py").write_text("print('hello')\n")
    (tmp_path / "app/requirements.txt").write_text("# all\ntimm>=1,<2\ngradio>=6\n")
    return tmp_path / "app"


def test_deploying_again_changes_only_what_changed(model: str, small_app: Path, tmp_path: Path) -> None:
    first = deploy_space(small_app, TO, tmp_path / "1", ["owner/space-model"])
    assert deploy_space(small_app, TO, tmp_path / "2", ["owner/space-model"]).commit == first.commit
    (small_app / "app.py").write_text("print('again')\n")
    assert plan_space(small_app, TO, tmp_path / "3", ["owner/space-model"]).changed == ("app.py",)
    bundled = deploy_space(small_app, TO, tmp_path / "4")
    assert set(bundled.changes.changed) == {"app.py", "README.md"} and not OWNER.get_space_variables(REPO)


def test_a_proposal_leaves_the_running_space_alone(model: str, small_app: Path, tmp_path: Path) -> None:
    deploy_space(small_app, TO, tmp_path / "1", ["owner/space-model"])
    (small_app / "app.py").write_text("print('again')\n")
    proposal = Destination(REPO, "space", token=OWNER.token, create_pr=True)
    done = deploy_space(small_app, proposal, tmp_path / "2")
    assert done.pull_request.endswith("discussions/1") and "HF_PNEUMO_MODEL" in OWNER.get_space_variables(REPO)


def test_what_cannot_be_deployed(complete_folder: Path, small_app: Path, hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a hosted Space needs a repository, 'user/name'"):
        deploy_space(small_app, TO, tmp_path / "1", [str(complete_folder)])
    with pytest.raises(CheckpointError, match="has no model repository 'owner/none'"):
        deploy_space(small_app, TO, tmp_path / "2", ["owner/none"])
    with pytest.raises(ValueError, match="has no app.py; give the repository's space folder"):
        deploy_space(tmp_path, TO, tmp_path / "3")
    assert not hub.store.repos
