"""A peacock under a golden arch: rows of stone and glass cubes that follow the outlines of the figures."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage import draw, measure

from .common import Rng, Shape, filled, grid, jittered, lit, noise, palette, ramp, rgb, spline

ASPECT = (704, 768)

CENTRE = (0.458, 0.500)
GOLD = palette("6e4612 a87420 cf982f e6b84a f5d675 fff3c0")
LAPIS = palette("0a1240 14226a 1d3590 2f56b4")
FAN = palette("0a2a2c 0e4a44 12705c 2a9a70 7cc07a")
EYE = palette("0b1038 0b1038 1b3fae 1b3fae 18b0b8 18b0b8 8fd0a0 c8862a e8bc50")
BODY = palette("0c1c66 1434a0 1660c8 1f96d8 6fd0e0")
MEADOW = palette("0f2a20 1c4a2a 3a7034 74983c b8bc5a")
RED = palette("6a1018 a81c22 d23a2a ee7a4a")
STONE = palette("b8a890 d8ccb4 f2ead8")
# Stars by middle and size; flowers too, with their colours.
STARS = [
    (0.10, 0.10, 0.026), (0.816, 0.10, 0.026), (0.075, 0.19, 0.017), (0.841, 0.19, 0.017),
    (0.185, 0.075, 0.016), (0.731, 0.075, 0.016), (0.17, 0.135, 0.010), (0.746, 0.135, 0.010),
]  # fmt: skip
PLANTS = [
    (0.135, 0.745, 0.034, RED), (0.782, 0.745, 0.034, RED), (0.225, 0.800, 0.027, STONE),
    (0.690, 0.800, 0.027, STONE), (0.305, 0.725, 0.024, RED), (0.611, 0.725, 0.024, RED),
    (0.355, 0.875, 0.024, STONE), (0.560, 0.875, 0.024, STONE), (0.458, 0.905, 0.028, RED),
]  # fmt: skip
SKULL = [
    (0.412, 0.276), (0.420, 0.244), (0.458, 0.226), (0.496, 0.242), (0.506, 0.280),
    (0.494, 0.312), (0.452, 0.322), (0.420, 0.305), (0.412, 0.276),
]  # fmt: skip


def turned(points: np.ndarray, cx: float, cy: float, angle: float) -> np.ndarray:
    """Points turned about the origin, then moved."""
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]]) + (cx, cy)


def oval(long: float, wide: float, pointed: float = 0.0, count: int = 60) -> np.ndarray:
    """An ellipse along x, drawn to a point at its far end."""
    a = np.linspace(0, 2 * np.pi, count)
    return np.stack([long * np.cos(a), wide * np.sin(a) * (1 - pointed * np.cos(a))], -1)


class Cartoon:
    """The drawing under the mosaic: which figure is where, its colours, its size of tile and its metal."""

    def __init__(self, shape: Shape, rng: Rng) -> None:
        self.shape, self.rng = shape, rng
        self.x, self.y = grid(shape)
        self.cloud = noise(shape, 7, rng, 4)
        self.colour = np.zeros((*shape, 3), np.float32)
        self.label = np.zeros(shape, np.int32)
        self.sizes: list[float] = [0.01]
        self.metals: list[float] = [0.0]
        self.lines: list[tuple[np.ndarray, float, np.ndarray, float, int]] = []
        self.cuts: list[tuple[np.ndarray, np.ndarray, float]] = []

    def lay(self, mask: np.ndarray, colours: np.ndarray, tone: np.ndarray, size: float, metal: float = 0.0) -> None:
        """One figure, in the few colours of glass that there are: tones are rounded, not mixed."""
        steps = np.round((len(colours) - 1) * np.clip(tone + 0 * self.x, 0, 1)).astype(int)
        self.sizes.append(size)
        self.metals.append(metal)
        self.colour[mask] = colours[steps[mask]]
        self.label[mask] = len(self.sizes) - 1

    def line(self, path: np.ndarray, width: float, colours: np.ndarray, metal: float = 0.0) -> None:
        """A row of tiles of alternating colours along a path, hidden where a later figure stands in front."""
        self.lines.append((path, width, colours, metal, len(self.sizes) - 1))

    def cut(self, outline: np.ndarray, colour: np.ndarray, metal: float = 0.0) -> None:
        """A single tile cut to a shape of its own."""
        self.cuts.append((outline, colour, metal))

    def inside(self, outline: np.ndarray) -> np.ndarray:
        """Where an outline's inside is."""
        return filled(self.shape, outline) > 0.5


