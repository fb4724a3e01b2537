"""Guitar, bottle and glass on a table, cut into planes and seen from several sides at once, with pasted papers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .common import (
    Oils,
    Rng,
    Shape,
    blurred,
    canvas_weave,
    filled,
    grid,
    jittered,
    lit,
    mix,
    noise,
    palette,
    ramp,
    rgb,
    ribbon,
    scattered,
    smoothstep,
    spline,
    trace,
)

ASPECT = (624, 768)

UMBER = palette("1c130d 3d2616 6e4522 a8752f d6a956 f0dcae")
SLATE = palette("12171c 27343f 4a5f6b 7d919a b3bfc0 ece8da")
TEAL = palette("0a1c1e 12393c 1f6062 4f928a 9cc4b4 e6ecd4")
CREAM = palette("6f5a3c b09468 d8c498 eee0bd faf2da")
RUST = palette("2c0d08 6c1e12 a83a1e d2672e eda663")
FAMILIES = (UMBER, SLATE, TEAL, CREAM)
INK = rgb("120d0a")
PALE = rgb("f7edd3")

PEAR = [
    (0.545, 0.745), (0.567, 0.765), (0.575, 0.825), (0.610, 0.880), (0.590, 0.945), (0.535, 0.955),
    (0.492, 0.920), (0.500, 0.860), (0.528, 0.815), (0.530, 0.765), (0.545, 0.745),
]  # fmt: skip

Points = Sequence[tuple[float, float]]


def arc(cx: float, cy: float, r: float, squash: float = 1.0, start: float = 0, end: float = 360) -> np.ndarray:
    """Points of an ellipse's arc, angles in degrees."""
    a = np.radians(np.linspace(start, end, 90))
    return np.stack([cx + r * np.cos(a), cy + squash * r * np.sin(a)], -1)


class View:
    """One look at the still life: every figure filled from a family of tones, or only drawn."""

    def __init__(self, shape: Shape, rng: Rng, ground: np.ndarray, line: np.ndarray) -> None:
        self.shape, self.rng, self.ink = shape, rng, line
        self.x, self.y = grid(shape)
        self.cloud = noise(shape, 4, rng, 4)
        self.picture = ramp(ground, 0.25 + 0.55 * self.cloud)

    def fill(self, outline: np.ndarray, colours: np.ndarray, tone: np.ndarray | float, share: float = 1.0) -> None:
        """A figure's body."""
        mask = share * filled(self.shape, outline)
        self.picture = mix(self.picture, ramp(colours, tone + 0 * self.x), mask)

    def draw(self, path: np.ndarray, width: float = 0.006, colour: np.ndarray | None = None) -> None:
        """A line that swells in its middle."""
        swell = width * (0.55 + 0.45 * np.sin(np.linspace(0, np.pi, len(path))))
        mask = filled(self.shape, ribbon(path, swell))
        self.picture = mix(self.picture, (self.ink if colour is None else colour) + 0 * self.picture, mask)


def wood(shape: Shape, rng: Rng, colours: np.ndarray, turn: float) -> np.ndarray:
    """Combed false wood: bands that bend round a few knots."""
    x, y = grid(shape)
    across, along = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    bend = across + 0.03 * noise(shape, (3, 3), rng, 2) + 0.010 * np.sin(9 * along)
    for cx, cy in rng.uniform(0, 1, (7, 2)) * (0.8, 1):
        far = ((x - cx) ** 2 + 0.12 * (y - cy) ** 2) / 0.0016
        bend = bend + 0.035 * np.exp(-far)
    bands = 0.5 + 0.5 * np.sin(bend * 330)
    fine = 0.5 + 0.5 * np.sin(bend * 1250 + 5 * noise(shape, 20, rng, 2))
    return ramp(colours, 0.30 + 0.32 * bands**2 + 0.16 * fine + 0.25 * (noise(shape, (3, 30), rng, 3) - 0.5))


