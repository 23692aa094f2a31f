"""Synthetic frontal chest films with planted opacities whose masks and boxes are exactly known.

A phantom is a projection: the attenuation of body, bones, heart and vessels is summed along the beam, the air of the
lungs is subtracted, and a film curve turns the sum into brightness. It shows no person and needs no download, so it
serves tests, examples and localisation controls. It is not a substitute for real films.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from hf_pneumo.imaging.xray import Xray

Array = np.ndarray
Box = tuple[int, int, int, int]

MIN_SIZE = 48  # below this a rib is thinner than a pixel
RADIUS = (0.16, 0.30)  # of an opacity, in half image heights

# 5 x 7 bitmaps of the side markers that radiographers lay on the cassette.
_LETTERS = {
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
}


@dataclass(frozen=True)
class Phantom:
    """One synthetic film and what was planted in it.

    pixels: float32 (H, W) in [0, 1], 0 = black. label: 0 normal, 1 pneumonia. boxes: one (x, y, w, h) in pixels per
    opacity, tight around it. mask: bool (H, W), union of the opacities. lungs: bool (H, W), both lung fields.
    """

    pixels: Array
    label: int
    boxes: list[Box]
    mask: Array
    lungs: Array

    @property
    def film(self) -> Xray:
        """The phantom as the reader gives it when it is stored as an 8-bit PNG file."""
        return Xray(self.pixels, "PNG", 8)


class _Body(NamedTuple):
    """One patient: lengths in half image heights (the film spans -1 to 1), x to the image's right, y down."""

    apex: float
    base: tuple[float, float]  # height of the two diaphragm domes, image left and right
    width: float  # inner half width of the chest at its base
    heart: float  # how far the heart bulges into the image's right lung
    rib_pitch: float
    rib_phase: float
    rib_drop: float
    girth: float  # thickness of the soft tissue
    bubble: float  # air in the stomach, 0 = none
    arms: float


class _Plane(NamedTuple):
    """Where each pixel centre lies in the patient: coordinates (H, W) and the map from patient to pixel."""

    x: Array
    y: Array
    forward: Array  # (2, 3): patient (x, y, 1) -> pixel (column, row)


def make_phantom(seed: int, *, size: int = 256, opacities: int = 0) -> Phantom:
    """Draw one square chest phantom.

    The same `seed` gives the same patient, exposure and noise for every number of `opacities`, so a normal film and its
    diseased twin differ by the opacities alone. `size` is in pixels, at least 48; `opacities` is 0, 1 or 2.
    Raises ValueError or TypeError for anything else.
    """
    _check(seed, size, opacities)
    anatomy, disease, grain = (np.random.default_rng([seed, stream]) for stream in range(3))
    body, plane = _draw_body(anatomy), _draw_plane(anatomy, size)
    depth = np.maximum(*(_lung_depth(body, plane, side) for side in (-1, 1)))
    lungs = depth > 0
    attenuation = _tissue(body, plane, depth) + _bones(body, plane, anatomy) + _vessels(plane, depth, anatomy)
    shadow, masks = _plant(disease, plane, depth, opacities)
    pixels = _expose(attenuation + shadow, plane, anatomy, grain)
    mask = np.logical_or.reduce([np.zeros_like(lungs), *masks])
    return Phantom(pixels, int(opacities > 0), [_tight_box(m) for m in masks], mask, lungs)


def phantoms(n: int, *, seed: int = 0, size: int = 256) -> Iterator[Phantom]:
    """Yield `n` different phantoms, half normal and half with one or two opacities.

    Every consecutive pair holds one of each in random order, so a shorter run is a prefix of a longer one.
    """
    if n < 0:
        raise ValueError(f"`n` is {n}; give the number of phantoms, 0 or more.")
    for index in range(n):
        pair = np.random.default_rng([seed, index // 2])
        sick = bool(pair.integers(2)) == bool(index % 2)
        count = int(pair.integers(1, 3))
        film_seed = int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])
        yield make_phantom(film_seed, size=size, opacities=count if sick else 0)


