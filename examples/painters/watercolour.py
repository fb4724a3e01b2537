"""A summer bouquet in transparent washes: pigments that run into one another, dry with dark rims and granulate."""

from __future__ import annotations

import numpy as np

from .common import Rng, Shape, blurred, filled, grid, lit, noise, paper_grain, rgb, ribbon, smoothstep, spline

ASPECT = (624, 768)

# Pigments, as white paper looks through one full layer, and how much each settles into the paper's grain.
PIGMENTS = {
    "rose": ("e0356e", 0.15), "scarlet": ("e8402a", 0.2), "orange": ("f58a1e", 0.15), "yellow": ("fbd21e", 0.1),
    "lemon": ("fdee6a", 0.1), "violet": ("7a4fb8", 0.5), "ultramarine": ("3350b8", 0.8), "cobalt": ("4a86d8", 0.7),
    "turquoise": ("35b0b8", 0.5), "sap": ("6f9a2c", 0.3), "viridian": ("1f7a5c", 0.5), "olive": ("4c5a22", 0.4),
    "sienna": ("b8642a", 0.7), "indigo": ("26305c", 0.6), "plum": ("7a1e52", 0.3), "peach": ("fbc09a", 0.1),
}  # fmt: skip
CENTRE = (0.405, 0.375)
# Pigment, middle, radius and strength of the washes behind; middle and radius of the backruns in them.
PUDDLES = [
    ("turquoise", 0.10, 0.16, 0.24, 0.75), ("cobalt", 0.72, 0.12, 0.24, 0.95), ("violet", 0.80, 0.46, 0.20, 0.70),
    ("peach", 0.06, 0.50, 0.22, 0.95), ("lemon", 0.40, 0.00, 0.16, 0.8), ("rose", 0.02, 0.40, 0.14, 0.38),
    ("ultramarine", 0.80, 0.28, 0.13, 0.5), ("lemon", 0.10, 0.64, 0.14, 0.5), ("turquoise", 0.70, 0.64, 0.16, 0.6),
    ("violet", 0.02, 0.04, 0.12, 0.5), ("cobalt", 0.20, 0.70, 0.12, 0.45),
]  # fmt: skip
BACKRUNS = [
    (0.70, 0.15, 0.11), (0.10, 0.22, 0.10), (0.75, 0.55, 0.09), (0.09, 0.60, 0.08), (0.60, 0.035, 0.06),
    (0.74, 0.93, 0.06), (0.06, 0.80, 0.05),
]  # fmt: skip
# What stands where, from back to front: kind, middle and radius.
BOUQUET = [
    ("daisy", 0.245, 0.150, 0.050), ("daisy", 0.600, 0.205, 0.052), ("pink", 0.395, 0.150, 0.078),
    ("daisy", 0.165, 0.330, 0.050), ("pink", 0.640, 0.375, 0.086), ("red", 0.250, 0.280, 0.104),
    ("gold", 0.505, 0.265, 0.083), ("daisy", 0.680, 0.520, 0.048), ("pink", 0.170, 0.470, 0.088),
    ("gold", 0.300, 0.590, 0.062), ("red", 0.395, 0.425, 0.118), ("violet", 0.545, 0.520, 0.086),
    ("white", 0.270, 0.420, 0.050), ("white", 0.540, 0.395, 0.046), ("daisy", 0.435, 0.590, 0.052),
]  # fmt: skip
COLOURS = {
    "red": ("scarlet", "rose", "orange"), "pink": ("rose", "scarlet", "violet"),
    "gold": ("yellow", "orange", "scarlet"), "violet": ("violet", "ultramarine", "rose"),
}  # fmt: skip
SPIRES = [
    [(0.395, 0.42), (0.33, 0.18), (0.315, 0.045)], [(0.45, 0.40), (0.52, 0.2), (0.53, 0.065)],
    [(0.5, 0.45), (0.69, 0.31), (0.745, 0.21)], [(0.3, 0.4), (0.13, 0.24), (0.085, 0.16)],
]  # fmt: skip