def star(c: Cartoon, cx: float, cy: float, r: float) -> None:
    """Golden kites round a heart, each one tile."""
    kite = np.array([(0.30, 0), (0.52, 0.17), (1.0, 0), (0.52, -0.17)]) * r
    heart = oval(0.25, 0.25, count=8) * r
    for number, angle in enumerate(np.linspace(0, 2 * np.pi, 9)[:-1]):
        c.cut(turned(kite * (1.0 if number % 2 == 0 else 0.78), cx, cy, angle), GOLD[4 if number % 2 == 0 else 3], 1.0)
    c.cut(heart + (cx, cy), STONE[2])


def frame(c: Cartoon) -> None:
    """Lapis corners with stars, the arch, the golden field, the meadow and a border of diamonds."""
    x, y = c.x, c.y
    c.lay(y >= 0, LAPIS, 0.25 + 0.9 * (c.cloud - 0.3), 0.0105)
    for cx, cy, r in STARS:
        star(c, cx, cy, 1.25 * r)
    ax, ay = CENTRE[0], 0.470
    for reach, colours, tone in [(0.409, RED, 0.35), (0.385, GOLD, 0.55)]:
        around = np.where(y < ay, np.hypot(x - ax, y - ay), np.abs(x - ax))
        gold = colours is GOLD
        glow = 0.42 + 0.5 * (c.cloud - 0.45) + 0.35 * np.exp(-(((around - 0.36) / 0.05) ** 2)) if gold else tone
        c.lay(around < reach, colours, glow, 0.0112 if gold else 0.009, 1.0 if gold else 0.0)
    for reach in (0.412, 0.3855):
        a = np.linspace(np.pi, 2 * np.pi, 200)
        arc = np.stack([ax + reach * np.cos(a), ay + reach * np.sin(a)], -1)
        c.line(np.concatenate([[(ax - reach, 0.96)], arc, [(ax + reach, 0.96)]]), 0.0085, STONE[1:])
    hill = 0.785 - 0.028 * np.cos((x - ax) * 9) + 0.006 * np.sin(31 * x)
    c.lay((y > hill) & (np.abs(x - ax) < 0.382), MEADOW, 0.42 + 0.95 * (c.cloud - 0.45), 0.0105)