def table(v: View, cloth: np.ndarray) -> None:
    """A round table top seen from above, its edge, and a white cloth."""
    v.fill(arc(0.40, 0.86, 0.43, 0.56), UMBER, 0.12)
    v.fill(arc(0.40, 0.83, 0.43, 0.56), cloth, 0.35 + 0.5 * v.x + 0.3 * (v.cloud - 0.5))
    v.draw(arc(0.40, 0.83, 0.43, 0.56), 0.010)
    napkin = np.array([(0.06, 0.80), (0.30, 0.73), (0.36, 0.87), (0.20, 1.0), (0.10, 0.99)])
    v.fill(napkin, CREAM, 0.75 + 0.9 * (v.x - 0.2) + 0.12 * np.sin(90 * (v.x + 0.4 * v.y)))
    v.draw(napkin, 0.007)


def bottle(v: View, glass: np.ndarray) -> None:
    """Shoulders, neck, cork and label."""
    right = spline([(0.612, 0.075), (0.610, 0.225), (0.655, 0.300), (0.675, 0.360), (0.676, 0.50), (0.672, 0.705)], 70)
    outline = np.concatenate([right, (right * (-1, 1) + (1.145, 0))[::-1]])
    gleam = np.exp(-(((v.x - 0.525) / 0.016) ** 2)) + 0.6 * np.exp(-(((v.x - 0.645) / 0.010) ** 2))
    v.fill(outline, glass, 0.14 + 0.75 * gleam + 0.25 * (v.x > 0.575))
    v.fill(np.array([(0.530, 0.040), (0.615, 0.040), (0.618, 0.090), (0.527, 0.090)]), RUST, 0.45 + 3 * (0.57 - v.x))
    v.fill(
        np.array([(0.470, 0.440), (0.677, 0.440), (0.677, 0.590), (0.470, 0.590)]), CREAM, 0.85 - 2 * np.abs(v.x - 0.56)
    )
    for row in np.linspace(0.465, 0.565, 4):
        v.draw(np.linspace((0.49, row), (0.655 - 0.06 * (row > 0.54), row), 9), 0.007)
    v.draw(outline, 0.009)
    v.draw(arc(0.5725, 0.705, 0.10, 0.24, 0, 180), 0.008)


def guitar(v: View, body: np.ndarray, face: np.ndarray | None = None) -> None:
    """Two bouts and a waist, a sound hole with its rings, neck, frets, pegs and strings."""
    left = [
        (0.290, 0.430),
        (0.188, 0.450),
        (0.165, 0.530),
        (0.205, 0.605),
        (0.122, 0.690),
        (0.115, 0.815),
        (0.215, 0.900),
        (0.305, 0.910),
    ]
    right = [
        (0.305, 0.910),
        (0.420, 0.900),
        (0.510, 0.810),
        (0.490, 0.690),
        (0.402, 0.605),
        (0.440, 0.530),
        (0.405, 0.450),
        (0.290, 0.430),
    ]
    outline = np.concatenate([spline(left, 70), spline(right, 70)])
    v.fill(outline + (0.026, 0.012), UMBER, 0.06)
    v.fill(outline, body, 0.62 + 0.9 * (0.33 - v.x) + 0.25 * (v.cloud - 0.5))
    if face is not None:
        v.picture = mix(v.picture, face, 0.75 * filled(v.shape, outline))
    v.draw(outline, 0.012)
    for r, width in [(0.078, 0.0045), (0.070, 0.0045)]:
        v.draw(arc(0.310, 0.640, r), width)
    v.fill(arc(0.310, 0.640, 0.058), UMBER, 0.02 + 1.2 * (v.y - 0.60))
    neck_and_strings(v)


def neck_and_strings(v: View) -> None:
    """What runs down the guitar: head, pegs, frets, bridge and strings."""
    neck = np.array([(0.282, 0.62), (0.289, 0.120), (0.348, 0.120), (0.342, 0.62)])
    v.fill(neck, UMBER, 0.10 + 5 * np.maximum(v.x - 0.315, 0))
    head = np.array([(0.283, 0.125), (0.268, 0.020), (0.316, 0.032), (0.368, 0.020), (0.354, 0.125)])
    v.fill(head, RUST, 0.35 + 2 * (0.33 - v.x))
    for path in (neck, np.concatenate([head, head[:1]])):
        v.draw(path, 0.008)
    for fret in 0.62 - np.cumsum(np.linspace(0.022, 0.060, 12)):
        v.draw(np.linspace((0.284, fret), (0.347, fret), 5), 0.005, CREAM[2])
    for row in (0.045, 0.072, 0.099):
        for peg in (0.262, 0.374):
            v.fill(arc(peg, row, 0.012, 0.75), CREAM, 0.6)
    bridge = np.array([(0.225, 0.790), (0.398, 0.787), (0.400, 0.815), (0.226, 0.818)])
    v.fill(bridge, UMBER, 0.08)
    for string in np.linspace(0.291, 0.339, 6):
        v.draw(np.linspace((string, 0.03), (string - 0.001, 0.80), 12), 0.0034, PALE)


