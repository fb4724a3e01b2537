"""Mountains in mist with bamboo: black ink on wet paper, and one red seal."""

from __future__ import annotations

import numpy as np

from .common import Rng, Shape, Sheet, blurred, filled, grid, noise, profile, rgb, ribbon, smoothstep, spline

ASPECT = (576, 768)

INK = rgb("2e3036")
BLACK = rgb("15161a")
RED = rgb("b8321f")


def paper(shape: Shape, rng: Rng) -> np.ndarray:
    """Warm rice paper, its fibres and a little age toward the edges."""
    x, y = grid(shape)
    fibres = noise(shape, (30, 260), rng, 2) + noise(shape, (260, 30), rng, 2) - 1
    cloud = noise(shape, 4, rng, 4) - 0.5
    inset = np.minimum(np.minimum(x, x.max() - x), np.minimum(y, y.max() - y))
    tone = 1 + 0.022 * fibres + 0.05 * cloud - 0.07 * np.exp(-inset / 0.05)
    return rgb("f3e8cf") * tone[..., None]


def hairs(shape: Shape, rng: Rng, lean: float) -> np.ndarray:
    """What a half dry brush dragged downhill leaves: streaks that break up, 0..1."""
    x, y = grid(shape)
    streaks = noise(shape, (7, 170), rng, 3)
    columns = ((x + lean * y) * max(shape)).astype(int) % shape[1]
    rows = np.broadcast_to(np.arange(shape[0])[:, None], shape)
    return smoothstep(0.45, 0.68, streaks[rows, columns])


class Range:
    """One range of mountains: a ridge line over x."""

    def __init__(self, sheet: Sheet, base: float, height: float, peaks: float) -> None:
        self.sheet, self.rng = sheet, sheet.rng
        self.x, self.y = grid(sheet.shape)
        line = self.x[0]
        sharp = 1 - 2.2 * np.abs(profile(line, peaks, self.rng, 1))
        self.ridge = (
            base
            - height * (0.55 * sharp + 0.35 * profile(line, peaks * 0.7, self.rng, 1))
            - 0.10 * height * profile(line, peaks * 4, self.rng, 4)
        )
        self.depth = self.y - self.ridge[None]

    def body(self, strength: float, mist: float) -> None:
        """Graded ink that thins out downward into mist; what lies behind is hidden first."""
        inside = smoothstep(-0.0012, 0.0012, self.depth)
        hidden = inside * smoothstep(1.3 * mist, 0.2 * mist, self.depth) * 0.9
        self.sheet.colour += hidden[..., None] * (self.blank - self.sheet.colour)
        drift = 0.55 * mist * (noise(self.sheet.shape, (5, 2.5), self.rng, 4) - 0.5)
        fade = np.exp(-np.clip(self.depth + drift, 0, None) / mist) * smoothstep(2.6 * mist, 0.8 * mist, self.depth)
        self.sheet.lay(inside * fade, INK, strength, bleed=0.003, edge=0.5, flow=0.6)

    def strokes(self, strength: float, mist: float, count: int) -> None:
        """The ridge drawn twice with a loaded brush, then dry strokes down the slopes."""
        shape, rng = self.sheet.shape, self.rng
        line = self.x[0]
        path = np.stack([line, self.ridge], -1)[::6]
        weight = np.clip(0.0035 + 0.004 * profile(path[:, 0], 16, rng, 3), 0.0004, 1)
        self.sheet.lay(filled(shape, ribbon(path, weight)), BLACK, 1.1 * strength, bleed=0.002, edge=0.5, flow=0.9)
        outlines = []
        for start in rng.uniform(0, line[-1], count):
            top = np.interp(start, line, self.ridge)
            slope = np.interp(start + 0.01, line, self.ridge) - np.interp(start - 0.01, line, self.ridge)
            side = np.sign(slope) if slope else 1.0
            begin = top + rng.uniform(0, 0.35) * mist
            fall = rng.uniform(0.25, 0.9) * mist
            t = np.linspace(0, 1, 14)
            bent = start + side * 0.55 * fall * t**1.4 + 0.003 * np.sin(7 * t + start * 90)
            outlines.append(
                ribbon(np.stack([bent, begin + fall * t], -1), rng.uniform(0.004, 0.011) * (1 - t) ** 0.7 + 0.0006)
            )
        inside = filled(shape, *outlines) * smoothstep(0, 0.003, self.depth)
        for lean in (-0.4, 0.4):
            dry = inside * hairs(shape, rng, lean) * np.exp(-np.clip(self.depth, 0, None) / mist)
            self.sheet.lay(dry, BLACK, 1.0 * strength, bleed=0.0008, edge=0.2, flow=0.6)