class Sheet:
    """Wet paper: the optical density of all layers, added up."""

    def __init__(self, shape: Shape, rng: Rng) -> None:
        self.shape, self.rng, self.scale = shape, rng, max(shape)
        self.x, self.y = grid(shape)
        self.grain = paper_grain(shape, rng)
        self.settle = np.clip(2.4 * (noise(shape, 260, rng, 2) - 0.5) + 0.25 * self.grain, -1, 1)
        self.depth = np.zeros((*shape, 3), np.float32)
        self.fields = [noise(shape, cells, rng, 5) - 0.5 for cells in (26, 26, 7, 40)]

    def field(self, number: int, cut: tuple[slice, slice], at: np.ndarray) -> np.ndarray:
        """A piece of one of the noise fields, from a place that differs from wash to wash."""
        rows, columns = (np.arange(side.start, side.stop) + start for side, start in zip(cut, at, strict=True))
        rows, columns = (
            n - 1 - np.abs(i % (2 * n - 2) - n + 1) for i, n in zip((rows, columns), self.shape, strict=True)
        )
        return self.fields[number][np.ix_(rows, columns)]

    def tint(self, density: np.ndarray, name: str, cut: tuple[slice, slice] = np.s_[:, :]) -> None:
        """Add a pigment."""
        code, settles = PIGMENTS[name]
        rough = np.clip(1 + 0.42 * settles * self.settle[cut], 0.1, 3)
        self.depth[cut] += (np.clip(density, 0, 3) * rough)[..., None] * -np.log(rgb(code))

    def wash(
        self, outline: np.ndarray, name: str, strength: float = 0.7, bleed: str | None = None,
        towards: tuple[float, float] = (0, 0), soft: float = 0.0012, edge: float = 1.0, ragged: float = 0.006,
    ) -> None:  # fmt: skip
        """One shape: pigment gathered at the rim, uneven inside; a second pigment bleeds in from one side."""
        pad = 0.012 + 3 * soft
        low = np.floor((outline.min(0) - pad) * self.scale).astype(int)
        high = np.ceil((outline.max(0) + pad) * self.scale).astype(int)
        cut = tuple(slice(max(int(low[i]), 0), min(int(high[i]), self.shape[1 - i])) for i in (1, 0))
        if cut[0].stop - cut[0].start < 4 or cut[1].stop - cut[1].start < 4:
            return
        at = self.rng.integers(0, min(self.shape), 2)
        small = (cut[0].stop - cut[0].start, cut[1].stop - cut[1].start)
        corner = np.array([cut[1].start, cut[0].start]) / self.scale
        mask = filled(small, (outline - corner) * self.scale / max(small))
        y, x = np.mgrid[0 : small[0], 0 : small[1]]
        move = [ragged * self.scale * 2.4 * self.field(k, cut, at) for k in (0, 1)]
        rows = np.clip(y + move[0], 0, small[0] - 1).astype(int)
        columns = np.clip(x + move[1], 0, small[1] - 1).astype(int)
        k = self.scale / max(small)
        body = blurred(mask[rows, columns], soft * k)
        rim = np.clip(body - blurred(body, 0.0045 * k), 0, 1)
        line = np.clip(body - blurred(body, 0.0013 * k), 0, 1)
        pool = np.clip(0.85 + 1.5 * self.field(2, cut, at) + 0.5 * self.field(3, cut, at), 0.15, 2)
        density = strength * (0.72 * body * pool + edge * (0.75 * rim + 0.8 * line))
        share = np.zeros(small)
        if bleed:
            across = (self.x[cut] - outline[:, 0].mean()) * towards[0] + (self.y[cut] - outline[:, 1].mean()) * towards[
                1
            ]
            size = 0.5 * np.hypot(*np.ptp(outline, axis=0)) * (np.hypot(*towards) + 1e-6)
            share = smoothstep(-0.25, 0.75, across / size + 1.5 * self.field(3, cut, at) + 0.8 * self.field(2, cut, at))
            self.tint(density * share * 1.15, bleed, cut)
        self.tint(density * (1 - 0.85 * share), name, cut)

    def lift(self, outlines: list[np.ndarray], keep: float, ragged: float = 0.003) -> None:
        """Take up most of the pigment inside outlines, as masking fluid would have kept the paper clean."""
        mask = filled(self.shape, *outlines)
        y, x = np.mgrid[0 : self.shape[0], 0 : self.shape[1]]
        rows = np.clip(y + ragged * self.scale * 2.4 * self.fields[0], 0, self.shape[0] - 1).astype(int)
        columns = np.clip(x + ragged * self.scale * 2.4 * self.fields[1], 0, self.shape[1] - 1).astype(int)
        self.depth *= (1 - (1 - keep) * blurred(mask[rows, columns], 0.0012))[..., None]

    def spot(self, x: float, y: float, r: float, name: str, strength: float) -> None:
        """A drop."""
        a = np.linspace(0, 2 * np.pi, 24)
        wobble = 1 + 0.12 * np.sin(2 * a + x * 99) + 0.08 * np.sin(3 * a + y * 99)
        self.wash(
            np.stack([x + r * wobble * np.cos(a), y + r * wobble * np.sin(a)], -1),
            name,
            strength,
            ragged=0.001,
            soft=0.0007,
        )

    def brush(self, path: np.ndarray, width: float, name: str, strength: float = 1.0) -> None:
        """A fine line with a pointed brush."""
        u = np.linspace(0, 1, len(path))
        self.wash(
            ribbon(path, width * np.sin(np.pi * (0.12 + 0.86 * u)) ** 0.7),
            name,
            strength,
            soft=0.0006,
            edge=0.3,
            ragged=0.0012,
        )

    def bloom(self, x: float, y: float, r: float, keep: np.ndarray, strength: float = 1.0) -> None:
        """A backrun: water dropped into a drying wash drives its pigment out to a crinkled edge."""
        ragged = 0.55 * self.fields[0] + 0.5 * self.fields[2] + 0.22 * self.fields[3]
        far = np.hypot(self.x - x, self.y - y) / r + 1.1 * ragged
        inside = smoothstep(1.0, 0.86, far)
        rim = np.exp(-np.abs(far - 0.99) / 0.05) * (far < 1.03) + 0.35 * np.exp(-np.abs(far - 0.8) / 0.04) * (
            far < 0.83
        )
        self.depth *= (1 + keep * strength * (0.62 * rim - 0.55 * inside * smoothstep(0.05, 0.9, far) ** 0.5))[
            ..., None
        ]

    def seen(self) -> np.ndarray:
        """Light through the layers and back from the paper."""
        paper = rgb("fdfaf2") * np.exp(-self.depth * (1 + 0.10 * self.grain)[..., None])
        return lit(paper, 1.5 * self.grain, 0.10)


