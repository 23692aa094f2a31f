"""The one preprocessing: known pixels in, known pixels out, and coordinates that come back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from hf_pneumo.imaging.preprocess import CROPS, Preprocess
from hf_pneumo.models.tensors import to_tensor


def test_a_film_of_the_right_size_is_left_alone():
    film = np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8)
    assert np.array_equal(Preprocess().to_gray(film), film)


def test_float_films_are_rounded_to_8_bits():
    film = np.array([[0.0, 0.5, 1.0, 2.0]] * 4, dtype=np.float32)
    assert Preprocess(size=(4, 4)).to_gray(film)[0].tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_are_those_of_torchvisions_evaluation_transform(interpolation):
    film = np.random.default_rng(1).integers(0, 256, (301, 257), dtype=np.uint8)
    spec = Preprocess(size=(96, 128), interpolation=interpolation)
    theirs = v2.Compose(
        [
            v2.Resize((96, 128), interpolation=v2.InterpolationMode(interpolation)),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(spec.mean, spec.std),
        ]
    )(Image.fromarray(film).convert("RGB"))
    ours = to_tensor(spec, spec.to_gray(film)[None])[0]
    assert (ours - theirs).abs().max() < 1e-6


def test_the_fordham_crop():
    spec = Preprocess(crop=CROPS["lung"])
    assert spec.box_in(100, 200) == (15, 90, 40, 160)
    film = np.zeros((100, 200), np.uint8)
    film[15:90, 40:160] = 255
    assert (spec.to_gray(film) == 255).all()


def test_maps_come_back_to_where_the_pixels_were():
    spec = Preprocess(size=(50, 50), crop=(0.25, 0.75, 0.5, 1.0))
    film = np.zeros((400, 600), np.uint8)
    film[200:240, 450:510] = 255
    back = spec.to_original(spec.to_gray(film).astype(np.float32) / 255, film.shape)
    assert back.shape == film.shape and back.dtype == np.float32
    assert np.abs(back - film / 255.0).mean() < 0.002
    assert not back[:100].any() and not back[:, :300].any()


def test_a_spec_survives_json():
    spec = Preprocess(size=(160, 192), crop=CROPS["lung"], interpolation="bicubic")
    assert Preprocess.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    with pytest.raises(ValueError, match="zoom"):
        Preprocess.from_dict({"zoom": 1})


def test_only_grey_images():
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        Preprocess().to_gray(np.zeros((3, 4, 5), np.uint8))
