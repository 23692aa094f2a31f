"""Train a classifier and write its checkpoint folder.

    accelerate launch scripts/train.py --dataset hf-vision/chest-xray-pneumonia --split official --model resnet18 \\
        --pretrained --epochs 10 --output runs/resnet18
    accelerate launch --num_processes 2 --mixed_precision bf16 scripts/train.py ... # several GPUs
    python scripts/train.py --dataset phantom:400 --size 64 --epochs 3 --output runs/phantom # seconds, no download
"""

from __future__ import annotations

import _cli

from hf_pneumo.evaluation.classification.report import ClassificationReport
from hf_pneumo.evaluation.predictions import results_path
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.run import train


def run(config: TrainConfig) -> None:
    folder = train(config)
    report = ClassificationReport.read(results_path(folder, f"{config.split}-val"))
    figures = ", ".join(f"{k} {v.value:.4f}" for k, v in report.metrics.items() if v)
    print(f"{folder}: val {figures}")


if __name__ == "__main__":
    _cli.main(TrainConfig, run, __doc__)