def blob(rng: Rng, points: list[tuple[float, float]], jitter: float) -> np.ndarray:
    """A closed smooth outline through shaken points."""
    shaken = np.array(points) + rng.normal(0, jitter, (len(points), 2))
    around = [tuple(p) for p in np.concatenate([shaken[-1:], shaken, shaken[:2]])]
    return spline(around, 24 * len(points))[24:-24]


def petal(rng: Rng, cx: float, cy: float, angle: float, length: float, width: float) -> np.ndarray:
    """A petal that grows from a point, its tip a little frilled."""
    shape = [
        (0.0, 0.0),
        (0.30, 0.30),
        (0.70, 0.50),
        (0.95, 0.30),
        (1.0, 0.0),
        (0.93, -0.28),
        (0.70, -0.50),
        (0.30, -0.30),
    ]
    outline = blob(rng, [(a * length, b * width) for a, b in shape], 0.05 * width)
    c, s = np.cos(angle), np.sin(angle)
    return outline @ np.array([[c, s], [-s, c]]) + (cx, cy)


def background(sheet: Sheet, covered: np.ndarray) -> None:
    """Big wet washes that run together round the flowers, with backruns."""
    x, y, rng = sheet.x, sheet.y, sheet.rng
    drift = [2.2 * (noise(sheet.shape, 2.6, rng, 5) - 0.5) for _ in range(6)]
    open_paper = 1 - 0.86 * blurred(covered, 0.002) * smoothstep(
        -0.35, 0.1, 0.5 - blurred(covered, 0.02) + 0.5 * sheet.fields[0]
    )
    border = (
        np.minimum(np.minimum(x, x.max() - x), np.minimum(y, 1 - y)) + 0.014 * sheet.fields[0] + 0.03 * sheet.fields[2]
    )
    page = smoothstep(0.014, 0.018, border)
    page = page + 0.9 * np.clip(page - blurred(page, 0.005), 0, 1)
    table = smoothstep(0.765, 0.745, y + 0.03 * sheet.fields[2])
    for number, (name, cx, cy, r, strength) in enumerate(PUDDLES):
        near = 0.78 * np.exp(-((np.hypot(x - cx, y - cy) / r) ** 2) + 1.4 * drift[number % 6])
        sheet.tint(strength * np.clip(near, 0, 1.15) * open_paper * page * table, name)
    shade = open_paper * page * (1 - table)
    sheet.tint(0.42 * shade * np.clip(1 + drift[0], 0, 2), "peach")
    sheet.tint(0.40 * shade * np.clip(0.7 + 1.4 * drift[1] + 0.6 * (x - 0.3), 0, 2), "violet")
    sheet.tint(0.50 * shade * smoothstep(0.80, 1.02, y + 0.2 * drift[2]), "cobalt")
    keep = (1 - blurred(covered, 0.004)) * np.clip(page, 0, 1)
    for cx, cy, r in BACKRUNS:
        sheet.bloom(cx, cy, r, keep)