def border(c: Cartoon) -> None:
    """The frame round it all."""
    wide, high = c.shape[1] / max(c.shape), 1.0
    edge = np.minimum(np.minimum(c.x, wide - c.x), np.minimum(c.y, high - c.y))
    c.lay(edge < 0.042, RED, 0.3 + 0.5 * (c.cloud - 0.5), 0.0095)
    for inset, colours in [(0.0415, STONE[1:]), (0.006, LAPIS[:2])]:
        corners = np.array([(inset, inset), (wide - inset, inset), (wide - inset, high - inset), (inset, high - inset)])
        path = np.concatenate(
            [np.linspace(a, b, 60)[:-1] for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
        )
        c.line(np.concatenate([path, path[:1]]), 0.0088, colours)
    middle, half = 0.0238, 0.0125
    sides = [(wide, middle), (wide, high - middle), (high, middle), (high, wide - middle)]
    for flip, (along, across) in zip((False, False, True, True), sides, strict=True):
        count = round((along - 2 * middle) / 0.047)
        for number, at in enumerate(np.linspace(middle, along - middle, count + 1)):
            diamond = np.array([(0, -1), (1.35, 0), (0, 1), (-1.35, 0)]) * half
            diamond = (diamond[:, ::-1] if flip else diamond) + ((across, at) if flip else (at, across))
            gold = number % 2 == 0
            c.lay(c.inside(diamond), GOLD if gold else BODY[2:], 0.7 + 0 * c.x, 0.0075, float(gold))


def tail(c: Cartoon) -> None:
    """The fan: shafts, then three rings of eyes, the outermost last."""
    cx, cy = CENTRE
    r, turn = np.hypot(c.x - cx, c.y - cy), np.arctan2(c.x - cx, cy - c.y)
    spread = np.radians(113)
    barbs = 0.5 + 0.5 * np.cos(turn * 32)
    fan = (r < 0.318 + 0.012 * np.cos(turn * 16 * np.pi / spread / 2)) & (np.abs(turn) < spread + 0.02)
    c.lay(fan, FAN, 0.05 + 1.3 * r + 0.28 * barbs + 0.5 * (c.cloud - 0.5), 0.0085)
    rings = [(0.150, 11, 0.0215, 0.5), (0.221, 13, 0.027, 0.5), (0.303, 17, 0.033, 0.0)]
    for reach, count, size, _ in rings:
        for angle in np.linspace(-spread * 0.985, spread * 0.985, count):
            direction = np.array([np.sin(angle), -np.cos(angle)])
            shaft = (
                np.linspace(0.06 if reach < 0.2 else reach - 0.085, reach - 0.9 * size, 12)[:, None] * direction
                + CENTRE
            )
            c.line(shaft, 0.0075, palette("a8b84a d8c860"))
            outline = turned(oval(1.2 * size, size, -0.12), *(reach * direction + CENTRE), angle - np.pi / 2)
            c.lay(c.inside(outline), EYE, eye_tone(c, outline.mean(0), direction, size), 0.0078)


def eye_tone(c: Cartoon, middle: np.ndarray, direction: np.ndarray, size: float) -> np.ndarray:
    """From 0 in an eye's heart, which sits towards the body, to 1 at its rim."""
    dx, dy = c.x - middle[0] + 0.22 * size * direction[0], c.y - middle[1] + 0.22 * size * direction[1]
    along, across = dx * direction[0] + dy * direction[1], dx * direction[1] - dy * direction[0]
    return np.hypot(along / 1.28, across / 0.98) / size * 0.93


def bird(c: Cartoon) -> None:
    """Body, head, crest and legs, in front of the fan."""
    x, y = c.x, c.y
    for side in (-1, 1):
        foot = CENTRE[0] + side * 0.042
        c.line(
            spline([(CENTRE[0] + side * 0.028, 0.705), (foot - side * 0.004, 0.75), (foot, 0.812)], 20),
            0.0085,
            GOLD[2:4],
        )
        for toe in (-0.026, 0.0, 0.026):
            c.line(spline([(foot, 0.806), (foot + toe * 0.6, 0.818), (foot + toe, 0.829)], 12), 0.0075, GOLD[2:4])
    left = [
        (0.437, 0.292),
        (0.428, 0.33),
        (0.424, 0.38),
        (0.405, 0.45),
        (0.368, 0.54),
        (0.362, 0.62),
        (0.40, 0.69),
        (0.458, 0.725),
    ]
    right = [
        (0.458, 0.725),
        (0.516, 0.69),
        (0.554, 0.62),
        (0.548, 0.54),
        (0.512, 0.45),
        (0.488, 0.38),
        (0.487, 0.33),
        (0.488, 0.29),
    ]
    outline = np.concatenate([spline(left), spline(right)])
    rounding = 0.80 - 6.5 * np.abs(x - 0.446) / (0.35 + smooth_half(y) / 0.05) + 0.22 * (c.cloud - 0.5)
    c.lay(c.inside(outline), BODY, rounding, 0.0082)
    c.line(outline, 0.0085, palette("081040 0c1858"))
    for side in (-1, 1):
        wing(c, side)
    breast(c)
    head(c)


def breast(c: Cartoon) -> None:
    """Rows of scales in gold and turquoise."""
    for row, top in enumerate((0.500, 0.540, 0.580, 0.620, 0.660)):
        for k in np.arange(-1 + 0.5 * (row % 2), 1.1):
            a = np.linspace(0.12 * np.pi, 0.88 * np.pi, 14)
            arc = np.stack([CENTRE[0] + k * 0.036 + 0.0185 * np.cos(a), top + 0.020 * np.sin(a)], -1)
            c.line(arc, 0.0068, GOLD[3:5] if row % 2 else BODY[3:], float(row % 2))


def smooth_half(y: np.ndarray) -> np.ndarray:
    """About half the body's width at a height."""
    return 0.033 + 0.060 * np.clip((y - 0.38) / 0.17, 0, 1)


def wing(c: Cartoon, side: int) -> None:
    """A folded wing: a russet shoulder, then barred feathers that point to the feet."""
    points = [
        (0.048, 0.455),
        (0.104, 0.505),
        (0.132, 0.585),
        (0.116, 0.670),
        (0.050, 0.760),
        (0.058, 0.660),
        (0.054, 0.560),
        (0.048, 0.455),
    ]
    outline = spline(points, 90) * (side, 1) + (CENTRE[0], 0)
    bars = 0.5 + 0.5 * np.cos((c.y + 0.6 * np.abs(c.x - CENTRE[0])) * 150)
    c.lay(
        c.inside(outline),
        palette("5a2412 8a3a1a c06a2c e8b060 f2dcae"),
        0.15 + 0.75 * bars * (c.y > 0.53) + 0.3 * (c.y < 0.53),
        0.0078,
    )
    c.line(outline, 0.0066, palette("2a1010 3a1814"))


def head(c: Cartoon) -> None:
    """In profile to the left, with a white cheek, a beak and a crest of five."""
    for k, angle in enumerate(np.radians([-40, -18, 4, 26, 48])):
        direction = np.array([np.sin(angle), -np.cos(angle)])
        c.line(np.linspace(0.040, 0.082, 8)[:, None] * direction + (0.462, 0.272), 0.0068, palette("dfe8d0 6fd0e0"))
        kite = np.array([(-0.011, 0), (0, 0.0095), (0.016, 0), (0, -0.0095)])
        colour = GOLD[4] if k % 2 == 0 else RED[2]
        c.cut(turned(kite, *(0.095 * direction + (0.462, 0.272)), angle - np.pi / 2), colour, float(k % 2 == 0))
    skull = spline(SKULL, 80)
    c.lay(c.inside(skull), BODY, 0.55 + 4 * (0.285 - c.y) + 0 * c.x, 0.0074)
    c.cut(np.array([(0.408, 0.262), (0.390, 0.270), (0.375, 0.290), (0.384, 0.291), (0.408, 0.282)]), rgb("e8a030"))
    c.cut(np.array([(0.408, 0.286), (0.388, 0.294), (0.394, 0.302), (0.411, 0.300)]), rgb("a86418"))
    c.cut(oval(0.0072, 0.0072, count=12) + (0.441, 0.268), rgb("08080f"))
    for angle in np.linspace(0, 2 * np.pi, 9)[:-1]:
        cheek = np.array([(0.0075, -0.0026), (0.0150, -0.0050), (0.0150, 0.0050), (0.0075, 0.0026)])
        c.cut(turned(cheek, 0.441, 0.268, angle), STONE[2])
    c.line(spline([(0.447, 0.291), (0.466, 0.287), (0.484, 0.272)], 20), 0.0075, STONE[1:])
    c.line(spline([(0.424, 0.247), (0.444, 0.243), (0.470, 0.252)], 20), 0.0066, STONE[1:])
    c.line(skull, 0.0062, palette("081040 0c1858"))


def flowers(c: Cartoon) -> None:
    """Lilies and poppies in the meadow."""
    for cx, cy, r, colours in PLANTS:
        foot = cy + 3.6 * r if cy < 0.85 else 0.945
        lean = 0.35 * r * np.sign(cx - 0.4581)
        stem = spline([(cx, cy), (cx + lean, (cy + foot) / 2), (cx + 0.5 * lean, min(foot, 0.95))], 24)
        c.line(stem, 0.0075, MEADOW[3:] if cy > 0.78 else MEADOW[2:4])
        for side in (-1, 1):
            middle = stem[15] + (side * 0.75 * r, -0.35 * r)
            leaf = turned(oval(0.85 * r, 0.27 * r, -0.3), *middle, -0.6 if side > 0 else np.pi + 0.6)
            c.lay(c.inside(leaf), MEADOW, 0.75 + 20 * (middle[1] - c.y), 0.0078)
        for angle in np.linspace(0, 2 * np.pi, 7)[:-1] + 0.3:
            petal = turned(
                oval(0.50 * r, 0.36 * r, -0.2), cx + 0.62 * r * np.cos(angle), cy + 0.62 * r * np.sin(angle), angle
            )
            c.lay(c.inside(petal), colours, 0.35 + 0.6 * np.hypot(c.x - cx, c.y - cy) / r, 0.0075)
        c.lay(c.inside(oval(0.34 * r, 0.34 * r) + (cx, cy)), GOLD, 0.8 + 0 * c.x, 0.0075, 1.0)


class Tiles:
    """The cubes pressed into the mortar: an id per pixel, and for each id its colour, metal, middle and tilt."""

    def __init__(self, shape: Shape, rng: Rng) -> None:
        self.shape, self.rng = shape, rng
        self.scale = max(shape)
        self.ids = np.zeros(shape, np.int32)
        self.taken = np.zeros(shape, bool)
        self.colours: list[np.ndarray] = [np.zeros(3)]
        self.metals: list[float] = [0.0]
        self.middles: list[np.ndarray] = [np.zeros(2)]

    def press(self, quad: np.ndarray, colour: np.ndarray, metal: float, least: float = 0.5, gap: float = 1.1) -> bool:
        """One tile (corners in pixels), trimmed to the room there is; left out where too little remains."""
        middle = quad.mean(0)
        arms = quad - middle
        reach = np.hypot(*arms.T)[:, None] + 1e-6
        rows, columns = draw.polygon(*(quad - arms / reach * gap * 0.7)[:, ::-1].T, self.shape)
        free = ~self.taken[rows, columns]
        if len(rows) < 6 or free.sum() < max(least * len(rows), 6):
            return False
        self.ids[rows[free], columns[free]] = len(self.colours)
        rows, columns = draw.polygon(*(quad + arms / reach * gap)[:, ::-1].T, self.shape)
        self.taken[rows, columns] = True
        self.colours.append(colour)
        self.metals.append(metal)
        self.middles.append(middle)
        return True

    def row(
        self, path: np.ndarray, width: float, look: np.ndarray, metal: float, label: np.ndarray, number: int
    ) -> None:
        """Tiles side by side along a path in pixels; colours from an image, or alternating from a list."""
        steps = np.hypot(*np.diff(path, axis=0).T)
        knots = np.concatenate([[0], np.cumsum(steps)])
        if knots[-1] < 0.5 * width:
            return
        count = max(1, round(knots[-1] / (width * 1.12)))
        cuts = np.linspace(0, knots[-1], count + 1)
        cuts[1:-1] += self.rng.normal(0, 0.09 * width, count - 1)
        near = np.clip(np.stack([cuts - 0.3 * width, cuts + 0.3 * width]), 0, knots[-1])
        before, after = (np.stack([np.interp(n, knots, path[:, i]) for i in (0, 1)], -1) for n in near)
        points = np.stack([np.interp(cuts, knots, path[:, i]) for i in (0, 1)], -1)
        tangent = (after - before) / (np.hypot(*(after - before).T)[:, None] + 1e-6)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1) * width / 2
        for k in range(count):
            quad = np.stack(
                [
                    points[k] + normal[k],
                    points[k + 1] + normal[k + 1],
                    points[k + 1] - normal[k + 1],
                    points[k] - normal[k],
                ]
            )
            quad = quad + self.rng.normal(0, 0.055 * width, (4, 2))
            x, y = np.clip(quad.mean(0), 0, np.array(self.shape[::-1]) - 1).astype(int)
            if look.ndim == 2 and label[y, x] <= number:
                self.press(quad, look[k % len(look)], metal, 0.4)
            elif look.ndim == 3 and label[y, x] == number:
                self.press(quad, look[y, x], metal)

    def fill(self, cartoon: Cartoon, number: int) -> None:
        """Rows along the level lines of the distance from a figure's outline."""
        pitch = cartoon.sizes[number] * self.scale
        inside = cartoon.label == number
        where = ndimage.find_objects(inside.astype(np.uint8))
        if not where:
            return
        pad = 3
        cut = tuple(slice(max(s.start - pad, 0), s.stop + pad) for s in where[0])
        depth = ndimage.distance_transform_edt(np.pad(inside[cut] & ~self.taken[cut], 1))
        depth = ndimage.gaussian_filter(depth, 0.16 * pitch)
        offset = np.array([cut[1].start - 1, cut[0].start - 1])
        for level in np.arange(0.52, depth.max() / pitch, 1.0):
            for contour in measure.find_contours(depth, level * pitch):
                path = ndimage.gaussian_filter1d(contour[:, ::-1] + offset, 2.0, axis=0, mode="nearest")
                self.row(path, pitch, cartoon.colour, cartoon.metals[number], cartoon.label, number)

    def crumbs(self, cartoon: Cartoon, smallest: float) -> None:
        """Small cut pieces in the holes that the rows leave."""
        room = ndimage.distance_transform_edt(~self.taken)
        peaks = (room == ndimage.maximum_filter(room, 5)) & (room > smallest * self.scale)
        for y, x in self.rng.permutation(np.argwhere(peaks)):
            size = room[y, x] * self.rng.uniform(1.25, 1.6)
            angles = np.sort(self.rng.uniform(0, 2 * np.pi) + np.arange(4) * np.pi / 2 + self.rng.normal(0, 0.2, 4))
            quad = np.stack([x + size * np.cos(angles), y + size * np.sin(angles)], -1)
            self.press(quad, cartoon.colour[y, x], cartoon.metals[cartoon.label[y, x]], 0.3, 0.8)


