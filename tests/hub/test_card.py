"""A card says what the results say, and nothing that they do not say; the Hub's validator accepts it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from huggingface_hub import HfApi, ModelCard
from PIL import Image

from hf_pneumo.cli.main import run_command
from hf_pneumo.hub.card import CardSource, eval_results, model_card, snippets, write_card
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import CheckpointError

OWNER = HfApi(token="hf_owner_write_token")
ROOT = Path(__file__).parents[2]
RECORDED = sorted(path.parent for path in (ROOT / "results/seven").glob("*/config.json"))
SHIPPED = sorted(path.parent for path in (ROOT / "space/checkpoints").glob("*/config.json"))


def results(folder: Path, name: str) -> dict:
    return json.loads((folder / f"results/{name}.json").read_text())


def test_known_figures_stand_in_the_card(complete_folder: Path) -> None:
    card = model_card(CardSource(complete_folder, "owner/pneumonia-test"))
    found = results(complete_folder, "official-test")
    auroc = found["metrics"]["auroc"]
    assert f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})" in card
    (tn, fp), (fn, tp) = found["confusion"]
    assert f"{tp} of {tp + fn} positive and {tn} of {tn + fp} normal films called right" in card
    virus = found["subgroups"]["virus"]
    assert f"| virus | {virus['n']} | {virus['accuracy']:.3f} | {virus['errors']} |" in card
    assert "temperature 1.700" in card and "positive from 0.420 on (fitted on: official/val)" in card
    assert 'Between 0.350 and 0.500 the verdict is "uncertain"' in card
    assert "| deletion | 0.250 (0.200 to 0.300) |" in card
    assert "| _the same films, majority class_ | | | 0.500 (0.500 to 0.500) | 0.500 (" in card
    assert "| gradcam * | 1.00 (1.00 to 1.00) |" in card and "| _centre_ | 1.00 (1.00 to 1.00) |" in card
    frame = pd.read_parquet(complete_folder / "predictions/official-test.parquet")
    wrong = frame[(frame["probability"] >= 0.42) != (frame["label"] == 1)]
    worst = wrong.loc[(wrong["probability"] - 0.42).abs().idxmax()]
    assert f"Wrong with the most confidence: `{worst.file_name}` ({worst.subgroup}, {worst.probability:.3f})," in card
    assert card.index("official test") < card.index("paper test")
    assert "official val |" not in card  # what the operating point was chosen on is no result


def test_metadata(complete_folder: Path) -> None:
    data = ModelCard(model_card(CardSource(complete_folder, "owner/pneumonia-test"))).data
    assert data.base_model == "timm/test_vit2.r160_in1k" and data.base_model_relation == "finetune"
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "timm", "image-classification")
    assert data.datasets == ["hf-vision/chest-xray-pneumonia"]
    accuracy = results(complete_folder, "official-test")["metrics"]["accuracy"]["value"]
    (found,) = (r for r in data.eval_results if (r.metric_type, r.dataset_config) == ("accuracy", "official"))
    assert found.metric_value == round(accuracy, 4) and found.dataset_split == "test"


def test_eval_results_files(complete_folder: Path) -> None:
    files = eval_results(CardSource(complete_folder, "owner/pneumonia-test"))
    assert sorted(files) == [".eval_results/official-test.yaml", ".eval_results/paper-test.yaml"]
    auroc = results(complete_folder, "official-test")["metrics"]["auroc"]["value"]
    first = yaml.safe_load(files[".eval_results/official-test.yaml"])[0]
    assert first["dataset"] == {"id": "hf-vision/chest-xray-pneumonia", "task_id": "official-test-roc_auc"}
    assert first["value"] == round(auroc, 4)


def test_the_validator_accepts_it_and_the_paper_is_linked(complete_folder: Path, hub) -> None:
    OWNER.create_repo("owner/pneumonia-test")
    ModelCard(model_card(CardSource(complete_folder, "owner/pneumonia-test"))).push_to_hub(
        "owner/pneumonia-test", token=OWNER.token
    )
    info = OWNER.model_info("owner/pneumonia-test")
    assert {"arxiv:2511.00456", "base_model:finetune:timm/test_vit2.r160_in1k", "license:apache-2.0"} <= set(info.tags)
    assert info.model_index[0]["results"][0]["dataset"]["config"] == "official"


def test_nothing_is_left_open_and_links_lead_somewhere(complete_folder: Path) -> None:
    card = model_card(CardSource(complete_folder, "owner/pneumonia-test"))
    assert not re.search(r"More Information Needed|\bNone\b|\{\{|TODO|not defined", card)
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", card)
    assert len(links) > 12
    for link in links:
        assert (complete_folder / link).is_file(), link


def test_the_snippets_compile(complete_folder: Path) -> None:
    blocks = snippets(model_card(CardSource(complete_folder, "owner/pneumonia-test")))
    assert len(blocks) == 4
    for block in blocks:
        compile(block, "card", "exec")


def test_a_card_in_another_folder_links_back(complete_folder: Path) -> None:
    card = model_card(CardSource(complete_folder, "owner/x", figures_at="../checkpoints/x/"))
    assert "](../checkpoints/x/figures/official-test/roc.png)" in card


def change(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["hf_pneumo"] |= values
    (folder / "config.json").write_text(json.dumps(config))


def test_without_results_nothing_is_claimed(checkpoint_folder: Path) -> None:
    write_card(checkpoint_folder, "owner/x")
    for path in (checkpoint_folder / "results").iterdir():
        path.unlink()
    card = write_card(checkpoint_folder, "owner/x").read_text()
    assert "nothing is claimed about its accuracy" in card and "do not rely on its heatmap" in card
    assert "model-index" not in card and not list((checkpoint_folder / ".eval_results").iterdir())


def test_an_mlp_head_says_that_foreign_loaders_fail(checkpoint_folder: Path) -> None:
    change(checkpoint_folder, head="mlp")
    card = model_card(CardSource(checkpoint_folder, "owner/x"))
    assert "timm and transformers build a linear head and cannot load it" in card
    assert len(snippets(card)) == 1 and "library_name: hf_pneumo" in card


def test_a_crop_is_written_into_the_snippets(checkpoint_folder: Path) -> None:
    preprocess = json.loads((checkpoint_folder / "config.json").read_text())["hf_pneumo"]["preprocess"]
    change(checkpoint_folder, preprocess=preprocess | {"crop": [0.15, 0.9, 0.2, 0.8]})
    blocks = snippets(model_card(CardSource(checkpoint_folder, "owner/x")))
    crop = "top, bottom, left, right = 0.15, 0.9, 0.2, 0.8"
    assert [crop in block for block in blocks] == [False, True, True, True]


def test_an_adaptive_crop_is_written_into_the_snippets(checkpoint_folder: Path) -> None:
    preprocess = json.loads((checkpoint_folder / "config.json").read_text())["hf_pneumo"]["preprocess"]
    change(checkpoint_folder, preprocess=preprocess | {"crop": "adaptive"})
    blocks = snippets(model_card(CardSource(checkpoint_folder, "owner/x")))
    assert ["find_lungs(" in block for block in blocks] == [False, True, True, True]
    opened, cropped = (line for line in blocks[1].splitlines() if line.startswith("image = "))
    film = Image.fromarray(np.rint(make_phantom(3, size=200).pixels * 255).astype(np.uint8))
    seen = {"image": film.convert("RGB")}
    exec(blocks[1][blocks[1].index(opened) + len(opened) : blocks[1].index(cropped) + len(cropped)], seen)
    spec = Preprocess(crop="adaptive")
    y0, y1, x0, x1 = spec.box_in(200, 200, spec.crop_of(np.asarray(film)))
    assert np.array_equal(np.asarray(seen["image"])[..., 0], np.asarray(film)[y0:y1, x0:x1])


def test_what_the_model_scores_without_the_lungs_stands_beside_its_results(checkpoint_folder: Path) -> None:
    controls = json.loads((checkpoint_folder / "results/official-test-baselines.json").read_text())
    shortcuts = {"subset": "test", "lungs_found": 1.0, "lungs alone": controls["majority class"] | {"patients": 40}}
    (checkpoint_folder / "results/official-test-shortcuts.json").write_text(json.dumps(shortcuts))
    card = model_card(CardSource(checkpoint_folder, "owner/x"))
    assert "| _the same films, this model shown the lungs alone_ |" in card and "What it scores without the" in card


def test_a_random_start_has_no_base_model(checkpoint_folder: Path) -> None:
    change(checkpoint_folder, training={})
    card = model_card(CardSource(checkpoint_folder, "owner/x"))
    assert "base_model" not in card and "How it was trained is not recorded" in card


def test_damaged_results_are_named(checkpoint_folder: Path) -> None:
    (checkpoint_folder / "results/official-test.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"official-test\.json is not JSON .* evaluate the checkpoint again"):
        model_card(CardSource(checkpoint_folder, "owner/x"))


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_the_committed_cards_are_those_of_the_results(folder: Path) -> None:
    repo = f"user/{folder.name}"
    assert (folder / "README.md").read_text() == model_card(CardSource(folder, repo)), "run scripts/write_cards.py"
    link = f"../space/checkpoints/{folder.name}/"
    copy = (ROOT / "model_cards" / f"{folder.name}.md").read_text()
    assert copy == model_card(CardSource(folder, repo, figures_at=link)), "run scripts/write_cards.py"
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", copy):
        assert (ROOT / "model_cards" / target).is_file(), target


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_the_committed_cards_of_a_record_are_those_of_its_results(folder: Path) -> None:
    source = CardSource(folder, f"user/seven-{folder.name}", figures_at=f"../../results/seven/{folder.name}/")
    copy = (ROOT / "model_cards/seven" / f"{folder.name}.md").read_text()
    assert copy == model_card(source), "run scripts/write_cards.py"
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", copy):
        assert (ROOT / "model_cards/seven" / target).is_file(), target


def test_a_record_without_weights_promises_none(checkpoint_folder: Path) -> None:
    teacher = {"name": "big", "architecture": "resnet50", "initial_weights": "ImageNet"}
    training = json.loads((checkpoint_folder / "config.json").read_text())["hf_pneumo"]["training"]
    change(checkpoint_folder, training=training | {"teacher": teacher, "note": "Taught, {{ not }} born."})
    with_weights = model_card(CardSource(checkpoint_folder, "owner/x"))
    (checkpoint_folder / "model.safetensors").unlink()
    card = model_card(CardSource(checkpoint_folder, "owner/x"))
    assert snippets(with_weights) and not snippets(card) and "model.safetensors" not in card
    assert "The weights of this run are not kept here" in card and "not kept here" not in with_weights
    told = "| teacher | big (`resnet50`, from ImageNet): its answer and its last map were learnt beside the labels |"
    assert told in card and told in with_weights and "\nTaught, {{ not }} born.\n" in card


def test_write_cards(complete_folder: Path, checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = checkpoint_folder.parent / "cards"
    parent = str(checkpoint_folder.parent)
    arguments = ["write_cards.py", "--checkpoints", parent, "--studies", parent, "--output", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        run_command("write-cards", sys.argv[1:])
    assert ended.value.code == 0 and (checkpoint_folder / ".eval_results/official-test.yaml").is_file()
    run = (out / checkpoint_folder.parent.name / "pneumonia-test.md").read_text()
    assert "](../../pneumonia-test/figures/official-test/roc.png)" in run
    text = (out / "pneumonia-test.md").read_text()
    assert "](../pneumonia-test/figures/official-test/roc.png)" in text