def mountains(sheet: Sheet, blank: np.ndarray) -> None:
    """From pale far ranges to dark near ones, mist between."""
    Range.blank = blank
    for base, height, peaks, strength, mist, count in [
        (0.30, 0.10, 3.5, 0.28, 0.07, 0),
        (0.37, 0.20, 2.6, 0.50, 0.12, 130),
        (0.51, 0.17, 2.8, 0.80, 0.12, 190),
        (0.66, 0.12, 3.2, 0.95, 0.075, 200),
    ]:
        layer = Range(sheet, base, height, peaks)
        layer.body(strength, mist)
        if count:
            layer.strokes(strength, mist, count)
            trees(sheet, layer, int(count * 0.28), strength)


def trees(sheet: Sheet, layer: Range, count: int, strength: float) -> None:
    """Small pines on the ridges: a stem, and dabs of a wet brush."""
    rng, line, stems, dabs = sheet.rng, layer.x[0], [], []
    for start in rng.normal(rng.uniform(0.15, 0.6), 0.12, count):
        foot = np.interp(start, line, layer.ridge) + rng.uniform(0, 0.012)
        tall = rng.uniform(0.014, 0.030)
        stems.append(ribbon(np.array([(start, foot), (start + 0.002, foot - tall / 2), (start, foot - tall)]), 0.0018))
        for _ in range(7):
            at = np.array([start + rng.normal(0, 0.18 * tall), foot - tall * rng.uniform(0.35, 1.05)])
            half = rng.uniform(0.15, 0.36) * tall * np.array([1, rng.normal(0, 0.15)])
            dabs.append(ribbon(np.stack([at - half, at, at + half]), np.array([0.0008, 0.0052, 0.001])))
    sheet.lay(filled(sheet.shape, *stems), BLACK, strength, bleed=0.0005, edge=0.3, flow=0.3)
    sheet.lay(filled(sheet.shape, *dabs), BLACK, 0.95 * strength, bleed=0.0018, edge=0.9, flow=0.8)


def water(sheet: Sheet) -> None:
    """Still water, a boat with a fisherman, birds, and a pale sun."""
    x, y = grid(sheet.shape)
    rng, shape = sheet.rng, sheet.shape
    ripples = noise(shape, (120, 4), rng, 3)
    band = smoothstep(0.74, 0.80, y) * smoothstep(0.99, 0.86, y)
    sheet.lay(smoothstep(0.60, 0.72, ripples) * band, INK, 0.32, bleed=0.001, edge=0.4, flow=0.7)
    sheet.lay((np.hypot(x - 0.50, y - 0.115) < 0.048).astype(np.float32), RED, 0.9, bleed=0.003, edge=0.7, flow=0.5)
    hull = spline([(0.395, 0.815), (0.43, 0.832), (0.50, 0.832), (0.545, 0.808), (0.49, 0.823), (0.44, 0.824)], 50)
    man = spline([(0.463, 0.826), (0.462, 0.800), (0.470, 0.786), (0.481, 0.800), (0.484, 0.826)], 30)
    hat = np.array([(0.453, 0.792), (0.470, 0.777), (0.488, 0.793)])
    rod = ribbon(spline([(0.475, 0.808), (0.53, 0.775), (0.575, 0.772)], 30), 0.0016)
    sheet.lay(filled(shape, hull, man, hat, rod), BLACK, 1.3, bleed=0.0012, edge=0.5, flow=0.5)
    birds = [
        ribbon(
            spline(
                [
                    (bx - s, by - 0.5 * s),
                    (bx - 0.4 * s, by - 0.7 * s),
                    (bx, by),
                    (bx + 0.5 * s, by - 0.8 * s),
                    (bx + 1.1 * s, by - 0.4 * s),
                ],
                24,
            ),
            0.0024,
        )
        for bx, by, s in [(0.36, 0.17, 0.011), (0.40, 0.145, 0.009), (0.425, 0.18, 0.008), (0.33, 0.135, 0.007)]
    ]
    sheet.lay(filled(shape, *birds), BLACK, 0.9, bleed=0.0006, edge=0.4, flow=0.4)