def _check(seed: int, size: int, opacities: int) -> None:
    for name, value in (("seed", seed), ("size", size), ("opacities", opacities)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"`{name}` is {value!r}; give an integer.")
    if seed < 0:
        raise ValueError(f"`seed` is {seed}; give an integer of 0 or more.")
    if size < MIN_SIZE:
        raise ValueError(f"`size` is {size} pixels; give at least {MIN_SIZE}.")
    if opacities not in (0, 1, 2):
        raise ValueError(f"`opacities` is {opacities}; allowed are 0, 1 and 2.")


def _draw_body(rng: np.random.Generator) -> _Body:
    right = rng.uniform(0.42, 0.60)
    return _Body(
        apex=rng.uniform(-0.80, -0.72),
        base=(right, right + rng.uniform(0.02, 0.10)),
        width=rng.uniform(0.65, 0.77),
        heart=rng.uniform(0.16, 0.30),
        rib_pitch=rng.uniform(0.145, 0.175),
        rib_phase=rng.uniform(0, 0.15),
        rib_drop=rng.uniform(0.20, 0.34),
        girth=rng.uniform(0.92, 1.08),
        bubble=rng.uniform(0.12, 0.3) * (rng.random() < 0.6),
        arms=rng.uniform(0.0, 0.35),
    )


def _draw_plane(rng: np.random.Generator, size: int) -> _Plane:
    """Small rotation, scale and shift of the patient on the film."""
    angle, scale = np.deg2rad(rng.uniform(-5, 5)), rng.uniform(0.90, 1.06)
    shift = rng.uniform(-0.05, 0.05, 2)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = size / 2
    forward = np.column_stack([half * turn, half * (shift + 1) - 0.5])
    rows, columns = np.mgrid[0:size, 0:size]
    inverse = np.linalg.inv(forward[:, :2])
    offset = np.stack([columns - forward[0, 2], rows - forward[1, 2]])
    x, y = np.tensordot(inverse, offset, axes=1)
    return _Plane(x.astype(np.float32), y.astype(np.float32), forward)


def _bump(value: Array, centre: float, width: float) -> Array:
    return np.exp(-(((value - centre) / width) ** 2))