def poppy(sheet: Sheet, cx: float, cy: float, r: float, names: tuple[str, str, str]) -> None:
    """Broad crumpled petals in two coats, a dark heart, stamens."""
    rng = sheet.rng
    turn = rng.uniform(0, 6)
    petals = []
    for coat, reach in enumerate((1.0, 0.84)):
        for angle in turn + coat * 0.6 + np.arange(5) * 2 * np.pi / 5 + rng.normal(0, 0.15, 5):
            base = (cx + 0.06 * r * np.cos(angle), cy + 0.06 * r * np.sin(angle))
            petals.append((coat, angle, petal(rng, *base, angle, r * reach * rng.uniform(0.85, 1.1), r * 1.05)))
    run = rng.uniform(0, 2 * np.pi)
    halo = petal(rng, cx, cy, run, 1.5 * r, 1.3 * r)
    sheet.wash(halo, names[0], 0.42, names[2], (np.cos(run), np.sin(run)), soft=0.013, edge=0.2, ragged=0.03)
    sheet.lift([outline for _, _, outline in petals], 0.03)
    for coat, angle, outline in petals:
        side = -1 if rng.uniform() < 0.6 else 1
        second = names[1 + (coat + (rng.uniform() < 0.3)) % 2]
        sheet.wash(
            outline,
            names[0] if coat == 0 else names[rng.integers(2)],
            0.52,
            second,
            (side * np.cos(angle), side * np.sin(angle)),
            soft=0.001,
        )
    heart(sheet, cx, cy, r, names[2])


def heart(sheet: Sheet, cx: float, cy: float, r: float, vein: str) -> None:
    """Veins, a dark middle and its ring of stamens."""
    rng = sheet.rng
    for angle in rng.uniform(0, 2 * np.pi, 16):
        path = np.array([(0.28, 0), (0.5, rng.normal(0, 0.04)), (rng.uniform(0.6, 0.85), rng.normal(0, 0.08))]) * r
        c, s = np.cos(angle), np.sin(angle)
        sheet.brush(spline([tuple(p) for p in path @ np.array([[c, s], [-s, c]]) + (cx, cy)], 16), 0.0026, vein, 0.6)
    sheet.wash(
        blob(rng, [(cx + 0.20 * r * np.cos(a), cy + 0.20 * r * np.sin(a)) for a in np.arange(6)], 0.02 * r),
        "indigo",
        1.3,
        "plum",
        (1, 0),
        0.002,
    )
    for angle in rng.uniform(0, 2 * np.pi, 22):
        reach = r * rng.uniform(0.22, 0.40)
        path = np.linspace(0.15 * r, reach, 3)[:, None] * (np.cos(angle), np.sin(angle)) + (cx, cy)
        sheet.brush(path, 0.0016, "indigo", 1.0)
        sheet.spot(cx + reach * np.cos(angle), cy + reach * np.sin(angle), 0.0026, "indigo", 1.4)


