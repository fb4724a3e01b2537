"""Sunset over a bay, in dots of unmixed colour: each tone is split into neighbours and complements."""

from __future__ import annotations

import numpy as np

from .common import (
    Oils,
    Rng,
    Shape,
    blurred,
    filled,
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
    spline,
)

ASPECT = (768, 560)

SKY = palette("3450a8 5670c4 8c86c8 d08aa8 f08a62 f8a840 fcd060")
SEA = palette("f9c874 e89a86 9a86c0 4f78b8 2f5ea0 234a86")
# The colours on the palette: nothing is mixed, only set side by side.
PURE = palette(
    "fff4c8 fde26a f9b82e f2862a e2532c c93352 e88aa8 b26ab8 7a52a8 4a4fb0 2f6fc4 58a6dc a6d4ea 4fb0a0 2f8a58 6fb048 "
    "b8cc4a 1f4a48 2a2450 6a3a30 c89858 f3d7b8"
)
SUN = (0.60, 0.335)
HORIZON = 0.40


def sky_and_sea(x: np.ndarray, y: np.ndarray, rng: Rng) -> np.ndarray:
    """The glow round the sun, long clouds, and its path on the water."""
    shape = x.shape
    far = np.hypot((x - SUN[0]) * 0.75, y - SUN[1])
    clouds = noise(shape, (14, 3.5), rng, 4)
    sky = ramp(SKY, 1 - far * 1.6 + 0.25 * (clouds - 0.5))
    sky = mix(sky, ramp(palette("7a52a8 c8508a f4703a ffd060"), 1 - far * 1.5), 0.85 * smoothstep(0.55, 0.72, clouds))
    sky = mix(sky, rgb("fffbe0"), smoothstep(0.046, 0.040, np.hypot(x - SUN[0], y - SUN[1])))
    depth = np.clip((y - HORIZON) / 0.33, 0, 1)
    ripples = noise(shape, (60, 9), rng, 3)
    sea = ramp(SEA, 0.06 + 0.85 * depth**0.7 + 0.4 * (ripples - 0.5))
    path = np.exp(-(((x - SUN[0]) / (0.03 + 0.16 * depth)) ** 2))
    sea = mix(
        sea, ramp(palette("f0803a fbc04e fff3b8"), ripples * 1.2), path * smoothstep(0.40, 0.60, ripples + 0.12 * path)
    )
    return np.where((y < HORIZON)[..., None], sky, sea)


def far_shore(picture: np.ndarray, x: np.ndarray, y: np.ndarray, rng: Rng) -> np.ndarray:
    """Violet headlands on the horizon and their reflections."""
    for base, swing, left, colours in [(0.035, 0.012, 0.0, "8a78b8 b890b8"), (0.05, 0.02, 0.72, "54549a 8a68a0")]:
        fade = smoothstep(left - 0.12, left + 0.1, x[0]) if left else smoothstep(0.5, 0.15, x[0])
        height = (base + swing * profile(x[0], 8, rng, 4)) * fade
        land = (y < HORIZON) & (y > HORIZON - height[None])
        picture = np.where(land[..., None], ramp(palette(colours), (y - HORIZON) / 0.05 + 1 + 0 * x), picture)
        mirror = (y >= HORIZON) & (y < HORIZON + 0.7 * height[None])
        picture = np.where(mirror[..., None], 0.6 * palette(colours)[0] + 0.4 * picture, picture)
    return picture


