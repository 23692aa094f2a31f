"""timm, transformers, the two files alone and hf_pneumo answer alike on real films, for every shipped checkpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import pipeline

from hf_pneumo.imaging.reader import read_xray
from hf_pneumo.models.checkpoint import Checkpoint, load
from hf_pneumo.models.inference import predict_logits

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.parent for path in (ROOT / "space/checkpoints").glob("*/config.json"))
FOLDERS = {"kermany224/test/NORMAL": 5, "kermany224/test/PNEUMONIA": 5, "nih512/images": 10}
CLOSE = 1e-4  # of a probability: the same numbers added in another order


@pytest.fixture(scope="module")
def films() -> list[Path]:
    """Twenty real films: children's of both classes, and adults'."""
    data = Path(os.environ.get("HF_PNEUMO_TEST_DATA", "/nowhere"))
    found = [film for folder, count in FOLDERS.items() for film in sorted((data / folder).glob("*.jp*g"))[:count]]
    if len(found) != sum(FOLDERS.values()):
        pytest.skip("needs the collections of films")
    return found


def inputs_by(transform, checkpoint: Checkpoint, films: list[Path]) -> torch.Tensor:
    """What a foreign loader is given: its own transform of the film, or where the card says so hf_pneumo's cut."""
    preprocess = checkpoint.config.preprocess
    if preprocess.crop is not None:
        return preprocess.to_tensor(np.stack([preprocess.to_gray(read_xray(film).gray8) for film in films]))
    return torch.stack([transform(Image.open(film).convert("RGB")) for film in films])


def probabilities(model, inputs: torch.Tensor, checkpoint: Checkpoint) -> np.ndarray:
    """Of plain logits, as the card's snippets have them."""
    with torch.no_grad():
        logits = model(inputs)
        if getattr(checkpoint.config.preprocess, "mirror", False):
            logits = (logits + model(inputs.flip(-1))) / 2
    return checkpoint.config.labels.probabilities(logits.numpy())


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_four_ways_give_the_same_probabilities_on_real_films(folder: Path, films: list[Path]) -> None:
    checkpoint = load(folder)
    if not checkpoint.config.is_plain_timm:
        pytest.skip("its card says that timm and transformers cannot load it")
    preprocess, labels = checkpoint.config.preprocess, checkpoint.config.labels
    gray = np.stack([preprocess.to_gray(read_xray(film).gray8) for film in films])
    expected = labels.probabilities(predict_logits(checkpoint.network, gray, preprocess))

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    by_timm = probabilities(model, inputs_by(transform, checkpoint, films), checkpoint)
    np.testing.assert_allclose(by_timm, expected, atol=CLOSE)

    config = json.loads((folder / "config.json").read_text())
    plain = timm.create_model(config["architecture"], num_classes=config["num_classes"], **config["model_args"]).eval()
    plain.load_state_dict(load_file(folder / "model.safetensors"))
    data = timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"])
    own = inputs_by(timm.data.create_transform(**data, is_training=False), checkpoint, films)
    np.testing.assert_allclose(probabilities(plain, own, checkpoint), expected, atol=CLOSE)

    classify = pipeline("image-classification", model=str(folder), top_k=len(labels.names))
    if preprocess.crop is None and not getattr(preprocess, "mirror", False):
        answers = [classify(Image.open(film).convert("RGB")) for film in films]
        scores = [{answer["label"]: answer["score"] for answer in own} for own in answers]
        by_pipeline = np.array([[score[name] for name in labels.names] for score in scores])
    else:  # no pipeline cuts a film, so that the card gives its network what hf_pneumo makes of the film
        by_pipeline = probabilities(lambda x: classify.model(x).logits, inputs_by(None, checkpoint, films), checkpoint)
    np.testing.assert_allclose(by_pipeline, expected, atol=CLOSE)
