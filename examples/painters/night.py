"""A swirling night over a wheat field: long curved strokes of thick oil paint."""

from __future__ import annotations

import numpy as np

from .common import (
    Oils,
    Rng,
    Shape,
    grid,
    jittered,
    mix,
    noise,
    palette,
    profile,
    ramp,
    rgb,
    scattered,
    smoothstep,
    trace,
)

ASPECT = (768, 608)

SKY = palette("0b1640 14307a 1f55a8 3f86c4 8fc4d4 d9e6c8")
FAR = palette("17275c 2c4a8c 4e78b0")
HILLS = palette("0d2f3f 1b5a5e 3f8a76 86b48a")
WHEAT = palette("6b3d12 b86f14 e2a01e f4cf52 fbe9a0")
TREE = palette("06140f 0d2a1c 1f4a26 55662a 8a6a24")
# x, y, radius and turn of each swirl; x, y and size of each star.
SWIRLS = [(0.42, 0.20, 0.105, 1.0), (0.62, 0.29, 0.07, -0.8), (0.17, 0.34, 0.06, 0.7), (0.28, 0.07, 0.04, -0.5)]
STARS = [
    (0.08, 0.10, 0.026),
    (0.20, 0.19, 0.018),
    (0.32, 0.35, 0.02),
    (0.57, 0.08, 0.024),
    (0.71, 0.17, 0.017),
    (0.51, 0.37, 0.015),
    (0.06, 0.27, 0.015),
    (0.75, 0.33, 0.02),
    (0.95, 0.36, 0.018),
]
MOON = (0.885, 0.12, 0.05)


