"""The single door: a film, or one sentence why not; and what is noticed on the way."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.reader import XrayReadError, input_checks, read_xray


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_a_path_bytes_and_a_stream_give_the_same_film(tmp_path):
    content = png(make_phantom(1, size=160).film.gray8)
    (tmp_path / "film").write_bytes(content)
    films = [read_xray(source) for source in (content, io.BytesIO(content), tmp_path / "film", str(tmp_path / "film"))]
    assert all(np.array_equal(film.pixels, films[0].pixels) for film in films) and films[0].pixels.shape == (160, 160)


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.zeros((64, 64), np.float32), ("small", "flat grey")),
        (np.linspace(0, 1, 200 * 400, dtype=np.float32).reshape(200, 400), ("long or wide",)),
        (np.tile(np.float32([0.5, 0.55]), (200, 100)), ("little contrast",)),
        (np.tile(np.float32([0, 1]), (200, 100)), ("few grey levels",)),
    ],
)
def test_what_is_unlike_a_film_is_noticed(pixels, says):
    notes = input_checks(pixels)
    assert len(notes) == len(says) and all(part in note for part, note in zip(says, notes, strict=True))


def test_a_film_is_unremarkable():
    assert input_checks(make_phantom(1).film.pixels) == ()


def test_an_error_holds_nothing_of_the_decoders():
    with pytest.raises(XrayReadError, match="cut short|damaged") as raised:
        read_xray(png(make_phantom(1, size=160).film.gray8)[:2000])
    error = raised.value
    assert error.__cause__ is None and error.__context__ is None
    with pytest.raises(XrayReadError, match="pixels"):
        read_xray(png(make_phantom(1, size=160).film.gray8), max_pixels=100)
