"""A leaded window: sun, mountains, a river and irises in coloured glass."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .common import (
    Rng,
    Shape,
    blurred,
    filled,
    grid,
    jittered,
    lit,
    mix,
    noise,
    palette,
    rgb,
    ribbon,
    smoothstep,
    spline,
    warp,
)

ASPECT = (608, 768)

SUN = (0.44, 0.30)
ARCH = 0.396  # where the round top begins
GLASS = {
    "sun": palette("ffe98a ffd24a"),
    "rays": palette("ffc23c ff9a2e f8702a f2b84a e8523a"),
    "sky": palette("2a6fd0 1e4fb0 3f94e0 5ab4e8 2a3f9a 7a6ad0"),
    "far": palette("7a4ab0 5a3a9a 9a5ac0 43308a"),
    "near": palette("1a6a5a 2a8a4a 0f5048 4aa85a"),
    "river": palette("22a8c8 46c8d8 1a7ab8 8ae0e0"),
    "bank": palette("3a9a3a 6ab83a 9ccc44 1f7a3a c8d84a"),
    "leaf": palette("0f7a3a 2a9a44 5ab84a"),
    "petal": palette("6a2ac8 8a4ae0 b05ae8 4a22a8"),
    "lip": palette("f0c8f8 e07ae0"),
    "heart": palette("ffd23a"),
    "frame": palette("b01e2e d8323a 8a1426"),
    "gem": palette("f8b42a 2aa878"),
}


class Window:
    """The cartoon of the window: a piece number and a kind of glass at every point."""

    def __init__(self, shape: Shape, rng: Rng) -> None:
        self.shape, self.rng = shape, rng
        self.x, self.y = grid(shape)
        self.wide = shape[1] / max(shape)
        self.piece = np.zeros(shape, np.int64)
        self.kind = np.zeros(shape, np.int64)
        self.made = 0

    def put(self, mask: np.ndarray, kind: str, cells: np.ndarray | None = None) -> None:
        """Fill a mask with one kind of glass, cut into the given cells."""
        cells = np.zeros(self.shape, np.int64) if cells is None else cells.astype(np.int64)
        inside = mask > 0.5
        self.piece[inside] = cells[inside] - cells.min() + self.made + 1
        self.made += int(np.ptp(cells)) + 2
        self.kind[inside] = list(GLASS).index(kind)

    def shards(self, count: int, stretch: float = 1.0) -> np.ndarray:
        """Voronoi cells with gently bent sides, stretched across."""
        bend = 0.02
        dx, dy = ((noise(self.shape, 4, self.rng, 2) - 0.5) * bend for _ in range(2))
        seeds = self.rng.uniform(-0.05, 1.05, (count, 2)) * (1, stretch)
        tree = cKDTree(seeds)
        points = np.stack([self.x + dx, (self.y + dy) * stretch], -1).reshape(-1, 2)
        return tree.query(points)[1].reshape(self.shape)

    def landscape(self) -> None:
        """Sky in rays and rings around the sun, two ranges, a river between its banks."""
        x, y = self.x, self.y
        dx, dy = x - SUN[0], y - SUN[1]
        r, turn = np.hypot(dx, dy), np.arctan2(dy, dx) + 0.5 * np.hypot(dx, dy) * np.sin(3)
        ring = np.digitize(r + 0.012 * np.sin(6 * turn), [0.17, 0.27, 0.40, 0.56])
        sector = np.floor((turn + 0.16 * ring) / (2 * np.pi) * np.array([18, 18, 18, 22, 22])[ring])
        self.put(np.ones(self.shape), "sky", ring * 100 + sector)
        self.put(r < 0.17 + 0.05 * (sector % 2), "rays", sector)
        self.put(r < 0.095, "sun")
        far = 0.40 + 0.07 * np.sin(9 * x + 0.4) + 0.05 * np.sin(17 * x + 2)
        self.put(y > far, "far", self.shards(95, 0.7))
        near = 0.50 + 0.055 * np.sin(6 * x + 2.4) + 0.015 * np.sin(15 * x)
        self.put(y > near, "near", self.shards(110, 1.6))
        bank = 0.60 + 0.03 * np.sin(5 * x + 1)
        self.put(y > bank, "bank", self.shards(120, 1.5))
        middle = 0.40 + 0.13 * np.sin(9.5 * (y - 0.5))
        half = 0.030 + 0.28 * np.clip(y - 0.52, 0, 1)
        flow = np.floor((x - middle) / half * 1.45 + 0.2 * np.sin(30 * y)) * 50 + np.floor(
            (y + 0.3 * (x - middle)) * 13
        )
        self.put((np.abs(x - middle) < half) & (y > 0.515), "river", flow)

    def iris(self, cx: float, cy: float, s: float, stem: float) -> None:
        """One flower with its blades."""
        for lean, top in [(-0.9, 0.55), (0.75, 0.35), (0.25, 0.8)]:
            blade = spline(
                [
                    (cx + stem * s, 1.02),
                    (cx + 0.5 * lean * s, 0.5 * (1.02 + cy + top * s)),
                    (cx + 1.3 * lean * s, cy + top * s),
                ],
                40,
            )
            widths = 0.30 * s * np.linspace(1, 0.06, 40) ** 0.6
            self.put(filled(self.shape, ribbon(blade, widths)), "leaf", np.floor(self.y * 9))
        stalk = spline([(cx, cy), (cx + 0.3 * stem * s, 0.5 * (1 + cy)), (cx + stem * s, 1.02)], 30)
        self.put(filled(self.shape, ribbon(stalk, 0.15 * s)), "leaf", np.floor(self.y * 6))
        petals = [
            (-2.55, 0.85, 0.50),
            (-0.6, 0.85, 0.50),
            (-1.95, 0.95, 0.46),
            (-1.2, 0.95, 0.46),
            (2.75, 0.95, 0.48),
            (0.4, 0.95, 0.48),
            (1.57, 0.9, 0.62),
        ]
        for number, (angle, length, width) in enumerate(petals):
            self.petal(cx, cy, s * length, s * width, angle, "lip" if number == 6 else "petal")
        self.put(
            filled(
                self.shape,
                ribbon(spline([(cx, cy - 0.1 * s), (cx, cy + 0.5 * s)], 20), 0.26 * s * np.linspace(1, 0.35, 20)),
            ),
            "heart",
        )

    def petal(self, cx: float, cy: float, length: float, width: float, angle: float, kind: str) -> None:
        """A rounded petal in two halves."""
        t = np.linspace(0, 1, 40)
        path = np.stack([cx + length * t * np.cos(angle), cy + length * t * np.sin(angle)], -1)
        path += 0.12 * length * np.sin(np.pi * t)[:, None] * np.array([-np.sin(angle), np.cos(angle)])
        mask = filled(self.shape, ribbon(path, width * np.sin(np.pi * np.clip(t * 0.93 + 0.03, 0, 1) ** 1.3) ** 0.7))
        side = (self.x - cx) * -np.sin(angle) + (self.y - cy) * np.cos(angle) > 0.06 * length
        self.put(mask, kind, side)

    def border(self) -> None:
        """A ruby frame with gems, arched at the top."""
        wide = self.wide
        inset = np.minimum(np.minimum(self.x, wide - self.x), np.minimum(self.y, 1 - self.y))
        arch = 0.5 * wide - np.hypot(self.x - wide / 2, (self.y - ARCH))
        inset = np.where(self.y < ARCH, np.minimum(inset, arch), inset)
        corner = (self.y < ARCH) & (arch < 0)
        self.put(corner, "sky", self.shards(70))
        around = np.arctan2(self.y - 0.5, self.x - wide / 2)
        along = np.where(
            self.y < ARCH, np.floor(np.arctan2(self.y - ARCH, self.x - wide / 2) * 4), np.floor(self.y * 11) + 40
        )
        along = np.where(inset == 1 - self.y, np.floor(self.x * 11) + 90, along) + 200 * (around > 0)
        frame = (inset < 0.045) & ~corner
        self.put(frame, "frame", along)
        for cy in np.linspace(0.36, 0.95, 6):
            for cx in (0.0225, wide - 0.0225):
                self.put(np.hypot(self.x - cx, self.y - cy) < 0.016, "gem", np.zeros(self.shape) + round(cy * 100) % 2)
        self.inner = (np.abs(inset - 0.045) < 0.0045) & ~corner


def glaze(window: Window, rng: Rng) -> np.ndarray:
    """Each piece with its own colour, streaks and seeds, brighter where the light stands behind it."""
    shape = window.shape
    numbers, piece = np.unique(window.piece, return_inverse=True)
    piece = piece.reshape(shape)
    kinds = window.kind.ravel()[np.unique(piece, return_index=True)[1]]
    tints = [GLASS[list(GLASS)[k]] for k in kinds]
    first = jittered(np.stack([t[rng.integers(len(t))] for t in tints]), rng, 5, 6)
    second = jittered(np.stack([t[rng.integers(len(t))] for t in tints]), rng, 7, 8)
    lean = rng.uniform(0, 2 * np.pi, len(numbers))
    dx, dy = ((noise(shape, 7, rng, 4) - 0.5) * 0.10 for _ in range(2))
    streaks = warp(noise(shape, (10, 55), rng, 3), dx, dy)
    share = smoothstep(0.3, 0.75, streaks + 0.6 * (noise(shape, 6, rng, 3) - 0.5))
    colour = mix(first[piece], second[piece], share)
    across = (window.x * np.cos(lean[piece]) + window.y * np.sin(lean[piece])) * 7
    glow = 0.92 + 0.10 * np.sin(across) + 0.30 * np.exp(-np.hypot(window.x - SUN[0], window.y - SUN[1]) / 0.22)
    ripple = lit(np.ones((*shape, 3)), 3.0 * noise(shape, 45, rng, 3), 1.8)[..., :1]
    seeds = ndimage.gaussian_filter((rng.uniform(size=shape) > 0.9994).astype(np.float32), max(shape) / 1100)
    return colour * glow[..., None] * (0.45 + 0.55 * ripple) + 4 * seeds[..., None] * colour


def paint(shape: Shape, rng: Rng) -> np.ndarray:
    """Glass, the halo round each lead, then the leads themselves, rounded and soldered."""
    window = Window(shape, rng)
    window.landscape()
    for cx, cy, s, stem in [
        (0.60, 0.61, 0.125, 0.3),
        (0.20, 0.64, 0.13, -0.3),
        (0.42, 0.79, 0.145, 0.1),
        (0.655, 0.83, 0.10, 0.1),
    ]:
        window.iris(cx, cy, s, stem)
    window.border()
    piece = window.piece
    edge = (piece != np.roll(piece, 1, 0)) | (piece != np.roll(piece, 1, 1)) | window.inner
    edge[0], edge[:, 0] = True, True
    away = ndimage.distance_transform_edt(~edge) / max(shape)
    away = blurred(away, 0.0006) + 0.0012 * (noise(shape, 40, rng, 2) - 0.5)
    colour = glaze(window, rng)
    depth = smoothstep(0.0, 0.020, away)
    colour = np.clip(colour, 0, 1) ** (1.45 - 0.55 * depth)[..., None] * (0.55 + 0.5 * depth)[..., None]
    colour += 0.35 * np.stack([blurred(colour[..., c] ** 2, 0.012) for c in range(3)], -1)
    half = 0.0040
    came = blurred(np.sqrt(np.clip(1 - (away / half) ** 2, 0, 1)) * 7, 0.0011)
    lead = lit(rgb("37373d") * (0.6 + 0.6 * noise(shape, 60, rng, 3))[..., None], came, 1.3, 0.55)
    return mix(colour, lead, smoothstep(half, half * 0.85, away))