def surface(tiles: Tiles, rng: Rng) -> np.ndarray:
    """The wall in raking light: each tile tilted its own way, gold ones glinting, mortar between."""
    shape, ids, count = tiles.shape, tiles.ids, len(tiles.colours)
    metal, middle = np.array(tiles.metals), np.array(tiles.middles)
    colours = jittered(np.array(tiles.colours, np.float32), rng, 4.2, 3.6)
    tilt = rng.normal(0, 1, (count, 2))
    facing = np.clip(
        rng.normal(0, 1, count) + 0.5 * np.sin(middle[:, 0] / shape[1] * 5 + middle[:, 1] / shape[0] * 3), -2, 2.6
    )
    tone = (colours.mean(-1) - 0.18) / 0.75 + 0.13 * facing
    glass = ramp(GOLD, np.clip(tone, 0, 1))
    colours = np.where(metal[:, None] > 0, 0.35 * colours + 0.65 * glass, colours * (1 + 0.07 * facing[:, None]))
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    across = ((x - middle[ids, 0]) * tilt[ids, 0] + (y - middle[ids, 1]) * tilt[ids, 1]) / (0.010 * max(shape))
    sheen = 1 + (0.10 + 0.16 * metal[ids]) * np.clip(across, -2, 2)
    grit = noise(shape, 170, rng, 3) - 0.5
    vein = noise(shape, (60, 40), rng, 3) - 0.5
    picture = colours[ids] * (sheen + 0.16 * grit + 0.16 * vein)[..., None]
    glint = np.clip(facing[ids] - 1.1, 0, 1) * np.clip(0.6 + 0.6 * across, 0, 1.2) * (0.10 + 0.34 * metal[ids])
    picture = picture + glint[..., None] * np.array([1.0, 0.93, 0.70])
    mortar = rgb("4c3a2c") * (1 + 0.9 * grit + 0.4 * vein)[..., None]
    picture = np.where((ids > 0)[..., None], picture, mortar)
    depth = ndimage.distance_transform_edt(ids > 0) / (0.0022 * max(shape))
    height = 3.2 * np.clip(depth, 0, 1) ** 0.7 + 0.35 * grit + 0.22 * np.clip(across, -2, 2)
    return lit(picture, height.astype(np.float32), 0.42, 0.22)


def paint(shape: Shape, rng: Rng) -> np.ndarray:
    """Draw the cartoon, press the outlines' rows, fill the figures, then the gaps."""
    cartoon = Cartoon(shape, rng)
    for part in (frame, tail, bird, flowers, border):
        part(cartoon)
    tiles = Tiles(shape, rng)
    for outline, colour, metal in cartoon.cuts:
        tiles.press(outline * max(shape), colour, metal, 0.2, 0.9)
    for path, width, colours, metal, number in reversed(cartoon.lines):
        tiles.row(path * max(shape), width * max(shape), colours, metal, cartoon.label, number)
    for number in range(len(cartoon.sizes) - 1, 0, -1):
        tiles.fill(cartoon, number)
    for smallest in (0.0030, 0.0022, 0.0018):
        tiles.crumbs(cartoon, smallest)
    return surface(tiles, rng)