def glass_and_fruit(v: View, cup: np.ndarray) -> None:
    """A stemmed glass with wine, a pear and an apple."""
    bowl = np.concatenate([arc(0.688, 0.685, 0.078, 1.75, 0, 180), arc(0.688, 0.685, 0.078, 0.27, 180, 360)])
    v.fill(bowl, cup, 0.55 + 4.5 * np.abs(v.x - 0.675), 0.85)
    v.fill(arc(0.688, 0.735, 0.072, 1.05, 0, 180), RUST, 0.25 + 4.0 * np.abs(v.x - 0.70))
    v.fill(arc(0.688, 0.735, 0.072, 0.25), RUST, 0.75)
    v.fill(np.array([(0.681, 0.815), (0.696, 0.815), (0.694, 0.905), (0.683, 0.905)]), cup, 0.85)
    for outline, width in [
        (bowl, 0.008),
        (arc(0.688, 0.685, 0.078, 0.27), 0.006),
        (arc(0.688, 0.915, 0.066, 0.26), 0.009),
    ]:
        v.draw(outline, width)
    pear = spline(PEAR, 90)
    v.fill(pear, palette("3a3a12 7a7a22 b8a838 e6d066 f8efb0"), 0.7 + 4.5 * (0.535 - v.x))
    v.draw(pear, 0.009)
    v.draw(spline([(0.546, 0.748), (0.552, 0.725), (0.566, 0.712)], 12), 0.008)
    v.fill(arc(0.635, 0.945, 0.048), RUST, 0.75 + 6.5 * (0.618 - v.x))
    v.draw(arc(0.635, 0.945, 0.048), 0.009)


def views(shape: Shape, rng: Rng) -> list[np.ndarray]:
    """The same things in full colour, in cold light, in dark with pale lines, and in wood and cream."""
    looks = [
        (palette("4a5f6b 7d8f8c b8ad8c d8c498"), INK, UMBER, UMBER, TEAL, SLATE),
        (SLATE[1:], INK, SLATE, CREAM, SLATE, TEAL),
        (palette("120d0a 1e1814 2c2622 3a3430"), PALE, UMBER[:4], UMBER[:4], TEAL[:3], SLATE[:4]),
        (CREAM[1:], INK, TEAL, RUST, UMBER, CREAM),
    ]
    seen = []
    for number, (ground, ink, cloth, body, glass, cup) in enumerate(looks):
        view = View(shape, rng, ground, ink)
        table(view, cloth)
        bottle(view, glass)
        guitar(view, body, wood(shape, rng, UMBER[1:], 0.06) if number == 0 else None)
        glass_and_fruit(view, cup)
        seen.append(view.picture)
    return seen


