"""Train a classifier and write its checkpoint folder.

    hf-pneumo train --dataset hf-vision/chest-xray-pneumonia --protocol official --model resnet18 --pretrained \\
        --epochs 10 --output runs/resnet18
    accelerate launch --num_processes 2 --mixed_precision bf16 -m hf_pneumo.cli train ... # several GPUs
    hf-pneumo train --dataset phantom:400 --size 64 --epochs 3 --output runs/phantom # seconds, no download
"""

from __future__ import annotations

from hf_pneumo.evaluation.classification.report import ClassificationReport
from hf_pneumo.evaluation.predictions import results_path
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.run import train

Arguments = TrainConfig


def run(config: TrainConfig) -> None:
    folder = train(config)
    report = ClassificationReport.read(results_path(folder, f"{config.protocol}-val"))
    figures = ", ".join(f"{k} {v.value:.4f}" for k, v in report.metrics.items() if v)
    print(f"{folder}: val {figures}")