def boats(picture: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sails, hulls and what the water gives back of them."""
    shape = y.shape
    for cx, foot, s, sail in [
        (0.40, 0.52, 0.25, "fffbe8"),
        (0.80, 0.47, 0.15, "fff0d8"),
        (0.27, 0.435, 0.07, "fbe0d0"),
        (0.50, 0.425, 0.05, "c85a5a"),
    ]:
        main = spline([(cx, foot - s), (cx + 0.13 * s, foot - 0.5 * s), (cx + 0.42 * s, foot - 0.1 * s)], 20)
        main = np.concatenate([main, [(cx + 0.01, foot - 0.1 * s)]])
        jib = np.array(
            [(cx - 0.02 * s, foot - 0.86 * s), (cx - 0.33 * s, foot - 0.1 * s), (cx - 0.03 * s, foot - 0.12 * s)]
        )
        hull = spline(
            [
                (cx - 0.42 * s, foot - 0.07 * s),
                (cx - 0.2 * s, foot + 0.05 * s),
                (cx + 0.3 * s, foot + 0.05 * s),
                (cx + 0.5 * s, foot - 0.08 * s),
            ],
            20,
        )
        light = np.clip((foot - y) / s, 0, 1)
        for outline, colour, shade in [(main, sail, "f0a878"), (jib, "e8e4f4", "7a78c8"), (hull, "2a1a48", "6a2a3a")]:
            mask = filled(shape, outline)
            mirrored = filled(shape, np.stack([outline[:, 0], 2 * foot + 0.06 * s - outline[:, 1]], -1))
            body = mix(rgb(shade) + 0 * picture, rgb(colour), light)
            picture = mix(picture, 0.8 * body + 0.1, 0.55 * mirrored)
            picture = mix(picture, body, mask)
    return picture


def foreground(picture: np.ndarray, x: np.ndarray, y: np.ndarray, rng: Rng) -> np.ndarray:
    """A grassy bank with flowers, and a tree leaning in from the left."""
    shape = x.shape
    bank = 0.615 + 0.10 * smoothstep(0.1, 0.75, x) - 0.03 * smoothstep(0.75, 1, x) + 0.006 * profile(x[0], 20, rng, 3)
    grass = noise(shape, (14, 22), rng, 4)
    tone = ramp(palette("16384a 1f5a50 3f8a48 8ab044 e6cc52"), grass + 0.5 * np.exp(-np.abs(y - bank) / 0.012) - 0.12)
    picture = np.where((y > bank)[..., None], tone, picture)
    trunk = [(0.02, 0.75), (0.075, 0.55), (0.085, 0.40), (0.12, 0.25), (0.17, 0.10)]
    limbs = [
        (trunk, 0.05),
        ([(0.085, 0.42), (0.16, 0.30), (0.26, 0.22)], 0.02),
        ([(0.1, 0.32), (0.06, 0.2), (0.03, 0.1)], 0.02),
    ]
    for points, width in limbs:
        path = spline(points, 60)
        for number, point in enumerate(path):
            reach = width * (0.7 - 0.5 * number / 60)
            near = np.hypot(x - point[0], y - point[1]) < reach
            side = (x - point[0]) / reach
            picture = np.where(near[..., None], ramp(palette("2a1a48 4a2a50 8a4a3a e89a4a"), 0.5 + 0.5 * side), picture)
    crown = np.full(shape, -1.0, np.float32)
    for cx, cy, r in [
        (0.06, 0.07, 0.13),
        (0.19, 0.06, 0.11),
        (0.28, 0.13, 0.075),
        (0.02, 0.18, 0.07),
        (0.30, 0.045, 0.08),
    ]:
        crown = np.maximum(crown, 1.25 - np.hypot(x - cx, (y - cy) * 1.2) / r)
    leaves = noise(shape, 16, rng, 4)
    leafy = crown + 1.3 * (leaves - 0.5) > 0.3
    shades = ramp(
        palette("1a2a5a 1c4a58 2a7a50 4a9a48 8ab84a d8b848"), leaves * 1.1 + 0.8 * (x - 0.2) - 0.05 - 0.3 * (y - 0.1)
    )
    return np.where(leafy[..., None], shades, picture)


def split(target: np.ndarray, rng: Rng, spread: float) -> np.ndarray:
    """For each colour a pure one near it, at random: together the dots of a place average to its colour."""
    aim = target + rng.normal(0, spread, target.shape) + rng.normal(0, spread, (len(target), 1))
    distance = ((aim[:, None] - PURE[None]) ** 2).sum(-1)
    chosen = PURE[distance.argmin(1)]
    contrary = ((1 - target[:, None] * 0.9 - 0.05 - PURE[None]) ** 2).sum(-1).argmin(1)
    odd = rng.uniform(size=len(target)) < 0.006
    return np.where(odd[:, None], PURE[contrary], 0.72 * chosen + 0.28 * target)


def paint(shape: Shape, rng: Rng) -> np.ndarray:
    """Three passes of dots, large to small, on a primed canvas."""
    x, y = grid(shape)
    scene = sky_and_sea(x, y, rng)
    scene = boats(far_shore(scene, x, y, rng), y)
    scene = foreground(scene, x, y, rng)
    oils = Oils(0.5 * scene + 0.5 * rgb("e8d4b0"), rng)
    detail = blurred(np.abs(scene - blurred_colour(scene)).sum(-1), 0.004)
    for size, spacing, spread in [(0.0130, 0.0085, 0.08), (0.0098, 0.0080, 0.115), (0.0070, 0.0056, 0.09)]:
        centres = scattered(shape, spacing, rng)
        px, py = centres.astype(int).T
        if size < 0.008:
            kept = rng.uniform(size=len(px)) < 0.16 + 6 * detail[py, px]
            centres, px, py = centres[kept], px[kept], py[kept]
        colours = jittered(split(scene[py, px], rng, spread), rng, 2.5, 3)
        flat = np.where((y[py, px] > HORIZON) & (y[py, px] < 0.6), 0.0, 1.0)
        angle = flat * rng.uniform(0, np.pi, len(px))
        half = max(shape) * size * (0.22 + 0.2 * (1 - flat))[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        paths = np.stack([centres - half, centres, centres + half], 1)
        oils.strokes(paths, size * rng.uniform(0.8, 1.15, len(px)), colours, body=1.3, dry=0.12, streak=0.06)
    return oils.lit(relief=0.6, gloss=0.15, weave=0.12)


def blurred_colour(picture: np.ndarray) -> np.ndarray:
    """Each channel blurred a little."""
    return np.stack([blurred(picture[..., c], 0.006) for c in range(3)], -1)
