"""Train the segmenter of the lungs that the package ships as an ONNX file, or cross-validate it by patient.

    hf-pneumo train-lungs --masks lung_masks --extra lung_masks/nih_dev --extra_films nih512/images \\
        --films kermany224/train --init_weights mobilenetv2_100.safetensors     # minutes on two cores
    hf-pneumo train-lungs ... --cross_validate 5                        # measures, ships nothing

The lungs drawn by annotators, another network's masks (which count half), phantoms, pictures without lungs, and the
network's own masks of --films. Writes the ONNX file, results/lungs/network.json or cross_validation.json, and the log.
"""

from __future__ import annotations

from hf_pneumo.segmentation.run import SegmenterConfig, train_segmenter

Arguments = SegmenterConfig


def run(config: SegmenterConfig) -> None:
    report = train_segmenter(config)
    measured = {name: report[name] for name in ("all folds", "another source", "phantoms") if name in report}
    for name, value in measured.items():
        print(f"{name}: Dice {value['mean']:.3f} (tenth percentile {value['tenth']:.3f}) over {value['films']} films")