def daisy(sheet: Sheet, cx: float, cy: float, r: float, names: tuple[str, str]) -> None:
    """Thin petals round a warm heart."""
    rng = sheet.rng
    angles = np.linspace(0, 2 * np.pi, 14)[:-1] + rng.normal(0, 0.09, 13)
    bases = [(cx + 0.2 * r * np.cos(a), cy + 0.2 * r * np.sin(a)) for a in angles]
    petals = [petal(rng, *base, a, r * rng.uniform(0.8, 1.05), 0.34 * r) for base, a in zip(bases, angles, strict=True)]
    sheet.lift(petals, 0.03, 0.002)
    for angle, outline in zip(angles, petals, strict=True):
        sheet.wash(outline, names[0], 0.75, names[1], (-np.cos(angle), -np.sin(angle)), soft=0.0009, ragged=0.003)
    for k, (name, strength) in enumerate([("orange", 0.9), ("sienna", 0.8)]):
        hub = [
            (cx + 0.004 * k + (0.27 - 0.08 * k) * r * np.cos(a), cy + 0.004 * k + (0.27 - 0.08 * k) * r * np.sin(a))
            for a in np.arange(6)
        ]
        sheet.wash(blob(rng, hub, 0.02 * r), name, strength, "plum", (0.6, 0.8))
    for _ in range(14):
        dx, dy = rng.normal(0, 0.11 * r, 2)
        sheet.spot(cx + dx, cy + dy, 0.0022, "plum", 0.9)


def spire(sheet: Sheet, path: np.ndarray, size: float) -> None:
    """Delphinium: small blue and violet bells along a stem."""
    rng = sheet.rng
    sheet.brush(path, 0.006, "sap", 0.8)
    for t in np.linspace(0, 1, 30):
        x, y = path[int(t * (len(path) - 1))] + rng.normal(0, (0.40 + 0.5 * t) * size, 2)
        names = rng.permutation(["ultramarine", "violet", "cobalt", "violet", "rose"])
        for angle in rng.uniform(0, 2 * np.pi, 4):
            outline = petal(rng, x, y, angle, size * (0.55 + 0.45 * t), 0.7 * size * (0.55 + 0.45 * t))
            sheet.wash(
                outline, str(names[0]), 0.62, str(names[1]), (np.cos(angle), np.sin(angle)), ragged=0.003, soft=0.0008
            )
        if rng.uniform() < 0.5:
            sheet.spot(x, y, 0.0035, "indigo", 0.9)


def leaf(sheet: Sheet, start: tuple[float, float], angle: float, length: float, width: float) -> None:
    """Two greens meeting at the rib, which stays white or is drawn."""
    rng = sheet.rng
    bend = rng.normal(0, 0.5)
    t = np.linspace(0, 1, 24)
    heading = angle + bend * t
    rib = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1), 0) * length / 24 + start
    normal = np.stack([-np.sin(heading), np.cos(heading)], -1)
    swell = (width * np.sin(np.pi * t**0.8) ** 0.9)[:, None]
    names = rng.permutation(["sap", "viridian", "olive", "sap", "turquoise"])
    sheet.lift([np.concatenate([rib + swell * normal, (rib - swell * normal)[::-1]])], 0.35)
    for side, name, second in [(1, names[0], names[1]), (-1, names[2], names[3])]:
        outline = np.concatenate([rib + side * 0.0012 * normal, (rib + side * swell * normal)[::-1]])
        sheet.wash(
            outline,
            str(name),
            rng.uniform(0.5, 1.0),
            str(second),
            (np.cos(angle), np.sin(angle)),
            ragged=0.003,
            soft=0.0009,
        )
    if rng.uniform() < 0.5:
        sheet.brush(rib, 0.0024, "olive", 0.8)


