"""The paper's .pth files become checkpoint folders with the same logits; hostile ones are refused unread."""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from hf_pneumo.cli.main import run_command
from hf_pneumo.hub.convert import convert_weights
from hf_pneumo.models.checkpoint import load
from hf_pneumo.models.classifier import parameter_count
from hf_pneumo.models.hub_download import CheckpointError

ROOT = Path(__file__).parents[2]
# The paper's names, torchvision's constructors and last layers, and the paper's parameter counts in millions.
NETWORKS = {
    "resnet18": ("resnet18", "fc", 11.51), "resnet50": ("resnet50", "fc", 24.62),
    "densenet121": ("densenet121", "classifier", 7.55), "efficientnet_b0": ("efficientnet_b0", "classifier.1", 4.73),
    "mobilenet_v2": ("mobilenet_v2", "classifier.1", 2.95),
    "mobilenet_v3": ("mobilenet_v3_large", "classifier.3", 4.92), "vit_b_16": ("vit_b_16", "heads.head", 86.26),
}  # fmt: skip
FEATURES = {"resnet18": 512, "resnet50": 2048, "densenet121": 1024, "efficientnet_b0": 1280, "mobilenet_v2": 1280,
            "mobilenet_v3": 1280, "vit_b_16": 768}  # fmt: skip
LAST_KEYS = {  # where the paper's Sequential stands, and its own layers' numbers there
    "resnet18": "backbone.fc.", "resnet50": "backbone.fc.", "densenet121": "backbone.classifier.",
    "efficientnet_b0": "backbone.classifier.1.", "mobilenet_v2": "backbone.classifier.1.",
    "mobilenet_v3": "backbone.classifier.3.", "vit_b_16": "backbone.heads.head.",
}  # fmt: skip
QUICK = ("mobilenet_v2", "mobilenet_v3")


class Network(nn.Module):
    """The paper's network: torchvision's as `backbone`, its last layer replaced by the paper's one Sequential."""

    def __init__(self, arch: str, head: nn.Module) -> None:
        super().__init__()
        constructor, last, _ = NETWORKS[arch]
        self.backbone = getattr(torchvision.models, constructor)(weights=None)
        self.backbone.set_submodule(last, head)

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)


def papers_head(features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 2),
    )  # fmt: skip


def plain_head(features: int) -> nn.Sequential:
    """As this library's versions before 0.2 took the paper's head to be."""
    return nn.Sequential(nn.Linear(features, 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, 128), nn.ReLU(),
                         nn.Dropout(0.3), nn.Linear(128, 2))  # fmt: skip


def trained(arch: str, head: Callable[[int], nn.Module] = papers_head) -> nn.Module:
    """The paper's network with normalisation statistics that matter, in the head too."""
    torch.manual_seed(0)
    model = Network(arch, head(FEATURES[arch]))
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return model.eval()


def stored(arch: str, model: nn.Module, **more: object) -> dict:
    """What the paper's training script saves."""
    return {"model_state": dict(model.state_dict()), "arch": arch, "class_to_idx": {"NORMAL": 0, "PNEUMONIA": 1},
            "img_size": 64, **more}  # fmt: skip


@torch.no_grad()
def relative_difference(one: nn.Module, other: nn.Module, size: int) -> float:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected: Tensor = one(images)
    return ((expected - other(images)).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize(
    "arch", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NETWORKS]
)
def test_the_same_logits_as_torchvision(arch: str, tmp_path: Path) -> None:
    model, size = trained(arch), 224 if arch == "vit_b_16" else 64
    file = stored(arch, model, img_size=size)
    numbers = {name.removeprefix(LAST_KEYS[arch]).split(".")[0] for name in file["model_state"]
               if name.startswith(LAST_KEYS[arch])}  # fmt: skip
    assert numbers == {"1", "2", "5", "8"} and all(name.startswith("backbone.") for name in file["model_state"])
    checkpoint = load(convert_weights(file, tmp_path))
    assert relative_difference(model, checkpoint.network, size) < 1e-5
    assert parameter_count(checkpoint.network) / 1e6 == pytest.approx(NETWORKS[arch][2], abs=0.011)
    assert checkpoint.config.head == "paper" and checkpoint.config.labels.names == ("NORMAL", "PNEUMONIA")
    assert checkpoint.config.preprocess.size == (size, size)


def test_the_order_of_the_classes_is_kept(tmp_path: Path) -> None:
    model = trained("mobilenet_v2")
    file = stored("mobilenet_v2", model, class_to_idx={"PNEUMONIA": 0, "NORMAL": 1})
    checkpoint = load(convert_weights(file, tmp_path))
    assert checkpoint.config.labels.names == ("PNEUMONIA", "NORMAL")
    assert relative_difference(model, checkpoint.network, 64) < 1e-5