class Planes:
    """Overlapping planes, each a window on one of the views, shaded from one side and edged in ink."""

    def __init__(self, shape: Shape, rng: Rng) -> None:
        self.shape, self.rng, self.scale = shape, rng, max(shape)
        self.x, self.y = grid(shape)
        self.views = views(shape, rng)
        self.picture = self.views[0].copy()
        self.angle = np.full(shape, 0.9, np.float32)
        self.ink = np.zeros(shape, np.float32)
        self.stipple = noise(shape, 300, rng, 1)

    def window(self, points: np.ndarray) -> tuple[slice, slice]:
        """The pixels about a plane, with room for its shadow."""
        low = np.clip((points.min(0) - 0.03) * self.scale, 0, None).astype(int)
        high = np.clip((points.max(0) + 0.03) * self.scale, low + 2, None).astype(int)
        return slice(low[1], min(high[1], self.shape[0])), slice(low[0], min(high[0], self.shape[1]))

    def seen(self, number: int, points: np.ndarray, shift: tuple[float, float], turn: float, zoom: float) -> np.ndarray:
        """A view moved, turned and brought nearer about a plane's middle."""
        cx, cy = points.mean(0)
        window = self.window(points)
        x, y = self.x[window] - cx, self.y[window] - cy
        c, s = np.cos(turn) / zoom, np.sin(turn) / zoom
        columns = np.clip((cx + shift[0] + c * x - s * y) * self.scale, 0, self.shape[1] - 1).astype(int)
        rows = np.clip((cy + shift[1] + s * x + c * y) * self.scale, 0, self.shape[0] - 1).astype(int)
        return self.views[number][rows, columns]

    def depth(self, points: np.ndarray, side: int) -> np.ndarray:
        """0 along one side of a plane, 1 at its far corner."""
        first, second = points[side], points[(side + 1) % len(points)]
        window = self.window(points)
        along = (second - first) / (np.hypot(*(second - first)) + 1e-9)
        off = (self.x[window] - first[0]) * -along[1] + (self.y[window] - first[1]) * along[0]
        corners = (points - first) @ np.array([-along[1], along[0]])
        return np.clip(off / (corners[np.abs(corners).argmax()] + 1e-9), 0, 1).astype(np.float32)

    def put(
        self,
        points: Points | np.ndarray,
        look: np.ndarray,
        side: int,
        dark: float,
        fade: float = 0.0,
        edge: float = 0.0055,
    ) -> None:
        """Lay a plane: a shadow under it, its look, shade gathered at one side, perhaps melting away at the other."""
        outline = np.asarray(points, float)
        window = self.window(outline)
        look = look[window] if look.shape[:2] == self.shape else look
        mask = filled(self.shape, outline)[window]
        under = self.picture[window]
        k = self.scale / max(under.shape[:2])
        shadow = blurred(filled(self.shape, outline + (0.007, 0.008))[window], 0.006 * k) * (1 - mask)
        under = under * (1 - 0.50 * shadow)[..., None]
        rough = self.depth(outline, side) + 0.35 * (self.stipple[window] - 0.5)
        body = look * (1 - dark * np.exp(-((rough / 0.38) ** 2)))[..., None]
        body = mix(body, PALE + 0 * body, 0.22 * smoothstep(0.70, 1.0, rough))
        shown = mask * (1 - fade * smoothstep(0.45, 0.95, rough))
        self.picture[window] = mix(under, body, shown)
        self.ink[window] *= 1 - shown
        first, second = outline[side], outline[(side + 1) % len(outline)]
        self.angle[window] = np.where(mask > 0, np.arctan2(*(second - first)[::-1]) + np.pi / 2, self.angle[window])
        for n in range(len(outline)):
            if n == side or self.rng.uniform() < 0.55:
                width = edge * (1.5 if n == side else self.rng.uniform(0.5, 1.0))
                self.line(np.linspace(outline[n], outline[(n + 1) % len(outline)], 20), width)

    def line(self, path: np.ndarray, width: float) -> None:
        """An ink line that swells and thins, kept apart from the paint; later planes hide it."""
        swell = width * (0.35 + 0.65 * np.sin(np.linspace(0.25, np.pi, len(path))))
        self.ink = np.maximum(self.ink, filled(self.shape, ribbon(path, swell)))

    def cut(self, points: Points | np.ndarray, number: int, shift: tuple[float, float] = (0, 0), turn: float = 0.0,
            zoom: float = 1.0, side: int = 0, dark: float = 0.55, fade: float = 0.0) -> None:  # fmt: skip
        """A plane that shows a view."""
        self.put(points, self.seen(number, np.asarray(points, float), shift, turn, zoom), side, dark, fade)

    def facet(self, points: np.ndarray, colours: np.ndarray, share: float, texture: str) -> None:
        """A plane of tone over what is there: stippled, hatched or dotted."""
        side = int(self.rng.integers(len(points)))
        depth, window = self.depth(points, side), self.window(points)
        x, y = self.x[window], self.y[window]
        tone = ramp(colours, 0.22 + 0.75 * depth + 0.10 * (self.stipple[window] - 0.5))
        look = mix(self.picture[window], tone, share * np.clip(1.15 - 0.7 * depth, 0, 1))
        if texture == "hatched":
            turn = self.rng.choice([0.7, -0.7, 1.2])
            lines = np.sin((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / 0.0085)
            look = mix(look, INK + 0 * look, 0.5 * (lines > 0.4) * smoothstep(0.85, 0.1, depth))
        if texture == "dotted":
            row = np.floor(y / 0.0125)
            u, v = (x / 0.0145 + 0.5 * (row % 2)) % 1 - 0.5, y / 0.0125 - row - 0.5
            wobble = self.stipple[window] - 0.5
            dot = smoothstep(0.34, 0.26, np.hypot(u + 0.2 * wobble, v) + 0.25 * wobble)
            look = mix(look, ramp(colours[::-1], 0.35 * depth) + 0 * look, 0.85 * dot)
        self.put(points, look, side, 0.35, 0.5 * self.rng.uniform() if texture != "dotted" else 0.0, 0.0045)


def sheet(size: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A blank printed page."""
    page = Image.new("L", size, 238)
    return page, ImageDraw.Draw(page)


def newspaper(rng: Rng, title: str) -> Image.Image:
    """A headline over columns of grey words."""
    page, draw = sheet((600, 460))
    draw.text((14, -8), title, fill=22, font_size=150, stroke_width=5)
    draw.rectangle((14, 168, 586, 172), fill=40)
    for column in range(3):
        for row in range(17):
            x, y, end = 14 + column * 196, 186 + row * 16, 14 + column * 196 + (178 if row % 6 < 5 else 90)
            while x < end:
                word = min(int(rng.integers(8, 38)), end - x)
                for letter in range(x, x + word, 6):
                    draw.rectangle(
                        (letter, y + int(rng.integers(0, 3)), letter + 3, y + 8), fill=int(rng.integers(40, 110))
                    )
                x += word + 9
    return page


def music(rng: Rng) -> Image.Image:
    """Staves with notes."""
    page, draw = sheet((600, 460))
    for staff in range(4):
        top = 30 + staff * 108
        for line in range(5):
            draw.line((0, top + line * 13, 600, top + line * 13), fill=60, width=3)
        for x in range(30, 580, 46):
            y = top + int(rng.integers(0, 9)) * 6.5
            draw.ellipse((x, y - 7, x + 18, y + 7), fill=20)
            draw.line((x + 17, y, x + 17, y - 48), fill=20, width=4)
            if rng.uniform() < 0.45 and x < 530:
                draw.line((x + 17, y - 46, x + 62, y - 40), fill=20, width=9)
    return page


def pasted(planes: Planes, page: Image.Image, corners: Points, paper: np.ndarray, side: int = 1) -> None:
    """Cut paper glued on: its corners on the picture take the page's corners."""
    wide, high = page.size
    rows = []
    for (tx, ty), (sx, sy) in zip(
        np.asarray(corners) * planes.scale, [(0, 0), (wide, 0), (wide, high), (0, high)], strict=True
    ):
        rows += [[tx, ty, 1, 0, 0, 0, -sx * tx, -sx * ty], [0, 0, 0, tx, ty, 1, -sy * tx, -sy * ty]]
    target = np.array([0, 0, wide, 0, wide, high, 0, high], float)
    solved = np.linalg.solve(np.array(rows), target)
    laid = page.transform(planes.shape[::-1], Image.Transform.PERSPECTIVE, tuple(solved), Image.Resampling.BICUBIC)
    tone = np.asarray(laid, np.float32)[..., None] / 238
    planes.put(corners, np.clip(tone, 0, 1) * paper + (1 - np.clip(tone, 0, 1)) * 0.09, side, 0.32)


def architecture(p: Planes, rng: Rng) -> None:
    """The large planes: a fan of tall blades about the guitar's neck and the bottle, placed by hand."""
    p.cut([(-0.02, -0.02), (0.20, -0.02), (0.12, 0.52), (-0.02, 0.60)], 1, side=3, dark=0.5)
    p.facet(np.array([(-0.02, 0.10), (0.10, 0.03), (0.115, 0.50), (-0.02, 0.58)]), SLATE[1:], 0.8, "dotted")
    p.cut([(0.60, -0.02), (0.84, -0.02), (0.84, 0.40), (0.70, 0.46)], 3, (-0.02, 0.0), side=1, dark=0.6)
    p.cut(
        [(0.13, -0.02), (0.305, -0.02), (0.255, 0.66), (0.055, 0.60)], 3, (0.050, 0.015), 0.05, 1.05, side=1, dark=0.6
    )
    p.cut([(0.44, -0.02), (0.61, -0.02), (0.545, 0.62), (0.420, 0.70)], 2, (-0.03, -0.02), -0.04, 1.0, side=1, dark=0.2)
    p.put([(0.00, 0.60), (0.17, 0.56), (0.23, 1.02), (-0.02, 1.02)], wood(p.shape, rng, UMBER[1:], 0.15), 3, 0.6)
    p.cut([(0.55, 0.16), (0.72, 0.10), (0.80, 0.62), (0.595, 0.76)], 1, (-0.045, 0.015), 0.10, 1.08, side=3, dark=0.65)
    p.cut(
        [(0.285, 0.36), (0.445, 0.33), (0.545, 0.84), (0.330, 0.98)], 3, (-0.018, 0.012), -0.05, 1.08, side=0, dark=0.6
    )
    p.cut([(0.115, 0.42), (0.290, 0.37), (0.345, 0.80), (0.130, 0.92)], 0, (0.02, 0.02), 0.09, 1.10, side=1, dark=0.65)
    p.put([(0.640, 0.735), (0.84, 0.66), (0.84, 1.02), (0.700, 1.02)], wood(p.shape, rng, UMBER[:5], -0.5), 0, 0.55)
    p.cut(
        [(0.555, 0.62), (0.775, 0.585), (0.790, 0.93), (0.600, 0.965)], 0, (-0.005, 0.01), -0.06, 1.12, side=3, dark=0.6
    )
    p.cut(
        [(0.300, 0.05), (0.425, -0.02), (0.465, 0.47), (0.345, 0.56)], 0, (-0.045, 0.02), 0.12, 1.05, side=1, dark=0.6
    )
    p.facet(np.array([(0.635, 0.455), (0.84, 0.415), (0.84, 0.66), (0.67, 0.70)]), TEAL[1:], 0.85, "dotted")
    p.cut([(0.36, 0.74), (0.565, 0.70), (0.620, 1.02), (0.400, 1.02)], 1, (0.045, 0.0), 0.08, 1.05, side=3, dark=0.6)


def facets(p: Planes, rng: Rng) -> None:
    """Many small planes along a few directions, thick in the middle, thin at the corners."""
    leans = np.array([1.42, 1.72, 0.95, 2.25])
    for number in range(36):
        size = 0.036 + 0.058 * rng.uniform() ** 1.5
        cx, cy = rng.normal(0.41, 0.22), rng.normal(0.50, 0.27)
        first, second = rng.choice(leans) + rng.normal(0, 0.05), rng.choice([0.12, -0.18, 0.30]) + rng.normal(0, 0.05)
        a = size * rng.uniform(0.9, 1.6) * np.array([np.cos(first), np.sin(first)])
        b = size * rng.uniform(0.6, 1.0) * np.array([np.cos(second), np.sin(second)])
        corners = np.array(
            [-a - b, b - a * rng.uniform(0.6, 1), a * rng.uniform(0.6, 1) + b, a - b * rng.uniform(0.2, 1)]
        )
        corners = corners[: 3 if rng.uniform() < 0.2 else 4] + (cx, cy)
        if number % 3 == 0:
            shift = tuple(rng.normal(0, 0.028, 2))
            p.cut(corners, int(rng.choice([0, 0, 1, 3])), shift, rng.normal(0, 0.15), rng.uniform(1, 1.3), 0, 0.45, 0.3)
        else:
            colours = RUST if rng.uniform() < 0.12 else FAMILIES[rng.choice(4, p=[0.25, 0.25, 0.25, 0.25])]
            p.facet(
                corners, colours, rng.uniform(0.5, 0.95), str(rng.choice(["plain", "hatched", "hatched", "dotted"]))
            )


def accents(p: Planes) -> None:
    """The drawing that holds it together: guitar curves, rims and long struts, over everything."""
    lines: list[tuple[Points | np.ndarray, float]] = [
        ([(0.178, 0.475), (0.150, 0.540), (0.200, 0.610), (0.125, 0.690)], 0.012),
        ([(0.425, 0.470), (0.452, 0.540), (0.405, 0.605), (0.492, 0.690), (0.515, 0.800), (0.430, 0.895)], 0.013),
        ([(0.112, 0.780), (0.140, 0.870), (0.230, 0.918), (0.330, 0.915)], 0.012),
        (arc(0.318, 0.640, 0.060, 1.0, 60, 290), 0.012), (arc(0.318, 0.640, 0.076, 1.0, 100, 250), 0.005),
        (arc(0.690, 0.690, 0.080, 0.27), 0.008),
        ([(0.612, 0.70), (0.630, 0.79), (0.690, 0.825), (0.745, 0.79), (0.768, 0.70)], 0.009),
        ([(0.535, 0.050), (0.537, 0.220), (0.490, 0.300), (0.470, 0.370)], 0.010),
        ([(0.610, 0.050), (0.612, 0.220), (0.655, 0.295), (0.677, 0.370), (0.679, 0.50)], 0.010),
        (arc(0.572, 0.045, 0.040, 0.28), 0.007),
        ([(-0.01, 0.62), (0.30, 0.50), (0.84, 0.36)], 0.004), ([(0.22, -0.01), (0.34, 0.45), (0.50, 1.01)], 0.004),
    ]  # fmt: skip
    for path, width in lines:
        p.line(path if isinstance(path, np.ndarray) else spline(path, 70), width)


def brushed(p: Planes) -> np.ndarray:
    """The planes worked over with a small flat brush along each, then the lines, the strings, on canvas."""
    rng, shape = p.rng, p.shape
    oils = Oils(p.picture, rng)
    starts = scattered(shape, 0.0075, rng)
    x, y = starts.astype(int).T
    paths = trace(p.angle + 0.2 * (noise(shape, 14, rng, 2) - 0.5), starts, 0.016 * rng.uniform(0.6, 1.3, len(x)), 4)
    oils.strokes(paths, 0.0066, jittered(p.picture[y, x], rng, 4.5, 4.0), body=1.0, dry=0.6, streak=0.16)
    colour = 0.42 * oils.colour + 0.58 * p.picture
    worn = smoothstep(0.10, 0.30, p.stipple)
    colour = mix(colour, INK + 0 * colour, 0.92 * p.ink * worn)
    for k in range(5):
        string = ribbon(np.linspace((0.298 + 0.011 * k, 0.37), (0.290 + 0.0125 * k, 0.795), 20), 0.0024)
        colour = mix(colour, PALE + 0 * colour, 0.85 * filled(shape, string) * worn)
    weave = canvas_weave(shape)
    return lit(
        1.06 * colour * (1 + 0.025 * weave + 0.10 * (p.stipple - 0.5))[..., None], oils.height + 0.06 * weave, 0.5, 0.1
    )


def paint(shape: Shape, rng: Rng) -> np.ndarray:
    """Views, large planes, pasted papers, facets, papers again, lines and brush."""
    planes = Planes(shape, rng)
    architecture(planes, rng)
    facets(planes, rng)
    pasted(
        planes, newspaper(rng, "JOURN"), [(0.02, 0.845), (0.235, 0.790), (0.275, 0.945), (0.055, 0.995)], rgb("eadbb4")
    )
    pasted(planes, music(rng), [(0.630, 0.235), (0.805, 0.285), (0.775, 0.450), (0.600, 0.395)], rgb("f2e8cc"), 3)
    pasted(
        planes,
        newspaper(rng, "VIN"),
        [(0.478, 0.430), (0.590, 0.415), (0.605, 0.545), (0.492, 0.560)],
        rgb("e6d6ae"),
        2,
    )
    accents(planes)
    return brushed(planes)