def stems_and_vase(sheet: Sheet) -> None:
    """A round blue glass with the stems in its water, and the shadow that it throws."""
    rng = sheet.rng
    side = [(0.330, 0.640), (0.338, 0.672), (0.290, 0.735), (0.272, 0.810), (0.310, 0.885), (0.362, 0.905)]
    half = spline(side, 50)
    outline = np.concatenate([half, (half * (-1, 1) + (0.81, 0))[::-1]])
    sheet.lift([outline], 0.3)
    shadow = blob(
        rng, [(0.36, 0.885), (0.55, 0.862), (0.74, 0.868), (0.70, 0.900), (0.52, 0.925), (0.38, 0.918)], 0.006
    )
    sheet.wash(shadow, "ultramarine", 0.75, "violet", (1, 0.2), soft=0.003)
    sheet.wash(
        blob(rng, [(0.40, 0.888), (0.50, 0.880), (0.58, 0.885), (0.48, 0.908), (0.40, 0.912)], 0.004),
        "indigo",
        0.6,
        "turquoise",
        (1, 0),
    )
    for k in np.linspace(-1, 1, 9):
        foot = (0.405 - 0.065 * k + rng.normal(0, 0.01), 0.865 + rng.normal(0, 0.012))
        stem = spline([(0.405 + 0.13 * k, 0.52), (0.405 + 0.035 * k, 0.655), foot], 40)
        sheet.brush(stem, 0.010, str(rng.choice(["sap", "viridian", "olive"])), 0.8)
    sheet.wash(outline, "cobalt", 0.38, "turquoise", (-0.3, 1.0), edge=1.8)
    water = np.concatenate([half[24:], (half[24:] * (-1, 1) + (0.81, 0))[::-1]])
    sheet.wash(water, "turquoise", 0.42, "ultramarine", (1.0, 0.4), edge=1.5)
    for points, name, strength in [
        ([(0.50, 0.74), (0.525, 0.80), (0.500, 0.875), (0.48, 0.88), (0.505, 0.80)], "ultramarine", 0.7),
        ([(0.29, 0.79), (0.30, 0.86), (0.35, 0.895), (0.31, 0.84)], "indigo", 0.5),
        ([(0.36, 0.895), (0.45, 0.895), (0.44, 0.906), (0.37, 0.906)], "indigo", 0.8),
        ([(0.42, 0.82), (0.46, 0.80), (0.47, 0.85), (0.43, 0.87)], "rose", 0.35),
    ]:
        sheet.wash(blob(rng, points, 0.003), name, strength, "turquoise", (0.5, -1))
    sheet.brush(spline([(0.330, 0.641), (0.405, 0.652), (0.480, 0.641)], 30), 0.004, "indigo", 0.8)


def covered_by(sheet: Sheet) -> np.ndarray:
    """Where the first washes leave the paper for flowers and vase."""
    a = np.linspace(0, 2 * np.pi, 60)
    circles = [np.stack([x + 0.95 * r * np.cos(a), y + 0.95 * r * np.sin(a)], -1) for _, x, y, r in BOUQUET]
    half = spline([(0.330, 0.640), (0.338, 0.672), (0.290, 0.735), (0.272, 0.810), (0.310, 0.885), (0.362, 0.905)], 50)
    return filled(sheet.shape, *circles, np.concatenate([half, (half * (-1, 1) + (0.81, 0))[::-1]]))


