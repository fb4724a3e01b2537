"""What the painters share: coordinates, noise, brush strokes, washes, paper and light.

Lengths are fractions of the picture's longest side, so that a picture keeps its composition at any size.
Pictures are float arrays (h, w, 3) in 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage import color

Shape = tuple[int, int]
Rng = np.random.Generator


def grid(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Every pixel's x and y."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    return x / max(shape), y / max(shape)


def rgb(code: str) -> np.ndarray:
    """A colour from its hexadecimal code."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / 255


def palette(codes: str) -> np.ndarray:
    """Colours (n, 3) from hexadecimal codes with spaces between."""
    return np.stack([rgb(code) for code in codes.split()])


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth ramp between; `low` may be the larger one."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """From the first colour to the second by a share given per pixel."""
    return first + (second - first) * np.asarray(share)[..., None]


def ramp(colours: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The colour at `value` in 0..1 along a row of colours."""
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(value, stops, colours[:, c]) for c in range(3)], -1).astype(np.float32)


def noise(shape: Shape, cells: float | tuple[float, float], rng: Rng, octaves: int = 4) -> np.ndarray:
    """Smooth noise, about 0..1 around 0.5; `cells` (down, across) are the bumps along the longest side."""
    down, across = cells if isinstance(cells, tuple) else (cells, cells)
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows, columns = (int(np.ceil(n * 2**octave)) + 4 for n in (down, across))
        coarse = Image.fromarray(rng.normal(0, 1, (rows, columns)).astype(np.float32))
        box = [
            1.5,
            1.5,
            1.5 + across * 2**octave * shape[1] / max(shape),
            1.5 + down * 2**octave * shape[0] / max(shape),
        ]
        total += np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC, tuple(box))) * 0.5**octave
    return 0.5 + 0.22 * total


def warp(picture: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The picture read at points moved by (dx, dy)."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    at = [y + dy * max(picture.shape[:2]), x + dx * max(picture.shape[:2])]
    if picture.ndim == 2:
        return ndimage.map_coordinates(picture, at, order=1, mode="nearest")
    return np.stack([ndimage.map_coordinates(picture[..., c], at, order=1, mode="nearest") for c in range(3)], -1)


def profile(x: np.ndarray, bumps: float, rng: Rng, octaves: int = 5, rough: float = 0.5) -> np.ndarray:
    """A smooth random curve over x, about -1..1, for ridges and hills."""
    total = np.zeros_like(x)
    for octave in range(octaves):
        knots = rng.uniform(-1, 1, int(bumps * 2**octave) + 5)
        total += ndimage.map_coordinates(knots, [x * bumps * 2**octave + 1.5], order=3, mode="nearest") * rough**octave
    return total


def jittered(colours: np.ndarray, rng: Rng, light: float, tint: float) -> np.ndarray:
    """Colours (n, 3) moved at random in lightness and in hue, in CIELAB units."""
    lab = color.rgb2lab(np.clip(colours, 0, 1))
    lab += rng.normal(0, 1, lab.shape) * (light, tint, tint)
    return np.clip(color.lab2rgb(np.clip(lab, (0, -90, -90), (100, 90, 90))), 0, 1).astype(np.float32)


def scattered(shape: Shape, spacing: float, rng: Rng) -> np.ndarray:
    """Points (n, 2) as x, y in pixels: a shaken grid, in random order."""
    step = max(spacing * max(shape), 2.5)
    y, x = np.mgrid[0 : shape[0] : step, 0 : shape[1] : step]
    points = np.stack([x, y], -1).reshape(-1, 2) + rng.uniform(0, step, (x.size, 2))
    return rng.permutation(np.clip(points, 0, (shape[1] - 1, shape[0] - 1)))


def trace(angle: np.ndarray, starts: np.ndarray, length: float | np.ndarray, steps: int = 10) -> np.ndarray:
    """Paths (n, steps, 2) in pixels that follow a field of angles, centred on their starts."""
    step = np.broadcast_to(np.asarray(length) * max(angle.shape) / (steps - 1), len(starts))[:, None]
    limit = np.array(angle.shape[::-1]) - 1

    def walk(sign: int, count: int) -> list[np.ndarray]:
        points = [starts]
        for _ in range(count):
            x, y = np.clip(points[-1], 0, limit).astype(int).T
            a = angle[y, x]
            points.append(points[-1] + sign * step * np.stack([np.cos(a), np.sin(a)], -1))
        return points

    half = steps // 2
    return np.stack(walk(-1, half)[:0:-1] + walk(1, steps - half - 1), 1)


def spline(points: Sequence[tuple[float, float]], count: int = 60) -> np.ndarray:
    """A smooth curve (count, 2) through the points (Catmull-Rom)."""
    p = np.asarray([points[0], *points, points[-1]], float)
    t = np.linspace(0, len(points) - 1 - 1e-6, count)
    i, f = t.astype(int), (t % 1)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    return 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)


