"""Fit the check that a picture is an upright frontal chest film, and measure it on sources that it never saw.

    hf-pneumo train-film-check --films kermany224/train lung_masks/images --strangers nih512/images \\
        --init-weights mobilenetv2_100.safetensors       # a few minutes

Writes the ONNX file that the package ships and results/film_check.json: the share of pictures that pass, for films as
they are, turned and inverted, of each source left out, and for each kind of other picture left out. --others names
pictures that are none, such as laterals and limbs, to be measured one by one.
"""

from __future__ import annotations

from hf_pneumo.training.film_check import FilmCheckConfig, train_film_check

Arguments = FilmCheckConfig


def run(config: FilmCheckConfig) -> None:
    report = train_film_check(config)
    for name, found in (report["never seen"] | report["source left out"]).items():
        print(f"{name}: {found['n']} films; pass: " + ", ".join(f"{k} {v:.3f}" for k, v in found["accepted"].items()))
    for name, found in report["kind left out"].items():
        print(f"{name}: {found['n']} pictures; pass: {found['accepted']:.3f}")
    for name, share in report["never seen, no films"].items():
        print(f"{name}: {'passes' if share else 'refused'}")