def test_a_head_without_batch_norm_can_be_read_too(tmp_path: Path) -> None:
    model = trained("mobilenet_v2", plain_head)
    checkpoint = load(convert_weights(stored("mobilenet_v2", model), tmp_path))
    assert checkpoint.config.head == "mlp" and relative_difference(model, checkpoint.network, 64) < 1e-5


def test_a_linear_head_and_a_bare_state_dict(tmp_path: Path) -> None:
    model = torchvision.models.mobilenet_v2(num_classes=2).eval()
    checkpoint = load(convert_weights(model.state_dict(), tmp_path, arch="mobilenet_v2"))
    assert checkpoint.config.head == "linear" and relative_difference(model, checkpoint.network, 224) < 1e-5


def broken(kind: str) -> dict:
    file = stored("mobilenet_v2", trained("mobilenet_v2"))
    state = file["model_state"]
    match kind:
        case "arch":
            file["arch"] = "inception_v3"
        case "other arch":
            file["arch"] = "mobilenet_v3"
        case "classes":
            file["class_to_idx"] = {"a": 0, "b": 1, "c": 2}
        case "head":
            state["backbone.classifier.1.1.weight"] = torch.zeros(300, 1280)
        case "no statistics":
            del state["backbone.classifier.1.2.running_mean"]
        case "missing":
            del state["backbone.features.3.conv.0.0.weight"]
        case "not finite":
            state["backbone.features.0.0.weight"] = state["backbone.features.0.0.weight"] * float("nan")
        case "not tensors":
            file["model_state"] = {"a": 1}
    return file


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("arch", "`arch` is 'inception_v3'; the paper's networks are resnet18, resnet50"),
        ("other arch", "holds layers|does not fit torchvision's network"),
        ("classes", "`class_to_idx` is .* the paper's classes are NORMAL and PNEUMONIA"),
        ("head", r"The head 'classifier.1' holds layers of the shapes \[\(300, 1280\)"),
        ("no statistics", "The head 'classifier.1' holds layers"),
        ("missing", 'does not fit torchvision\'s network: Missing key.*"features.3.conv.0.0.weight"'),
        ("not finite", "gives other logits than torchvision's"),
        ("not tensors", "`model_state` must map names to tensors"),
    ],
)
def test_what_is_not_the_papers_is_refused(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        convert_weights(broken(kind), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def command(monkeypatch: pytest.MonkeyPatch, weights: Path, output: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["convert_checkpoint.py", "--weights", str(weights), "--output", str(output)])
    with pytest.raises(SystemExit) as ended:
        run_command("convert", sys.argv[1:])
    return ended.value.code


def test_the_command_reads_the_papers_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"val_acc": 0.97, "val_auc": np.float64(0.99), "val_pr_auc": np.float64(0.98)}
    torch.save(stored("mobilenet_v2", trained("mobilenet_v2"), **scores), tmp_path / "best.pt")
    assert command(monkeypatch, tmp_path / "best.pt", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out/config.json").read_text())["architecture"] == "mobilenetv2_100"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.json", "model.safetensors"}


class Hostile:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("where", ["top", "inside", "bare pickle"])
def test_a_hostile_pickle_is_refused_and_not_executed(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    trap, file = Hostile(tmp_path / "executed"), tmp_path / "bad.pth"
    if where == "bare pickle":
        file.write_bytes(pickle.dumps(trap))
    else:
        torch.save(trap if where == "top" else {"model_state": {}, "val_auc": trap}, file)
    assert command(monkeypatch, file, tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert "refused and nothing in it was executed" in message and message.count("\n") == 1
    assert not (tmp_path / "executed").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04 half a zip"])
def test_a_damaged_file(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    assert command(monkeypatch, tmp_path / "bad.pth", tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert re.search("is damaged(, or no file of tensors; it is refused| or no .pth file; download)", message)


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_a_keras_file_is_refused_with_the_reason(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    weights = tmp_path / f"fordham{ending}"
    weights.write_bytes(b"\x89HDF\r\n\x1a\n")
    assert command(monkeypatch, weights, tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert "strides in another layer" in message and message.count("\n") == 1


def test_library_and_space_never_unpickle() -> None:
    sources = [*(ROOT / "hf_pneumo").rglob("*.py"), *(ROOT / "space").rglob("*.py")]
    assert len(sources) > 10
    converter = ROOT / "hf_pneumo/cli/convert_checkpoint.py"
    assert converter.read_text().count("torch.load(") == converter.read_text().count("weights_only=True") == 1
    for source in set(sources) - {converter}:
        assert not re.search(r"torch\.load\(|pickle\.load|allow_pickle=True|joblib\.load", source.read_text()), source