class Scene:
    """What the brush follows: a colour, a direction and a fineness at every point."""

    def __init__(self, shape: Shape, rng: Rng) -> None:
        self.x, self.y = grid(shape)
        self.rng = rng
        self.fine = np.zeros(shape, np.float32)
        self.sky()
        self.stars()
        self.land()
        self.trees()

    def cover(self, mask: np.ndarray, colour: np.ndarray, angle: np.ndarray, fine: float) -> None:
        """Put something in front of what is there."""
        self.colour = np.where(mask[..., None], colour, self.colour)
        self.angle = np.where(mask, angle, self.angle)
        self.fine = np.where(mask, fine, self.fine)

    def sky(self) -> None:
        """Bands of blue along the streamlines of a few whirls."""
        x, y, shape = self.x, self.y, self.x.shape
        stream = y + 0.028 * np.sin(7 * x + 1) + 0.03 * (noise(shape, 3, self.rng, 3) - 0.5)
        for cx, cy, radius, turn in SWIRLS:
            stream = stream + 2.6 * turn * radius * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
        for cx, cy, size in [*STARS, MOON]:
            stream = stream + 2.2 * size * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (1.3 * size) ** 2))
        down, right = np.gradient(stream)
        self.angle = np.arctan2(-right, down)
        bands = 0.5 + 0.5 * np.sin(stream * 95 + 5 * noise(shape, 6, self.rng, 2))
        level = (
            0.10 + 0.42 * smoothstep(-0.05, 0.55, y) + 0.36 * (bands - 0.5) + 0.3 * (noise(shape, 4, self.rng) - 0.5)
        )
        for cx, cy, radius, _ in SWIRLS:
            level = level + 0.34 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (0.62 * radius) ** 2)) * (0.4 + bands)
        self.colour = ramp(SKY, level)

    def stars(self) -> None:
        """Each star a pale heart in rings of yellow, orange and green; the moon a crescent."""
        glow = palette("fff6d0 fde27a f6b52e f0c85a b9d08a 6fb0a8 3f86c4")
        for cx, cy, size in [*STARS, MOON]:
            r = np.hypot(self.x - cx, self.y - cy) / size
            rings = 0.08 * np.sin(r * 9)
            self.colour = mix(self.colour, ramp(glow, r / 2.6 + rings), 0.95 * smoothstep(2.8, 1.2, r))
            self.fine = np.maximum(self.fine, smoothstep(2.6, 1.6, r))
            around = np.arctan2(self.y - cy, self.x - cx) + np.pi / 2
            self.angle = np.where(r < 2.3, around, self.angle)
        cx, cy, size = MOON
        r = np.hypot(self.x - cx, self.y - cy) / size
        bitten = np.hypot(self.x - cx - 0.5 * size, self.y - cy + 0.12 * size) / size
        moon = (r < 1) & (bitten > 0.85)
        self.colour[(r < 1) & ~moon] = rgb("e07a2a")
        self.colour[moon] = rgb("fff2b0")

    def land(self) -> None:
        """Blue hills, green slopes, then the wheat with its rows."""
        x, y, rng, shape = self.x, self.y, self.rng, self.x.shape
        line = x[0]
        texture = noise(shape, 9, rng, 4)
        layers = [(0.475, 0.030, 3.0, FAR, 70.0), (0.530, 0.035, 2.4, HILLS, 80.0), (0.600, 0.028, 2.0, WHEAT, 60.0)]
        for base, swing, bumps, colours, bands in layers:
            ridge = base + swing * profile(line, bumps, rng, 2)
            depth = y - ridge[None]
            slope = np.gradient(ridge) / np.gradient(line)
            rows = 0.5 + 0.5 * np.sin(depth * bands + 7 * texture + 3 * np.sin(5 * x))
            tone = 0.15 + 0.5 * rows + 0.5 * (texture - 0.4) + 0.8 * np.exp(-np.abs(depth) / 0.01)
            angle = np.arctan(slope)[None] * np.exp(-depth / 0.12) + 0.9 * (texture - 0.5)
            if colours is WHEAT:
                tone = 0.25 + 0.3 * rows + 1.0 * (texture - 0.4) + 0.35 * np.exp(-np.abs(depth) / 0.03)
                angle = -1.25 + 0.9 * np.sin(6 * x + 20 * depth) * 0.5 + 1.6 * (texture - 0.5)
            self.cover(depth > 0, ramp(colours, tone), angle, 0.25)
            outline = np.abs(depth) < 0.0035
            self.cover(outline, np.broadcast_to(colours[0] * 0.7, (*shape, 3)), np.arctan(slope)[None] + 0 * x, 0.6)
        self.houses()

    def houses(self) -> None:
        """A few roofs with lit windows in the fold of the hills."""
        for cx, foot, half in [
            (0.33, 0.572, 0.022),
            (0.385, 0.582, 0.028),
            (0.455, 0.578, 0.02),
            (0.505, 0.588, 0.025),
        ]:
            inside = np.abs(self.x - cx) / half
            wall = (inside < 1) & (self.y < foot) & (self.y > foot - half)
            roof = (self.y <= foot - half) & (self.y > foot - half * (2.0 - 1.0 * inside)) & (inside < 1.15)
            window = (np.abs(inside - 0.45) < 0.2) & (np.abs(self.y - foot + 0.5 * half) < 0.3 * half)
            wide = (*self.x.shape, 3)
            self.cover(wall, np.broadcast_to(rgb("7fa6c0"), wide), np.full(self.x.shape, 1.5), 1.0)
            self.cover(roof, np.broadcast_to(rgb("c4502a"), wide), 0.7 * np.sign(self.x - cx), 1.0)
            self.cover(window, np.broadcast_to(rgb("ffdc5e"), wide), np.full(self.x.shape, 1.5), 1.0)

    def trees(self) -> None:
        """Dark cypresses that climb like flames."""
        x, y = self.x, self.y
        for cx, top, foot, half in [(0.845, 0.20, 0.95, 0.055), (0.770, 0.37, 0.92, 0.036), (0.922, 0.43, 0.92, 0.034)]:
            t = np.clip((y - top) / (foot - top), 0, 1)
            sway = cx + 0.012 * np.sin(9 * t + cx * 20) * (1 - 0.5 * t)
            ragged = 1 + 0.5 * (noise(x.shape, (16, 30), self.rng, 3) - 0.5)
            reach = half * np.sin(np.pi * np.clip(0.03 + 0.80 * t, 0, 1)) ** 0.8 * ragged
            across = (x - sway) / (reach + 1e-6)
            licks = 0.5 + 0.5 * np.sin(9 * across + 26 * t + 6 * noise(x.shape, 8, self.rng, 3))
            angle = -np.pi / 2 + 0.55 * across * (1 - t) + 0.5 * np.sin(22 * t + 3 * across)
            inside = (np.abs(across) < 1) & (y > top) & (y < foot)
            self.cover(inside, ramp(TREE, 0.75 * licks - 0.05 + 0.25 * (across < -0.5)), angle, 0.5)


def paint(shape: Shape, rng: Rng) -> np.ndarray:
    """The picture, from an orange-brown ground through three sizes of brush."""
    scene = Scene(shape, rng)
    oils = Oils(np.broadcast_to(rgb("8a5a2a"), (*shape, 3)), rng)
    layers = [(0.022, 0.10, 0.3, 0.013, 4, 4), (0.0125, 0.085, 0.75, 0.0075, 6, 6), (0.0075, 0.045, 1.1, 0.0065, 7, 7)]
    for width, length, finest, spacing, light, tint in layers:
        starts = scattered(shape, spacing, rng)
        x, y = starts.astype(int).T
        fine = scene.fine[y, x]
        starts = starts[fine <= finest] if width > 0.008 else starts[rng.uniform(size=len(starts)) < 0.25 + fine]
        x, y = starts.astype(int).T
        angle = scene.angle + 0.25 * (noise(shape, 12, rng, 2) - 0.5)
        lengths = length * (1 - 0.65 * scene.fine[y, x]) * rng.uniform(0.6, 1.3, len(x))
        colours = jittered(scene.colour[y, x], rng, light, tint)
        widths = width * rng.uniform(0.7, 1.2, len(x)) * (1 - 0.3 * scene.fine[y, x])
        oils.strokes(trace(angle, starts, lengths), widths, colours, body=1.0, dry=0.3, streak=0.14)
    return oils.lit(relief=1.15, gloss=0.45)
