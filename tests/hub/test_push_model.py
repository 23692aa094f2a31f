"""What is pushed loads in four libraries with the same logits, and the card's own snippets prove it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import make_network
from hub_server import HubServer
from huggingface_hub import HfApi
from PIL import Image

from hf_pneumo import Predictor, load
from hf_pneumo.cli.main import run_command
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.hub.card import snippets
from hf_pneumo.hub.push_model import plan_model, push_checkpoint
from hf_pneumo.hub.upload import Destination, PublishError
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import PAPER_BACKBONES, timm_name
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.tensors import to_tensor

OWNER = HfApi(token="hf_owner_write_token")
ROOT = Path(__file__).parents[2]


def to(name: str, **how: object) -> Destination:
    return Destination(f"owner/{name}", token=OWNER.token, **how)


@pytest.fixture
def published(complete_folder: Path, hub: HubServer, tmp_path: Path) -> str:
    return push_checkpoint(complete_folder, to("pneumonia-test"), tmp_path / "staged").repo


def test_the_repository_holds_the_whole_folder_in_one_commit(published: str, complete_folder: Path) -> None:
    files = set(OWNER.list_repo_files(published))
    assert {"config.json", "model.safetensors", "README.md", "training.jsonl", "results/official-test.json",
            "predictions/paper-test.parquet", "figures/official-test/roc.png",
            } <= files  # fmt: skip
    assert [commit.title for commit in OWNER.list_repo_commits(published)][1:] == ["initial commit"]
    assert not (complete_folder / "README.md").exists()  # the folder itself is left as it was


def test_pushing_again_changes_nothing(published: str, complete_folder: Path, tmp_path: Path) -> None:
    again = push_checkpoint(complete_folder, to("pneumonia-test"), tmp_path / "again")
    assert not again.changes and len(OWNER.list_repo_commits(published)) == 2


def test_a_dry_run_writes_the_folder_and_sends_nothing(complete_folder: Path, hub: HubServer, tmp_path: Path) -> None:
    changes = plan_model(complete_folder, to("pneumonia-test"), tmp_path / "dry")
    assert "model.safetensors" in changes.added and not hub.store.repos
    assert not plan_model(tmp_path / "dry", to("pneumonia-test"), tmp_path / "second").changed
    with pytest.raises(ValueError, match="`output` .* is not empty; give a new folder"):
        plan_model(complete_folder, to("pneumonia-test"), tmp_path / "dry")


def test_states_stay_here_and_pickles_are_refused(checkpoint_folder: Path, hub: HubServer, tmp_path: Path) -> None:
    (checkpoint_folder / "state.safetensors").write_bytes(b"x")
    push_checkpoint(checkpoint_folder, to("pneumonia-test"), tmp_path / "1")
    assert "state.safetensors" not in OWNER.list_repo_files("owner/pneumonia-test")
    (checkpoint_folder / "optimizer.pt").write_bytes(b"x")
    with pytest.raises(PublishError, match=r"cannot be published: it holds pickles \(optimizer\.pt\)"):
        push_checkpoint(checkpoint_folder, to("pneumonia-test"), tmp_path / "2")


def test_stale_results_and_broken_folders_are_refused(checkpoint_folder: Path, hub: HubServer, tmp_path: Path) -> None:
    results = checkpoint_folder / "results/official-test.json"
    results.write_text(results.read_text().replace('"temperature": 1.7', '"temperature": 1.1'))
    with pytest.raises(PublishError, match="official-test.json was measured on another network or temperature"):
        push_checkpoint(checkpoint_folder, to("pneumonia-test"), tmp_path / "1")
    weights = checkpoint_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is damaged"):
        push_checkpoint(checkpoint_folder, to("pneumonia-test"), tmp_path / "2")
    assert not hub.store.repos


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("HF_TOKEN", OWNER.token)
    monkeypatch.setattr(sys, "argv", ["push_model.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command("push", sys.argv[1:])
    return ended.value.code


def test_the_command(
    complete_folder: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, tmp_path: Path
) -> None:
    folder = str(complete_folder)
    assert command(monkeypatch, "--checkpoint", folder, "--repo", "owner/new", "--tag", "v1", "--private") == 0
    out, err = capfd.readouterr()
    assert f"{hub.endpoint}/owner/new at {OWNER.model_info('owner/new', revision='v1').sha}" in out
    assert OWNER.model_info("owner/new").private and OWNER.token not in out + err
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, "--checkpoint", folder, "--repo", "owner/new", "--dry-run") == 0
    assert "nothing was sent; dry-run/new is what" in capfd.readouterr().out
    assert (tmp_path / "dry-run/new/README.md").is_file()
    assert command(monkeypatch, "--checkpoint", folder, "--repo", "new") == 2
    assert capfd.readouterr().err.strip().endswith("error: `repo` is 'new'; give 'user/name'.")


@pytest.fixture
def in_a_folder_with_a_film(film: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    film.save(tmp_path / "work/film.png")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work/film.png"


def run_snippets(card: str, repo: str, film: Path) -> None:
    ran = []
    for block in snippets(card):
        names: dict = {}
        exec(compile(block, "card", "exec"), names)
        ran.append(names)
    if len(ran) == 1:  # a network of lungs alone, which foreign loaders cannot prepare a film for: the card says so
        assert ran[0]["finding"].status in ("judged", "not judged") and "library_name: hf_pneumo" in card
        return
    ours, timms, transformers, by_hand = ran
    assert 0 < ours["finding"].probability < 1 and ours["finding"].model == repo
    assert ours["heatmap"].shape == (190, 200)
    expected = logits_here(repo, Image.open(film))
    for names in (timms, transformers, by_hand):
        # The last bit of a matrix product depends on where its memory lies.
        torch.testing.assert_close(names["logits"], expected, rtol=0, atol=1e-5)


def test_the_snippets_of_the_card_run_and_agree(published: str, in_a_folder_with_a_film: Path) -> None:
    card = Path(OWNER.hf_hub_download(published, "README.md")).read_text()
    run_snippets(card, published, in_a_folder_with_a_film)


@pytest.mark.parametrize("card", sorted((ROOT / "model_cards").glob("*.md")), ids=lambda card: card.stem)
def test_the_snippets_of_the_shipped_cards_run_as_they_are(
    card: Path, hub: HubServer, in_a_folder_with_a_film: Path, tmp_path: Path
) -> None:
    repo = f"user/{card.stem}"
    to_user = Destination(repo, token="hf_user_write_token")
    push_checkpoint(ROOT / "space/checkpoints" / card.stem, to_user, tmp_path / "staged")
    run_snippets(card.read_text(), repo, in_a_folder_with_a_film)


def logits_here(repo: str, film: Image.Image) -> torch.Tensor:
    checkpoint = load(repo)
    preprocess = checkpoint.config.preprocess
    with torch.no_grad():
        return checkpoint.network(to_tensor(preprocess, preprocess.to_gray(np.asarray(film))[None]))


# Small members of the families in the plain run, the seven of the paper and larger ones with -m slow.
SMALL = ("test_resnet", "test_efficientnet", "test_vit2", "test_convnext2")
LARGE = (*PAPER_BACKBONES, "swin_tiny_patch4_window7_224", "convnext_atto", "vit_small_patch14_reg4_dinov2",
         "tf_efficientnet_lite0", "vit_base_patch16_siglip_gap_224")  # fmt: skip


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_four_ways_to_load_give_bit_equal_logits(name: str, film: Image.Image, hub: HubServer, tmp_path: Path) -> None:
    import timm
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    arguments = {"img_size": 224} if "dinov2" in name else {}
    network = make_network(timm_name(name), **arguments)
    side = network.pretrained_cfg["input_size"][-1] if not arguments else 224
    preprocess = Preprocess((side, side), interpolation="bicubic", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    save(tmp_path / "new", network, CheckpointConfig(timm_name(name), PNEUMONIA, preprocess, model_args=arguments))
    repo = push_checkpoint(tmp_path / "new", to(name), tmp_path / "staged").repo
    pixels = to_tensor(preprocess, preprocess.to_gray(np.asarray(film))[None])
    theirs = timm.create_model(f"hf-hub:{repo}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs), is_training=False)
    model, processor = AutoModelForImageClassification.from_pretrained(repo), AutoImageProcessor.from_pretrained(repo)
    with torch.no_grad():
        expected = network(pixels)
        assert torch.equal(load(repo).network(pixels), expected)
        assert torch.equal(theirs(pixels), expected)
        assert torch.equal(model.eval()(pixels).logits, expected)
    rgb = film.convert("RGB")
    assert (transform(rgb)[None] - pixels).abs().max() < 1e-3
    assert (processor(rgb, return_tensors="pt")["pixel_values"] - pixels).abs().max() < 1e-3
    assert model.config.id2label == {0: "NORMAL", 1: "PNEUMONIA"}
    assert tuple(theirs.pretrained_cfg["label_names"]) == ("NORMAL", "PNEUMONIA")


def test_a_pinned_revision_is_what_the_finding_names(published: str, in_a_folder_with_a_film: Path) -> None:
    commit = OWNER.model_info(published).sha
    finding = Predictor(f"{published}@{commit}").predict(in_a_folder_with_a_film)
    assert (finding.model, finding.revision) == (published, commit)
