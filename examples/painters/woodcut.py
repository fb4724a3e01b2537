"""A great wave printed from wood blocks: five flat inks, carved lines, foam like claws."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .common import Rng, Shape, grid, mix, noise, palette, profile, rgb, ribbon, smoothstep, spline, warp

ASPECT = (768, 560)

NIGHT, DEEP, MID, PALE, FOAM, SUN, SKY, OCHRE = palette("10203f 1d3f73 4a7fa8 a9c6c9 f4ecd8 c8402c e9cfa0 c99a4e")
# From the foot of the wave to its crest: along the hollow in front, and along the back.
FRONT = [
    (0.86, 0.64),
    (0.60, 0.62),
    (0.44, 0.56),
    (0.35, 0.46),
    (0.335, 0.36),
    (0.385, 0.265),
    (0.475, 0.235),
    (0.545, 0.275),
]
BACK = [
    (-0.14, 0.90),
    (-0.13, 0.66),
    (-0.07, 0.44),
    (0.04, 0.27),
    (0.18, 0.145),
    (0.33, 0.095),
    (0.475, 0.135),
    (0.555, 0.26),
]


class Print:
    """The sheet under the blocks: flat colours drawn as polygons."""

    def __init__(self, shape: Shape, rng: Rng) -> None:
        self.shape, self.rng, self.scale = shape, rng, max(shape)
        self.image = Image.new("RGB", shape[::-1], tuple(np.uint8(SKY * 255)))
        self.draw = ImageDraw.Draw(self.image)

    def area(self, outline: np.ndarray, ink: np.ndarray) -> None:
        """A flat shape."""
        self.draw.polygon([tuple(p) for p in np.asarray(outline) * self.scale], fill=tuple(int(v) for v in ink * 255))

    def cut(self, path: np.ndarray, width: np.ndarray | float, ink: np.ndarray) -> None:
        """A carved line."""
        self.area(ribbon(np.asarray(path, float), width), ink)

    def dot(self, x: float, y: float, r: float, ink: np.ndarray) -> None:
        """A round spot."""
        a = np.linspace(0, 2 * np.pi, 90)
        self.area(np.stack([x + r * np.cos(a), y + r * np.sin(a)], -1), ink)

    def sky(self) -> None:
        """A sun, and a darkening sky cut in fine lines that swell toward the top."""
        self.dot(0.775, 0.225, 0.092, SUN)
        x = np.linspace(-0.02, 1.02, 160)
        for row, y in enumerate(np.arange(0.004, 0.47, 0.0088)):
            weight = np.clip(0.0068 * (1 - y / 0.24), 0.0007, 1) * (1 + 0.25 * profile(x, 14, self.rng, 2))
            wave = y + 0.004 * np.sin(5 * x + 0.1 * row) + 0.0012 * profile(x, 20, self.rng, 2)
            ink = MID if y < 0.24 else OCHRE
            clear = np.hypot(x - 0.775, wave - 0.225) < 0.096
            for piece in np.split(np.arange(len(x)), np.flatnonzero(np.diff(clear)) + 1):
                if len(piece) > 2 and not clear[piece[0]]:
                    self.cut(np.stack([x, wave], -1)[piece], weight[piece], ink)

    def mountain(self) -> None:
        """A far white cone with a ragged snow line and hatched flanks."""
        slope = spline([(0.53, 0.50), (0.62, 0.455), (0.685, 0.375), (0.715, 0.372), (0.79, 0.45), (0.90, 0.50)], 80)
        self.area(np.concatenate([slope, [(0.9, 0.52), (0.53, 0.52)]]), DEEP)
        peak = slope[(slope[:, 1] < 0.435)]
        teeth = np.stack([np.linspace(peak[-1, 0], peak[0, 0], 15), 0.425 + 0.022 * (np.arange(15) % 2)], -1)
        self.area(np.concatenate([peak, teeth]), FOAM)
        for x in np.linspace(0.58, 0.85, 34):
            top = np.interp(x, slope[:, 0], slope[:, 1])
            lean = (x - 0.70) * 0.5
            path = np.array([(x, max(top, 0.44) + 0.012), (x + lean * 0.1, 0.475), (x + lean * 0.2, 0.50)])
            self.cut(path, np.array([0.0006, 0.0022, 0.0006]), MID)
        self.cut(slope, 0.003, NIGHT)

    def sea(self) -> None:
        """Far swells, each with its rim of light and its rows of cuts."""
        x = np.linspace(-0.02, 1.02, 200)
        for number, base in enumerate(np.linspace(0.495, 0.60, 5)):
            crest = (
                base
                + 0.010 * (1 + number * 0.5) * np.sin(x * (22 - 2.5 * number) + 2.2 * number)
                + 0.004 * profile(x, 9, self.rng, 2)
            )
            self.area(
                np.concatenate([np.stack([x, crest], -1), [(1.02, 0.8), (-0.02, 0.8)]]),
                [DEEP, MID, DEEP, MID, DEEP][number],
            )
            self.cut(np.stack([x, crest], -1), 0.004, FOAM)
            for row in range(1, 4):
                self.cut(
                    np.stack([x, crest + 0.008 * row], -1),
                    0.0018 + 0.0012 * np.sin(31 * x + row),
                    [PALE, NIGHT][row % 2],
                )

    def boat(self, cx: float, cy: float, size: float, lean: float) -> None:
        """A long boat with rowers bent low."""
        t = np.linspace(-1, 1, 40)
        turn = np.array([(np.cos(lean), np.sin(lean)), (-np.sin(lean), np.cos(lean))])
        deck = np.stack([t, -0.34 * np.abs(t) ** 2.6], -1)
        keel = np.stack([t[::-1] * 0.93, 0.20 - 0.46 * np.abs(t[::-1]) ** 2.2], -1)
        hull = np.concatenate([deck, keel]) * size @ turn + (cx, cy)
        for seat in np.linspace(-0.5, 0.5, 5):
            head = np.array([(seat, -0.13)]) * size @ turn + (cx, cy)
            self.dot(*head[0], 0.07 * size, NIGHT)
            self.dot(head[0, 0] + 0.06 * size, head[0, 1] - 0.07 * size, 0.04 * size, SKY)
        self.area(hull, OCHRE)
        for share in (0.35, 0.7):
            self.cut(((1 - share) * deck + share * keel[::-1])[3:-3] * size @ turn + (cx, cy), 0.0022, NIGHT)
        self.cut(np.concatenate([hull, hull[:1]]), 0.0035, NIGHT)

    def wave(self, place: np.ndarray, offset: tuple[float, float], ribs: int) -> None:
        """A breaking wave: its body, ribs that sweep up to the crest, and foam on the rim."""
        front, back = (spline(p, 120) @ place + offset for p in (FRONT, BACK))
        size = np.sqrt(abs(np.linalg.det(place)))
        self.area(np.concatenate([back, front[::-1]]), DEEP)
        inks = [NIGHT, PALE, MID, FOAM, MID, PALE]
        t = np.linspace(0, 1, 120)
        for rib in range(ribs):
            k = (rib + 0.5) / ribs
            path = (1 - k) * front + k * back
            gap = np.hypot(*(front - back).T) / ribs
            self.cut(path, gap * (0.62 if rib % 2 else 0.8) * (1 - 0.5 * t), inks[rib % 6])
            for side in (-0.30, 0.30):
                fine = path + side / ribs * (back - front)
                start = self.rng.integers(0, 40)
                stop = self.rng.integers(70, 118)
                swell = np.sin(np.pi * np.linspace(0, 1, stop - start)) * 0.16 * gap[start:stop]
                self.cut(fine[start:stop], swell, [FOAM, NIGHT][rib % 2])
        self.cut(front, 0.006 * size, NIGHT)
        self.foam(front, back, size, np.sign(np.linalg.det(place)))

    def foam(self, front: np.ndarray, back: np.ndarray, size: float, way: float) -> None:
        """Lumps and claws along the crest, larger toward the tip, and drops thrown ahead."""
        rim = np.concatenate([back[45:], front[:78:-1]])
        along = np.gradient(rim, axis=0)
        heading = np.arctan2(along[:, 1], along[:, 0])
        growth = np.exp(-(((np.arange(len(rim)) - 74) / 34.0) ** 2))
        for i in range(0, len(rim), 2):
            r = (0.008 + 0.022 * growth[i]) * size * self.rng.uniform(0.7, 1.2)
            self.dot(*rim[i], r + 0.003 * size, NIGHT)
        for i in range(0, len(rim), 2):
            r = (0.008 + 0.022 * growth[i]) * size * self.rng.uniform(0.7, 1.1)
            self.dot(*rim[i], r, FOAM)
        for i in self.rng.permutation(np.arange(4, len(rim) - 2, 2)):
            length = size * (0.03 + 0.075 * growth[i]) * self.rng.uniform(0.7, 1.3)
            inward = self.rng.uniform() < 0.45
            lean = heading[i] + way * (self.rng.uniform(0.3, 1.0) if inward else self.rng.uniform(-0.9, -0.2))
            self.claw(rim[i], lean, length, way * self.rng.uniform(1.4, 2.6), 2)
        for _ in range(int(110 * size)):
            at = (
                rim[self.rng.integers(20, 95)]
                + self.rng.normal(0.0, 0.055, 2) * size
                + (way * 0.05 * size, -0.02 * size)
            )
            r = self.rng.uniform(0.0012, 0.0045) * size
            self.dot(*at, r + 0.0012, NIGHT)
            self.dot(*at, r, FOAM)

    def claw(self, root: np.ndarray, heading: float, length: float, curl: float, depth: int) -> None:
        """A hooked finger of foam with smaller ones on it."""
        t = np.linspace(0, 1, 16)
        turn = heading + curl * t**1.6
        path = root + np.cumsum(np.stack([np.cos(turn), np.sin(turn)], -1), 0) * length / 16
        width = 0.42 * length * (1 - t) ** 0.75 * (0.6 + 0.4 * np.sin(np.pi * t))
        self.cut(path, width + 0.0042, NIGHT)
        if depth:
            for at in (5, 9, 12):
                self.claw(path[at], turn[at] - 0.8 * np.sign(curl), length * 0.42, curl, depth - 1)
        self.cut(path, width, FOAM)
        self.cut(path[2:13] + 0.10 * length * np.array([0.3, 0.9]), 0.10 * width[2:13] + 0.0006, MID)

    def near_swell(self) -> None:
        """The dark water in front, with its long cuts."""
        x = np.linspace(-0.02, 1.02, 200)
        crest = 0.655 - 0.04 * smoothstep(0.5, 0.7, x) + 0.035 * np.sin(5.2 * x + 2.6) + 0.010 * np.sin(17 * x)
        self.area(np.concatenate([np.stack([x, crest], -1), [(1.02, 0.8), (-0.02, 0.8)]]), NIGHT)
        for row in range(9):
            swell = np.clip(0.5 + 0.6 * profile(x, 7, self.rng, 2), 0.08, 1.2)
            ink = [FOAM, MID, PALE, DEEP, MID][row % 5]
            self.cut(np.stack([x, crest + 0.0115 * row + 0.004 * np.sin(9 * x + row)], -1), 0.0065 * swell, ink)
        for at in range(6, 196, 5):
            self.claw(
                np.array([x[at], crest[at]]), -0.5 + self.rng.normal(0, 0.4), self.rng.uniform(0.012, 0.034), 2.2, 1
            )


def paint(shape: Shape, rng: Rng) -> np.ndarray:
    """Draw the blocks, let the knife tremble, then print them with the grain of the wood."""
    sheet = Print(shape, rng)
    sheet.sky()
    sheet.mountain()
    sheet.sea()
    sheet.boat(0.66, 0.565, 0.085, 0.10)
    sheet.wave(np.array([(-0.42, 0.0), (0.0, 0.48)]), (1.03, 0.335), 9)
    sheet.wave(np.eye(2), (0.0, 0.0), 19)
    sheet.boat(0.49, 0.625, 0.10, -0.22)
    sheet.near_swell()
    dx, dy = ((noise(shape, 60, rng, 3) - 0.5) * 0.0016 for _ in range(2))
    return printed(warp(np.asarray(sheet.image, np.float32) / 255, dx, dy), rng)


def printed(inks: np.ndarray, rng: Rng) -> np.ndarray:
    """Ink pressed into paper: the plank's grain, the rubbing of the pad, fibres."""
    shape = inks.shape[:2]
    x, y = grid(shape)
    rings = noise(shape, (16, 1.6), rng, 3)
    grain = 0.5 + 0.5 * np.sin(2 * np.pi * (26 * y + 9 * rings))
    pores = smoothstep(0.62, 0.8, noise(shape, (260, 9), rng, 2))
    rubbed = noise(shape, 30, rng, 4)
    thin = 0.10 * grain + 0.16 * pores + 0.22 * (rubbed - 0.5)
    dark = 1 - inks.mean(-1)
    paper = rgb("f6ecd2") * (0.97 + 0.06 * noise(shape, 120, rng, 3))[..., None]
    return mix(inks * paper / rgb("f6ecd2"), paper, np.clip(thin, 0, 0.6) * (0.3 + 0.9 * dark))
