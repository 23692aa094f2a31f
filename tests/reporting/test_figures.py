"""Figures of results, written whole."""

from __future__ import annotations

from matplotlib.figure import Figure
from PIL import Image

from hf_pneumo.reporting.figures import draw_training, write_figure


def test_the_same_figure_gives_the_same_file(tmp_path):
    paths = []
    for name in ("a", "b"):
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([0, 1])
        paths.append(write_figure(figure, tmp_path / "new" / f"{name}.png"))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_training_log_becomes_a_picture(tmp_path):
    log = [
        {"epoch": 0, "step": 1, "loss": 1.0, "lr": 0.1},
        {"epoch": 0, "train_loss": 1.0, "val_loss": 0.9, "val_auroc": 0.5},
    ]
    path = draw_training(tmp_path / "training.png", log)
    assert min(Image.open(path).size) > 100
