"""What is no upright frontal chest film is not judged, whatever the checkpoint; films and phantoms are."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.reader import Xray, read_xray
from hf_pneumo.imaging.xray import Projection
from hf_pneumo.models.ood_detector import Suspicion
from hf_pneumo.serving.admission import CLEARLY_TURNED, FAR_OUTSIDE, Reason, detail_share, refusal_of

RNG = np.random.default_rng(0)
DOWN, ACROSS = np.mgrid[0:300, 0:240] / 300
FINE = Suspicion(0.0, None, -100.0)


def film(gray: np.ndarray, **facts) -> Xray:
    return Xray(gray.astype(np.float32) / np.float32(255), "PNG", 8, **facts)


def page_of_text(inverted: bool = False) -> np.ndarray:
    page = Image.new("L", (800, 1040), 255)
    pen = ImageDraw.Draw(page)
    for line in range(60):
        pen.text((40, 20 + 16 * line), "The lungs are clear, the heart is of normal size. " * 2, fill=0)
    text = np.asarray(page)
    return 255 - text if inverted else text


def smooth(sigma: float) -> np.ndarray:
    field = gaussian_filter(RNG.standard_normal((300, 240)), sigma)
    return 255 * (field - field.min()) / np.ptp(field)


NOTHING = {
    "white": np.full((300, 240), 255),
    "black": np.zeros((300, 240)),
    "grey": np.full((300, 240), 128),
    "scanned white page": np.clip(RNG.normal(250, 2, (300, 240)), 0, 255),
    "white page with a dot": np.where((DOWN < 0.05) & (ACROSS < 0.05), 0, 255),
    "fading": 255 * ACROSS,
    "fading down": 255 * DOWN,
    "clouds": smooth(40),
    "one pixel": np.zeros((1, 1)),
}
NO_FILM = {
    "noise": RNG.integers(0, 256, (300, 240)),
    "coarse noise": np.kron(RNG.integers(0, 256, (75, 60)), np.ones((4, 4))),
    "text": page_of_text(),
    "white text on black": page_of_text(inverted=True),
    "chequers": 255 * ((DOWN * 30).astype(int) % 2 ^ (ACROSS * 30).astype(int) % 2),
    "ribbon": np.tile(255 * ACROSS[:60], (1, 1)),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_a_picture_of_nothing_has_no_content(kind):
    assert refusal_of(film(NOTHING[kind]), FINE).reason == "no content"


@pytest.mark.parametrize("kind", NO_FILM)
def test_noise_and_text_are_no_chest_films(kind):
    assert refusal_of(film(NO_FILM[kind]), FINE).reason == "not a frontal chest film"


@pytest.mark.parametrize(
    "name", ["chelsea.png", "astronaut.png", "page.png", "text.png", "grass.png", "camera.png", "moon.png", "coins.png"]
)
def test_photographs_are_no_chest_films(name):
    folder = Path(find_spec("skimage").origin).parent / "data"
    if not (folder / name).is_file():
        pytest.skip(f"this scikit-image has no {name}")
    assert refusal_of(read_xray(folder / name), None).reason == "not a frontal chest film"


def test_phantoms_and_their_exposures_are_judged():
    for phantom in phantoms(20, size=192):
        for gamma in (0.5, 1.0, 2.0):
            assert refusal_of(film(255 * phantom.pixels**gamma), FINE) is None
            assert refusal_of(film(60 + 150 * phantom.pixels**gamma), None) is None


def test_a_pale_film_is_not_judged():
    (phantom,) = phantoms(1, size=192)
    for darkest in (0, 120, 200):
        refusal = refusal_of(film(darkest + 50 * phantom.pixels), FINE)
        assert refusal.reason == Reason.NO_CONTENT and "too little contrast" in refusal.sentence


def test_the_header_and_the_model_have_their_say():
    picture = np.rint(255 * next(iter(phantoms(1, size=192))).pixels)
    assert refusal_of(film(picture, view="LL", projection=Projection(lateral=True)), None).reason == Reason.LATERAL
    assert refusal_of(film(picture, view="AP"), None) is None
    turned = Suspicion(500.0, "upside down", CLEARLY_TURNED + 1)
    refusal = refusal_of(film(picture[::-1, ::-1]), turned)
    assert refusal.reason == Reason.TURNED and "upside down" in refusal.sentence
    assert refusal_of(film(255 - picture), turned._replace(turned="inverted, with dark bones")).reason == Reason.TURNED
    assert refusal_of(film(picture), turned._replace(gain=CLEARLY_TURNED)) is None
    assert refusal_of(film(picture), Suspicion(FAR_OUTSIDE + 1, None, -1.0)).reason == Reason.UNLIKE
    assert refusal_of(film(picture), Suspicion(FAR_OUTSIDE, None, -1.0)) is None


def test_detail_does_not_depend_on_resolution():
    picture = Image.fromarray(np.rint(255 * next(iter(phantoms(1, size=512))).pixels).astype(np.uint8))
    shares = [detail_share(np.asarray(picture.resize((side, side), Image.Resampling.BOX))) for side in (256, 512)]
    assert shares[0] == pytest.approx(shares[1], rel=0.05)
    assert detail_share(np.full((50, 50), 9, np.uint8)) == 0
    assert detail_share(RNG.integers(0, 256, (128, 128), dtype=np.uint8)) > 0.9