def foliage(sheet: Sheet) -> None:
    """Leaves that stand out all round, and sprays of small ones."""
    rng = sheet.rng
    for number, angle in enumerate(np.linspace(0.15, 4 * np.pi, 46) + rng.normal(0, 0.08, 46)):
        reach = rng.uniform(0.10, 0.23) if number >= 23 else rng.uniform(0.0, 0.12)
        start = (CENTRE[0] + reach * np.cos(angle), CENTRE[1] + 0.02 + 1.1 * reach * np.sin(angle))
        leaf(sheet, start, angle, rng.uniform(0.11, 0.20), rng.uniform(0.016, 0.030))
    for angle in rng.uniform(np.pi * 0.95, 2.05 * np.pi, 7):
        tip = np.array([CENTRE[0] + 0.37 * np.cos(angle), CENTRE[1] + 0.36 * np.sin(angle)])
        twig = spline([CENTRE, tuple((tip + CENTRE) / 2 + rng.normal(0, 0.02, 2)), tuple(tip)], 40)
        sheet.brush(twig, 0.0032, "olive", 0.8)
        for x, y in twig[18::3]:
            name = str(rng.choice(["rose", "scarlet", "plum", "orange"]))
            sheet.spot(*rng.normal((x, y), 0.010), rng.uniform(0.003, 0.008), name, 0.7)


def splatter(sheet: Sheet) -> None:
    """Drops flicked from the brush, and a few petals fallen on the table."""
    rng = sheet.rng
    for _ in range(150):
        angle, reach = rng.uniform(0, 2 * np.pi), abs(rng.normal(0, 0.30)) + 0.05
        x, y = CENTRE[0] + reach * np.cos(angle), 0.45 + 1.2 * reach * np.sin(angle)
        name = str(rng.choice(["rose", "scarlet", "ultramarine", "turquoise", "yellow", "violet", "sap"]))
        sheet.spot(x, y, 0.0012 + 0.0016 * rng.exponential(), name, rng.uniform(0.4, 1.0))
    for x, y, name in [
        (0.16, 0.895, "scarlet"),
        (0.205, 0.925, "rose"),
        (0.60, 0.945, "yellow"),
        (0.10, 0.845, "violet"),
        (0.66, 0.81, "rose"),
    ]:
        sheet.wash(petal(rng, x + 0.012, y + 0.012, 0.2, 0.055, 0.018), "ultramarine", 0.5, soft=0.002)
        fallen = petal(rng, x, y, rng.uniform(0, 6), 0.055, 0.042)
        sheet.lift([fallen], 0.05, 0.002)
        sheet.wash(fallen, name, 0.8, "orange", (1, 0))


def pencil(sheet: Sheet) -> None:
    """The drawing that was there first, here and there beside the paint."""
    rng = sheet.rng
    lead = np.zeros(sheet.shape, np.float32)
    for _, cx, cy, r in BOUQUET:
        for _ in range(3):
            a = rng.uniform(0, 6) + np.linspace(0, rng.uniform(0.8, 2.0), 30)
            reach = r * (1.02 + 0.06 * np.sin(3 * a + cx * 50))
            lead = np.maximum(
                lead,
                filled(sheet.shape, ribbon(np.stack([cx + reach * np.cos(a), cy + reach * np.sin(a)], -1), 0.0014)),
            )
    for dx in (0.0, 0.004):
        path = spline(
            [
                (0.330 - dx, 0.640),
                (0.338 - dx, 0.672),
                (0.288 - dx, 0.735),
                (0.270, 0.810),
                (0.308, 0.887),
                (0.362, 0.908),
            ],
            50,
        )
        for side in (path, path * (-1, 1) + (0.81, 0)):
            lead = np.maximum(lead, filled(sheet.shape, ribbon(side, 0.0013)))
    sheet.depth += (0.75 * lead * smoothstep(-0.5, 0.5, sheet.grain))[..., None]


def paint(shape: Shape, rng: Rng) -> np.ndarray:
    """Light to dark: background, leaves, flowers, glass, then fine lines and drops."""
    sheet = Sheet(shape, rng)
    background(sheet, covered_by(sheet))
    foliage(sheet)
    for points in SPIRES:
        spire(sheet, spline(points, 80)[::-1][:48], 0.019)
    stems_and_vase(sheet)
    for kind, x, y, r in BOUQUET:
        if kind in COLOURS:
            poppy(sheet, x, y, r, COLOURS[kind])
        else:
            daisy(sheet, x, y, r, ("yellow", "orange") if kind == "daisy" else ("cobalt", "violet"))
    pencil(sheet)
    splatter(sheet)
    return sheet.seen()