class Bamboo:
    """Canes painted joint by joint, with leaves in sprays."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet, self.rng = sheet, sheet.rng
        self.x, self.y = grid(sheet.shape)

    def cane(self, points: list[tuple[float, float]], width: float, strength: float, joints: int) -> None:
        """One cane: each joint a stroke, dark at its sides and at its ends, streaked where the brush was dry."""
        path = spline(points, joints * 16)
        streaks = 0.55 + 0.75 * hairs(self.sheet.shape, self.rng, 0.05)
        knots = []
        for piece in np.array_split(path, joints):
            t = np.linspace(-1, 1, len(piece) - 1)
            swell = width * (0.84 + 0.16 * t**4)
            mask = filled(self.sheet.shape, ribbon(piece[:-1], swell))
            self.sheet.lay(mask * streaks, INK, strength, bleed=0.0012, edge=1.6, flow=0.7)
            end = piece[-1]
            knots.append(
                ribbon(
                    spline([end + (-0.62 * width, -0.002), end + (0, 0.003), end + (0.62 * width, -0.003)], 14), 0.0042
                )
            )
        self.sheet.lay(filled(self.sheet.shape, *knots), BLACK, 1.5 * strength, bleed=0.0008, edge=0.5, flow=0.5)

    def leaf(self, root: np.ndarray, angle: float, length: float) -> np.ndarray:
        """A blade: quick press, long lift."""
        t = np.linspace(0, 1, 30)
        bend = self.rng.normal(0, 0.25)
        turn = angle + bend * t
        path = root + np.cumsum(np.stack([np.cos(turn), np.sin(turn)], -1), 0) * length / 30
        return ribbon(path, 0.145 * length * np.sin(np.pi * t**0.62) ** 0.9 * (1 - 0.45 * t) + 0.0003)

    def spray(self, root: tuple[float, float], angle: float, count: int, length: float, strength: float) -> None:
        """A twig with leaves that hang from its end, each its own tone."""
        at = np.array(root)
        twig = spline([tuple(at - 0.09 * np.array([np.cos(angle), np.sin(angle) * 0.6])), tuple(at)], 12)
        self.sheet.lay(
            filled(self.sheet.shape, ribbon(twig, 0.0026)), BLACK, strength, bleed=0.0006, edge=0.5, flow=0.4
        )
        for number in range(count):
            start = twig[self.rng.integers(5, 12)]
            lean = angle + self.rng.uniform(-0.95, 0.95)
            mask = filled(self.sheet.shape, self.leaf(start, lean, length * self.rng.uniform(0.6, 1.15)))
            dry = 0.7 + 0.5 * noise(self.sheet.shape, 60, self.rng, 1) if number % 3 == 0 else 1.0
            self.sheet.lay(mask * dry, BLACK, strength * self.rng.uniform(0.45, 1.15), bleed=0.0012, edge=0.7, flow=0.8)


def bamboo(sheet: Sheet) -> None:
    """Pale canes behind, dark ones before, leaves over all."""
    grove = Bamboo(sheet)
    grove.cane([(0.695, 1.02), (0.70, 0.6), (0.685, 0.3), (0.65, -0.02)], 0.017, 0.45, 8)
    for root, angle in [((0.60, 0.24), 2.6), ((0.64, 0.47), 2.3)]:
        grove.spray(root, angle, 6, 0.10, 0.5)
    grove.cane([(0.055, 1.03), (0.075, 0.7), (0.085, 0.35), (0.13, -0.03)], 0.032, 0.75, 7)
    grove.cane([(0.155, 1.03), (0.15, 0.75), (0.175, 0.45), (0.245, 0.16)], 0.018, 0.85, 7)
    sprays = [
        ((0.24, 0.105), 0.75, 9, 0.15),
        ((0.29, 0.235), 0.55, 8, 0.14),
        ((0.17, 0.36), 1.0, 7, 0.13),
        ((0.065, 0.17), 2.0, 6, 0.11),
        ((0.27, 0.475), 0.8, 7, 0.12),
        ((0.04, 0.52), 1.9, 5, 0.10),
        ((0.23, 0.70), 0.55, 6, 0.10),
    ]
    for root, angle, count, length in sprays:
        grove.spray(root, angle, count, length, 1.25)


def ground(sheet: Sheet) -> None:
    """Wet rocks and grass at the foot of the picture."""
    x, y = grid(sheet.shape)
    rng, shape = sheet.rng, sheet.shape
    bank = (
        0.925 - 0.05 * smoothstep(0.35, 0.05, x) - 0.055 * smoothstep(0.5, 0.72, x) + 0.012 * profile(x[0], 12, rng, 4)
    )
    inside = smoothstep(0, 0.004, y - bank)
    sheet.lay(inside, INK, 0.75, bleed=0.006, edge=0.9, flow=1.0)
    sheet.lay(inside * smoothstep(0.5, 0.75, noise(shape, 14, rng, 4)), BLACK, 0.8, bleed=0.005, edge=0.9, flow=0.8)
    blades = []
    for start in np.concatenate([rng.uniform(0, 0.3, 70), rng.uniform(0.52, 0.75, 60)]):
        foot = 0.93 - 0.05 * (start < 0.2) - 0.04 * (start > 0.62) + rng.uniform(0, 0.03)
        tall, lean = rng.uniform(0.02, 0.055), rng.normal(0, 0.02)
        blades.append(
            ribbon(
                spline([(start, foot), (start + 0.3 * lean, foot - 0.6 * tall), (start + lean, foot - tall)], 14),
                np.linspace(0.0032, 0.0003, 14),
            )
        )
    sheet.lay(filled(shape, *blades), BLACK, 1.0, bleed=0.0008, edge=0.5, flow=0.8)


def splashes(sheet: Sheet) -> None:
    """Drops the brush let fall."""
    x, y = grid(sheet.shape)
    mask = np.zeros(sheet.shape, np.float32)
    for _ in range(46):
        cx, cy, r = *sheet.rng.uniform((0, 0), (0.75, 1)), sheet.rng.exponential(0.0016) + 0.0007
        mask = np.maximum(mask, smoothstep(r * 1.15, r * 0.85, np.hypot(x - cx, y - cy)))
    sheet.lay(mask, INK, 0.8, bleed=0.001, edge=1.0, flow=0.5)


def seal(sheet: Sheet) -> None:
    """A square seal with carved strokes, unevenly inked."""
    x, y = grid(sheet.shape)
    left, top, side = 0.635, 0.875, 0.058
    u, v = (x - left) / side, (y - top) / side
    block = (np.abs(u - 0.5) < 0.5) & (np.abs(v - 0.5) < 0.5)
    for a, b, c, d in [
        (0.12, 0.12, 0.88, 0.20),
        (0.46, 0.12, 0.54, 0.55),
        (0.20, 0.34, 0.80, 0.41),
        (0.12, 0.52, 0.88, 0.59),
        (0.18, 0.59, 0.26, 0.88),
        (0.74, 0.59, 0.82, 0.88),
        (0.40, 0.70, 0.60, 0.77),
        (0.18, 0.83, 0.82, 0.90),
    ]:
        block &= ~((u > a) & (u < c) & (v > b) & (v < d))
    worn = smoothstep(0.28, 0.42, noise(sheet.shape, 90, sheet.rng, 3))
    patch = (np.abs(u - 0.5) < 0.52) & (np.abs(v - 0.5) < 0.52)
    sheet.colour = np.where(patch[..., None], 0.35 * sheet.colour + 0.65 * rgb("efe2c6"), sheet.colour)
    sheet.lay(block * worn, RED, 1.15, bleed=0.0006, edge=0.3, flow=0.3)


def paint(shape: Shape, rng: Rng) -> np.ndarray:
    """Paper, sky, mountains, water, bank, bamboo, seal."""
    blank = paper(shape, rng)
    sheet = Sheet(blank, rng, granulation=0.22)
    x, y = grid(shape)
    clouds = smoothstep(0.45, 0.85, noise(shape, (6, 2.5), rng, 4)) * smoothstep(0.45, 0.1, y)
    sheet.lay(blurred(clouds, 0.004), INK, 0.22, bleed=0.01, edge=0.2, flow=0.5)
    mountains(sheet, blank)
    water(sheet)
    ground(sheet)
    bamboo(sheet)
    splashes(sheet)
    seal(sheet)
    return sheet.colour