def filled(shape: Shape, *outlines: np.ndarray) -> np.ndarray:
    """A mask, 0 or 1, of the insides of outlines (n, 2) given in fractions of the longest side."""
    image = Image.new("L", shape[::-1])
    draw = ImageDraw.Draw(image)
    for outline in outlines:
        draw.polygon([tuple(p) for p in np.asarray(outline) * max(shape)], fill=255)
    return np.asarray(image, np.float32) / 255


def ribbon(path: np.ndarray, widths: np.ndarray | float) -> np.ndarray:
    """The outline of a line with a width at each of its points: a tapered brush line as a polygon."""
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], -1) / (np.hypot(*along.T)[:, None] + 1e-9)
    reach = across * np.broadcast_to(widths, len(path))[:, None] / 2
    return np.concatenate([path + reach, (path - reach)[::-1]])


class Oils:
    """A canvas of thick paint: colour and height, laid on stroke by stroke with a bristle brush."""

    def __init__(self, ground: np.ndarray, rng: Rng) -> None:
        self.colour = ground.astype(np.float32).copy()
        self.height = np.zeros(ground.shape[:2], np.float32)
        self.rng = rng
        hairs = noise((1024, 1024), (6, 160), rng, 3)
        ranks = np.argsort(np.argsort(hairs, axis=None)).reshape(hairs.shape)
        self.hairs = (ranks / ranks.size).astype(np.float32)

    def stroke(
        self,
        path: np.ndarray,
        width: float,
        colour: np.ndarray,
        body: float = 1.0,
        dry: float = 0.25,
        streak: float = 0.1,
    ) -> None:
        """One stroke along a path in pixels; `dry` is the share of the hairs that have run out at its end."""
        steps = np.hypot(*np.diff(path, axis=0).T)
        n_along, n_across = int(steps.sum() * 1.5) + 3, int(width * 1.5) + 3
        u, v = np.linspace(0, 1, n_along), np.linspace(-1, 1, n_across)
        knots = np.concatenate([[0], np.cumsum(steps)]) / max(steps.sum(), 1e-6)
        centre = np.stack([np.interp(u, knots, path[:, 0]), np.interp(u, knots, path[:, 1])], -1)
        along = np.gradient(centre, axis=0)
        along /= np.hypot(*along.T)[:, None] + 1e-9
        end = np.minimum(u, 1 - u) * steps.sum() / max(width, 1)
        reach = width / 2 * np.sqrt(np.clip(end * 2.2, 0.05, 1)) * (1 - 0.25 * u)
        x = (centre[:, :1] - along[:, 1:] * reach[:, None] * v).astype(np.int32)
        y = (centre[:, 1:] + along[:, :1] * reach[:, None] * v).astype(np.int32)
        rows = (self.rng.integers(1024) + np.arange(n_along)) % 1024
        columns = (self.rng.integers(1024) + (v * 40).astype(int)) % 1024
        hair = self.hairs[np.ix_(rows, columns)]
        worn = dry * (0.25 + 0.75 * u[:, None]) * (0.4 + 0.6 * v**2)
        keep = (hair > worn) & (x >= 0) & (y >= 0) & (x < self.height.shape[1]) & (y < self.height.shape[0])
        ridge = (0.35 + 0.65 * hair) * (0.75 + 0.25 * v**2) * np.clip(0.4 + end, 0, 1)[:, None]
        x, y = x[keep], y[keep]
        self.colour[y, x] = colour + (streak * (hair[keep] - 0.5))[:, None]
        self.height[y, x] = 0.35 * self.height[y, x] + body * ridge[keep]

    def strokes(self, paths: np.ndarray, widths: np.ndarray | float, colours: np.ndarray, **more: float) -> None:
        """Many strokes, in order; widths in fractions of the longest side."""
        widths = np.broadcast_to(np.asarray(widths) * max(self.height.shape), len(paths))
        for path, width, colour in zip(paths, widths, colours, strict=True):
            self.stroke(path, width, colour, **more)

    def lit(self, relief: float = 0.5, gloss: float = 0.12, weave: float = 0.0) -> np.ndarray:
        """The canvas as seen in light from the upper left."""
        height = self.height + weave * canvas_weave(self.height.shape)
        return lit(self.colour, height, relief, gloss)