def _step(value: Array, width: float) -> Array:
    """0 below, 1 above zero, with an edge of the given width."""
    ramp = np.clip(value / width + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _chest_half_width(body: _Body, y: Array) -> Array:
    """Inner half width of the rib cage: a quarter of a superellipse from the apex to the base."""
    t = np.clip((y - body.apex + 0.06) / 1.05, 0, 1)
    return body.width * (1 - (1 - t) ** 2.4) ** 0.55


def _lung_depth(body: _Body, plane: _Plane, side: int) -> Array:
    """Distance from the edge of one lung field, positive inside. Side -1 is the image's left, the patient's right."""
    out, y = side * plane.x, plane.y
    if side < 0:
        medial = 0.09 + 0.075 * _bump(y, 0.32, 0.28)
    else:
        medial = 0.10 + 0.05 * _bump(y, -0.36, 0.09) + body.heart * _bump(y, 0.48, 0.36)
    dome = body.base[side > 0] + 0.95 * np.clip(out - 0.30, -0.25, None) ** 2
    edges = (
        _chest_half_width(body, y) - 0.02 - out,
        out - medial,
        y - body.apex - 1.3 * (out - 0.27) ** 2,
        0.8 * (dome - y),
    )
    softness = 0.025  # rounds the corners where two borders meet
    return -softness * np.log(sum(np.exp(np.clip(-edge / softness, -60, 60)) for edge in edges))


def _tissue(body: _Body, plane: _Plane, depth: Array) -> Array:
    """Soft tissue of neck, shoulders, trunk, heart and abdomen, less the air in lungs, trachea and stomach."""
    x, y = plane.x, plane.y
    out = np.abs(x)
    half = 0.85 + 0.08 * y + (0.10 + body.arms) * _step(-0.25 - y, 0.6)
    collar = -0.70 - 0.30 * np.exp(-(out - 0.17) / 0.16) + 0.9 * np.clip(out - 0.72, 0, None) ** 2
    outline = np.clip(1 - (out / half) ** 3, 0, 1) ** 0.6 * _step(y - collar, 0.14) ** 0.7
    trunk = body.girth * outline * (0.60 + 0.10 * _bump(x, 0, 0.45) - 0.16 * _step(-0.55 - y, 0.6))
    dome = np.where(x < 0, body.base[0], body.base[1])
    abdomen = 0.20 * _step(y - dome + 0.02, 0.35) * outline
    heart = 0.18 * np.clip(1 - ((x - 0.12) / 0.36) ** 2 - ((y - 0.32) / 0.44) ** 2, 0, 1) ** 0.5
    vessels = 0.08 * _step(0.13 - out, 0.08) * _step(y + 0.62, 0.25)
    hila = 0.10 * sum(_bump(x, s * 0.19, 0.07) * _bump(y, -0.06 + 0.02 * s, 0.13) for s in (-1, 1))
    air = 0.50 * np.tanh(np.clip(depth, 0, None) / 0.13) ** 0.8
    trachea = 0.11 * _step(0.045 - np.abs(x + 0.01), 0.025) * _step(-0.22 - y, 0.1)
    stomach = body.bubble * _step(1 - ((x - 0.36) / 0.15) ** 2 - ((y - body.base[1] - 0.16) / 0.09) ** 2, 0.6)
    return trunk + (abdomen + heart + vessels + hila) * (outline > 0) - air - (trachea + stomach) * outline


def _bones(body: _Body, plane: _Plane, rng: np.random.Generator) -> Array:
    x, y = plane.x, plane.y
    total = _spine(x, y, rng.uniform(0, 0.13))
    strength = rng.uniform(0.09, 0.14)
    for side in (-1, 1):
        out = side * x
        total += _rib_cage(body, out, y, strength, rng) + _shoulder_girdle(body, out, y, rng)
    return total


def _spine(x: Array, y: Array, phase: float) -> Array:
    column = _step(0.075 - np.abs(x), 0.025)
    disc = np.abs((y + phase) % 0.13 - 0.065) / 0.065  # 1 in the disc space, 0 in mid-vertebra
    pedicles = _bump(np.abs(x), 0.045, 0.016) * _bump(disc, 0.25, 0.35)
    return column * (0.17 - 0.09 * _bump(disc, 1, 0.25)) + 0.08 * pedicles


def _cortex(distance: Array, half: float | Array) -> Array:
    """A tubular bone seen from the side: dense edges, lighter marrow."""
    t = np.abs(distance) / half
    return _step(1 - t, 0.35) * (0.55 + 0.45 * np.clip(t, 0, 1) ** 2)


def _rib_cage(body: _Body, out: Array, y: Array, strength: float, rng: np.random.Generator) -> Array:
    """Back arcs from the spine to the chest wall, fainter front arcs from the wall down to the cartilage."""
    pitch, half = body.rib_pitch, 0.19 * body.rib_pitch
    wall = _chest_half_width(body, y) + 0.015
    u = np.clip(out / np.maximum(wall, 1e-3), 0, 1.2)
    jitter = rng.uniform(0.8, 1.2, 32)
    top = body.apex + body.rib_phase - 0.1
    reach = _step(out - 0.06, 0.03) * _step(1.02 - u, 0.05) * _step(y - body.apex - 0.02, 0.06) * _step(0.92 - y, 0.3)
    edge_on = 1 + 1.6 * np.clip(u, 0, 1) ** 8  # at the wall the beam runs along the rib

    def arcs(centre: Array, slope: Array) -> Array:
        position = (y - centre - top) / pitch + 8
        index = np.clip(np.round(position), 0, 31).astype(int)
        distance = (position - np.round(position)) * pitch / np.sqrt(1 + slope**2)
        return _cortex(distance, half) * jitter[index]

    back = arcs(-0.07 * np.sin(np.pi * u) + body.rib_drop * u**3, 0.9 * u**2)
    fall = body.rib_drop + 0.42 * np.clip(1 - u, 0, None) ** 0.8
    front = arcs(fall, np.full_like(u, 0.5)) * _step(u - 0.45, 0.35) * _step(0.45 - y, 0.3)
    return strength * reach * edge_on * (back + 0.5 * front)


def _shoulder_girdle(body: _Body, out: Array, y: Array, rng: np.random.Generator) -> Array:
    tilt, height = rng.uniform(0.12, 0.30), body.apex + rng.uniform(0.08, 0.14)
    line = height - tilt * (out - 0.06) + 0.035 * np.sin(2 * np.pi * (out - 0.06) / 0.65)
    clavicle = _cortex(y - line, 0.028) * _step(out - 0.07, 0.03) * _step(0.66 - out, 0.08)
    blade = _step(out - 0.60 - 0.12 * (y + 0.4), 0.05) * _step(0.86 - out, 0.2) * _bump(y, -0.42, 0.30)
    shaft = np.clip((y + 0.66) / 0.9, 0, 1)
    humerus = np.hypot(out - 0.93 - 0.10 * shaft, y + 0.66 - 0.9 * shaft)
    arm = _cortex(humerus, 0.055 + 0.055 * _bump(shaft, 0, 0.1))
    return 0.13 * clavicle + 0.07 * blade + 0.11 * arm


def _vessels(plane: _Plane, depth: Array, rng: np.random.Generator) -> Array:
    """Vessels that fan out from the hila, branch and thin towards the pleura; a faint mottle between them."""
    size = depth.shape[0]
    side = np.repeat([-1.0, 1.0], 9)
    start = np.stack([side * 0.15, np.linspace(-0.14, 0.12, 9)[np.arange(18) % 9]])
    heading = np.linspace(-1.25, 1.35, 9)[np.arange(18) % 9] + rng.normal(0, 0.15, 18)  # 0 points to the side
    length = rng.uniform(0.35, 0.65, 18)
    total = np.zeros_like(depth)
    for width, strength in ((0.016, 0.10), (0.010, 0.075), (0.006, 0.055)):
        points = _arcs(rng, side, start, heading, length)
        total += strength * _trace(plane, points, length / points.shape[-1], max(width * size / 2, 0.5))
        fork = rng.integers(points.shape[-1] // 4, points.shape[-1], (3, side.size))
        start = np.concatenate([points[:, np.arange(side.size), at] for at in fork], axis=1)
        heading = np.concatenate([heading + turn for turn in rng.normal(0, 0.55, fork.shape)])
        length, side = np.tile(0.5 * length, 3), np.tile(side, 3)
    mottle = ndimage.gaussian_filter(rng.standard_normal(depth.shape, np.float32), size / 110)
    return (total + 0.012 * mottle / mottle.std()) * np.tanh(np.clip(depth, 0, None) / 0.06)


def _arcs(rng: np.random.Generator, side: Array, start: Array, heading: Array, length: Array) -> Array:
    """Gently bent curves, (2, curves, samples) in patient coordinates."""
    t = np.linspace(0, 1, 240)
    angle = heading[:, None] + rng.normal(0.15, 0.35, side.size)[:, None] * t
    stride = np.stack([side[:, None] * np.cos(angle), np.sin(angle)]) * (length / t.size)[:, None]
    return start[..., None] + np.cumsum(stride, axis=-1)


def _trace(plane: _Plane, points: Array, stride: Array, blur: float) -> Array:
    """Lines of height about 1 with a Gaussian profile of `blur` pixels through `points`, tapering along each curve."""
    size = plane.x.shape[0]
    taper = np.linspace(1.0, 0.4, points.shape[-1])
    weight = (stride[:, None] * taper).ravel() * size / 2 * blur * np.sqrt(2 * np.pi)
    columns, rows = np.round(plane.forward[:, :2] @ points.reshape(2, -1) + plane.forward[:, 2:]).astype(int)
    seen = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    drawn = np.bincount(rows[seen] * size + columns[seen], weight[seen], size * size)
    return ndimage.gaussian_filter(drawn.reshape(size, size), blur)


def _plant(rng: np.random.Generator, plane: _Plane, depth: Array, count: int) -> tuple[Array, list[Array]]:
    """Attenuation of `count` soft-edged opacities inside the lungs and the mask of each at half its height."""
    shadow, masks = np.zeros_like(depth), []
    free = np.ones(depth.shape, bool)
    for _ in range(count):
        radius = rng.uniform(*RADIUS)
        room = free & (depth > min(0.6 * radius, 0.9 * depth[free].max()))
        row, column = np.argwhere(room)[rng.integers(np.count_nonzero(room))]
        dx, dy = plane.x - plane.x[row, column], plane.y - plane.y[row, column]
        lung = plane.x * plane.x[row, column] > 0
        profile = _blob(rng, dx, dy, radius) * _step(depth, 0.06) * lung
        texture = ndimage.gaussian_filter(
            rng.standard_normal(depth.shape, np.float32), 0.03 * depth.shape[0], truncate=2.5
        )
        shadow += rng.uniform(0.22, 0.40) * profile * (1 + 0.18 * np.clip(texture / texture.std(), -2, 2))
        masks.append((profile >= 0.5) & (depth > 0))
        free &= ~lung  # one in each lung, so that two never touch
    return shadow, masks


def _blob(rng: np.random.Generator, dx: Array, dy: Array, radius: float) -> Array:
    """1 in the core, 0 outside, with an uneven rim: an ellipse whose radius wobbles with the angle."""
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.35)
    along, across = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    angle = np.arctan2(across, along)
    rim = 1 + sum(rng.uniform(0, 0.12) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
    return _step(1.0 - np.hypot(along / stretch, across) / (radius * rim), rng.uniform(0.5, 0.9))


def _tight_box(mask: Array) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def _expose(attenuation: Array, plane: _Plane, rng: np.random.Generator, grain: np.random.Generator) -> Array:
    """Focus blur, film curve, quantum noise, collimation and the side marker."""
    size = attenuation.shape[0]
    blurred = ndimage.gaussian_filter(attenuation, rng.uniform(0.15, 0.55) * size / 128)
    blurred += rng.uniform(-0.06, 0.06) * plane.x + rng.uniform(-0.05, 0.05) * plane.y  # heel effect of the tube
    slope, middle = rng.uniform(3.9, 5.6), rng.uniform(0.40, 0.54)
    floor, ceiling = rng.uniform(0.0, 0.06), rng.uniform(0.86, 1.0)
    film = floor + (ceiling - floor) / (1 + np.exp(-slope * (blurred - middle)))
    noise = ndimage.gaussian_filter(grain.standard_normal(film.shape, np.float32), 0.5)
    film += rng.uniform(0.006, 0.02) * noise / noise.std()
    top, bottom, left, right = (rng.uniform(0, 0.04, 4) * (rng.random(4) < 0.3) * size).astype(int)
    for strip in (np.s_[:top], np.s_[size - bottom :], np.s_[:, :left], np.s_[:, size - right :]):
        film[strip] = floor / 2
    _stamp(film, rng)
    return np.clip(film, 0, 1).astype(np.float32)


def _stamp(film: Array, rng: np.random.Generator) -> None:
    """The side marker in an upper corner: R lies at the patient's right, the image's left."""
    size, letter = film.shape[0], "RL"[rng.integers(2)]
    scale = max(1, round(size * rng.uniform(0.007, 0.011)))
    bitmap = np.kron([[int(bit) for bit in row] for row in _LETTERS[letter]], np.ones((scale, scale))) > 0
    height, width = bitmap.shape
    row, inset = int(size * rng.uniform(0.03, 0.12)), int(size * rng.uniform(0.03, 0.07))
    column = inset if letter == "R" else size - inset - width
    if rng.random() < 0.85:
        film[row : row + height, column : column + width][bitmap] = rng.uniform(0.85, 1.0)