def lit(colour: np.ndarray, height: np.ndarray, relief: float, gloss: float = 0.0) -> np.ndarray:
    """Colour shaded by the slopes of a height map, light from the upper left; slopes do not depend on the size."""
    scale = max(height.shape) / 1536
    smooth = ndimage.gaussian_filter(height, 0.8 * scale)
    down, right = np.gradient(smooth)
    slope = np.clip((down + right) * 0.7 * scale, -1, 1)
    shade = 1 + relief * slope
    shine = gloss * np.clip(slope - 0.12, 0, 1)
    return np.clip(colour * shade[..., None] + shine[..., None], 0, 1)


def canvas_weave(shape: Shape, threads: float = 220) -> np.ndarray:
    """The over and under of a linen canvas, -1..1."""
    x, y = grid(shape)
    a, b = x * threads * np.pi, y * threads * np.pi
    return (np.sin(a) * np.cos(b / 2) ** 2 + np.sin(b) * np.cos(a / 2) ** 2).astype(np.float32)


def paper_grain(shape: Shape, rng: Rng) -> np.ndarray:
    """The tooth of a rough paper, about -1..1."""
    rough = noise(shape, 150, rng, 3) - 0.5
    fibres = noise(shape, (40, 200), rng, 2) + noise(shape, (200, 40), rng, 2) - 1
    return 3 * rough + 0.8 * fibres


def blurred(picture: np.ndarray, radius: float) -> np.ndarray:
    """A Gaussian blur, its radius a fraction of the longest side."""
    return ndimage.gaussian_filter(picture, radius * max(picture.shape))


class Sheet:
    """Wet paper: transparent washes laid one over the other, each darker at its rim and uneven inside."""

    def __init__(self, paper: np.ndarray, rng: Rng, granulation: float = 0.25) -> None:
        self.colour, self.rng = paper.astype(np.float32).copy(), rng
        self.shape, self.longest = paper.shape[:2], max(paper.shape[:2])
        self.grain = 1 + granulation * paper_grain(self.shape, rng)

    def lay(
        self,
        mask: np.ndarray,
        pigment: np.ndarray,
        strength: float = 1.0,
        bleed: float = 0.006,
        edge: float = 0.8,
        flow: float = 0.5,
    ) -> None:
        """A wash where the mask is; at strength 1 white paper takes the pigment's colour."""
        margin = int((bleed * 2 + 0.015) * self.longest) + 2
        rows, columns = np.flatnonzero(mask.max(1) > 0.01), np.flatnonzero(mask.max(0) > 0.01)
        if not len(rows):
            return
        cut = tuple(slice(max(edges[0] - margin, 0), edges[-1] + margin) for edges in (rows, columns))
        density = strength * self.density(mask[cut], bleed, edge, flow) * self.grain[cut]
        self.colour[cut] *= np.clip(pigment, 0.01, 1) ** np.clip(density, 0, 4)[..., None]

    def density(self, mask: np.ndarray, bleed: float, edge: float, flow: float) -> np.ndarray:
        """How much pigment a wash leaves."""
        part = max(mask.shape) / self.longest
        dx, dy = ((noise(mask.shape, 24 * part + 1, self.rng, 5) - 0.5) * 2 * bleed / part for _ in range(2))
        soft = ndimage.gaussian_filter(warp(mask.astype(np.float32), dx, dy), 0.0009 * self.longest)
        rim = np.clip(soft - ndimage.gaussian_filter(soft, 0.005 * self.longest), 0, 1)
        uneven = 1 + flow * 2.4 * (noise(mask.shape, 5 * part + 1.6, self.rng, 5) - 0.5)
        return soft * np.clip(uneven, 0.15, 2) * (1 - 0.25 * edge) + 1.5 * edge * rim
