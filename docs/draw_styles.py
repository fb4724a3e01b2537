"""Draws styles by program, so that a training of the network for any style sees more of them than painters made.

    python docs/draw_styles.py OUT_DIR PICTURES_DIR [PICTURES_DIR ...] [--count 2000] [--first 0] [--workers 2]

Each is a random composition on a picture of the folders or in its place: mosaic and glass, broken planes, strokes,
dots, hatching, posters and woodcuts, rectangles, figures over one another, waves, washes; in the picture's colours or
in others. The shipped network saw 10,222 of them, at last 42 % of its styles. A core draws 70 to 300 a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import color

Array = np.ndarray
Rng = np.random.Generator
# Side of every picture, px.
N = 512


def smooth(rng: Rng, cells: float, octaves: int = 3) -> Array:
    """Noise about -1..1."""
    total = np.zeros((N, N), np.float32)
    for o in range(octaves):
        k = int(cells * 2**o) + 3
        small = Image.fromarray(rng.normal(0, 1, (k, k)).astype(np.float32))
        total += np.asarray(small.resize((N, N), Image.Resampling.BICUBIC)) * 0.55**o
    return total


def palette(pic: Array, rng: Rng, k: int) -> Array:
    """k colours: of the picture, pushed apart, or of chance."""
    kind = rng.random()
    if kind < 0.55:
        pix = pic.reshape(-1, 3)[rng.integers(0, N * N, 400)]
        cols = [pix[rng.integers(400)]]
        for _ in range(k - 1):
            d = np.min([np.sum((pix - c) ** 2, 1) for c in cols], 0)
            cols.append(pix[rng.choice(400, p=(d + 1e-6) / (d + 1e-6).sum())])
        cols = np.array(cols)
        hsv = color.rgb2hsv(cols[None])[0]
        hsv[:, 1] = np.clip(hsv[:, 1] * rng.uniform(1, 2.2), 0, 1)
        hsv[:, 2] = np.clip(hsv[:, 2] * rng.uniform(0.9, 1.4), 0, 1)
        return color.hsv2rgb(hsv[None])[0]
    if kind < 0.85:
        base, spread = rng.random(), rng.choice([0.08, 0.2, 0.5])
        hsv = np.stack(
            [(base + rng.uniform(-spread, spread, k)) % 1, rng.uniform(0.1, 1, k), rng.uniform(0.15, 1, k)], 1
        )
        return color.hsv2rgb(hsv[None])[0]
    prim = np.array(
        [
            [0.85, 0.1, 0.1],
            [0.95, 0.8, 0.1],
            [0.1, 0.2, 0.6],
            [0.95, 0.94, 0.9],
            [0.08, 0.08, 0.08],
            [0.1, 0.5, 0.3],
            [0.9, 0.5, 0.1],
            [0.5, 0.7, 0.85],
        ]
    )
    return prim[rng.permutation(8)[: min(k, 8)]]


def quantised(pic: Array, pal: Array) -> Array:
    """The nearest colour of a palette, by number."""
    lab, plab = color.rgb2lab(pic), color.rgb2lab(pal[None])[0]
    return cKDTree(plab).query(lab.reshape(-1, 3))[1].reshape(N, N)


def edges_of(label: Array) -> Array:
    """Where a label meets another."""
    e = np.zeros((N, N), bool)
    e[:-1] |= label[:-1] != label[1:]
    e[:, :-1] |= label[:, :-1] != label[:, 1:]
    return e


def thick(mask: Array, px: float) -> Array:
    """A soft-edged mask some px wide."""
    return np.clip(px / 2 + 0.5 - ndimage.distance_transform_edt(~mask), 0, 1)[..., None]


def ink(rng: Rng) -> Array:
    """Nearly black, tinted; now and then a light colour."""
    if rng.random() < 0.85:
        return np.array([0.03, 0.03, 0.05]) + rng.random(3) * rng.choice([0.05, 0.25])
    return rng.uniform(0.75, 1, 3)


def inked(picture: Array, mask: Array, rng: Rng) -> Array:
    """The picture with ink where the mask is 1."""
    return picture * (1 - mask) + ink(rng) * mask


def flattened(pic: Array, size: int) -> Array:
    """The picture without what is finer than about `size` places of half its size."""
    small = ndimage.median_filter(pic[::2, ::2], (size, size, 1)).astype(np.float32)
    channels = [Image.fromarray(small[..., c]).resize((N, N), Image.Resampling.BICUBIC) for c in range(3)]
    return np.stack([np.asarray(channel) for channel in channels], -1)


def means(picture: Array, label: Array) -> Array:
    """The mean colour under each label."""
    labels = np.arange(label.max() + 1)
    return np.stack([ndimage.mean(picture[..., c], label, labels) for c in range(3)], 1)


def field(pic: Array, rng: Rng) -> Array:
    """Directions along which strokes lie: of the picture's edges, or swirling."""
    if rng.random() < 0.6:
        g = ndimage.gaussian_filter(pic.mean(2), 2)
        gx, gy = ndimage.sobel(g, 1), ndimage.sobel(g, 0)
        s = rng.uniform(6, 16)
        a, b, c = (ndimage.gaussian_filter(v, s) for v in (gx * gx, gx * gy, gy * gy))
        return 0.5 * np.arctan2(2 * b, a - c) + np.pi / 2 + 0.2 * smooth(rng, 6)
    return rng.uniform(0, np.pi) + rng.uniform(0.3, 1.6) * smooth(rng, rng.uniform(1.5, 5), 2)


def cells(pic: Array, rng: Rng) -> Array:
    """Mosaic, glass, broken planes: cells of a colour each, with joints."""
    count = int(np.exp(rng.uniform(np.log(60), np.log(5000))))
    kind = rng.random()
    if kind < 0.45:
        side = N / np.sqrt(count)
        y, x = np.mgrid[-1 : N / side + 1, -1 : N / side + 1] * side
        x = x + (np.arange(x.shape[0]) % 2)[:, None] * side / 2 * (rng.random() < 0.5)
        pts = np.stack([y, x], -1).reshape(-1, 2) + rng.normal(0, side * rng.uniform(0.03, 0.25), (x.size, 2))
        if rng.random() < 0.5:
            bend = rng.uniform(0.2, 1) * side * 2
            pts += bend * np.stack(
                [np.sin(pts[:, 1] / 60 + rng.random() * 6), np.sin(pts[:, 0] / 50 + rng.random() * 6)], 1
            )
    else:
        pts = rng.uniform(-20, N + 20, (count, 2))
    metric = rng.choice([1, 2, 2, np.inf])
    yx = np.mgrid[0:N, 0:N].reshape(2, -1).T.astype(np.float32)
    stretch = np.array([1, np.exp(rng.uniform(-0.7, 0.7))])
    ang = rng.uniform(0, np.pi) if rng.random() < 0.5 else 0
    R = np.array([[np.cos(ang), -np.sin(ang)], [np.sin(ang), np.cos(ang)]]) * stretch
    d, i = cKDTree(pts @ R).query(yx @ R, k=2, p=metric)
    label = i[:, 0].reshape(N, N)
    flat = label.ravel()
    n = np.maximum(np.bincount(flat, minlength=len(pts)), 1)
    cols = np.stack([np.bincount(flat, pic[..., c].ravel(), len(pts)) / n for c in range(3)], 1)
    cols = (
        0.5
        + (cols - 0.5) * rng.uniform(1, 1.6)
        + rng.normal(0, rng.uniform(0, 0.12), cols.shape)
        + rng.normal(0, rng.uniform(0, 0.1), (len(cols), 1))
    )
    if rng.random() < 0.35:
        pal = palette(pic, rng, int(rng.integers(4, 14)))
        cols = pal[cKDTree(pal).query(cols)[1]]
    out = cols[label]
    gap = (d[:, 1] - d[:, 0]).reshape(N, N)
    if rng.random() < 0.4:  # bevelled or shaded cells
        out = out + (np.clip(gap / gap.max() * rng.uniform(1, 4), 0, 1)[..., None] - 0.4) * rng.uniform(0.1, 0.5)
    if rng.random() < 0.8:
        w = rng.uniform(0.8, 5)
        m = np.clip(w - gap, 0, 1)[..., None]
        out = inked(out, m, rng)
    return out


def planes(pic: Array, rng: Rng) -> Array:
    """Cubist planes: the picture cut by lines, shifted and shaded from side to side."""
    y, x = np.mgrid[0:N, 0:N] / N
    label = np.zeros((N, N), int)
    out = pic.copy() if rng.random() < 0.5 else ndimage.gaussian_filter(pic, (12, 12, 0))
    shade = np.zeros((N, N))
    curved = rng.random() < 0.4
    for _ in range(int(rng.integers(5, 22))):
        a, c = rng.uniform(0, np.pi), rng.uniform(0.15, 0.85, 2)
        t = (x - c[0]) * np.cos(a) + (y - c[1]) * np.sin(a)
        if curved:
            t = t + rng.uniform(-1.2, 1.2) * ((x - c[0]) * -np.sin(a) + (y - c[1]) * np.cos(a)) ** 2
        label = label * 2 % 100003 + (t > 0)
        shade += rng.uniform(-1, 1) * np.exp(-np.abs(t) * rng.uniform(4, 20)) * np.sign(t)
    _, label = np.unique(label, return_inverse=True)
    label = label.reshape(N, N)
    cols = means(out, label)
    if rng.random() < 0.5:
        pal = palette(pic, rng, int(rng.integers(4, 10)))
        cols = pal[rng.integers(0, len(pal), len(cols))] if rng.random() < 0.4 else pal[cKDTree(pal).query(cols)[1]]
    mixing = rng.uniform(0.4, 1)
    out = out * (1 - mixing) + cols[label] * mixing + shade[..., None] * rng.uniform(0.05, 0.3)
    if rng.random() < 0.6:
        m = thick(edges_of(label), rng.uniform(1, 6)) * rng.uniform(0.4, 1)
        out = inked(out, m, rng)
    return out


def strokes(pic: Array, rng: Rng) -> Array:
    """Short strokes of the brush or the knife along a field, large ones first."""
    theta = field(pic, rng)
    img = Image.fromarray((np.clip(ndimage.gaussian_filter(pic, (6, 6, 0)), 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(img)
    width = np.exp(rng.uniform(np.log(3), np.log(16)))
    jitter, long = rng.uniform(0.02, 0.16), rng.uniform(2, 9)
    vivid = rng.uniform(1, 1.7)
    pal = palette(pic, rng, int(rng.integers(5, 16))) if rng.random() < 0.35 else None
    tree = cKDTree(pal) if pal is not None else None
    for scale in (1.8, 1.0, 0.6)[: int(rng.integers(1, 4))]:
        w = max(1.5, width * scale)
        count = int(min(9000, 2.2 * N * N / (w * w * long)))
        ys, xs = rng.integers(0, N, (2, count))
        cs = pic[ys, xs]
        if scale < 1:  # details only where there are some
            keep = rng.random(count) < 0.5
            ys, xs, cs = ys[keep], xs[keep], cs[keep]
        cs = 0.5 + (cs - 0.5) * vivid + rng.normal(0, jitter, cs.shape)
        if tree is not None:
            cs = pal[tree.query(cs)[1]] + rng.normal(0, 0.03, cs.shape)
        for y, x, c in zip(ys, xs, cs, strict=True):
            line, px, py = [], float(x), float(y)
            steps = 4
            for _ in range(steps):
                line.append((px, py))
                t = theta[int(min(max(py, 0), N - 1)), int(min(max(px, 0), N - 1))]
                px, py = px + np.cos(t) * w * long / steps, py + np.sin(t) * w * long / steps
            line.append((px, py))
            draw.line(line, fill=tuple(int(v) for v in np.clip(c, 0, 1) * 255), width=max(1, int(w)), joint="curve")
    out = np.asarray(img, np.float32) / 255
    if rng.random() < 0.4:  # thick paint in the light
        g = ndimage.gaussian_filter(out.mean(2), 0.7)
        out = out + (ndimage.sobel(g, 0) + ndimage.sobel(g, 1))[..., None] * rng.uniform(0.1, 0.3)
    return out


def dots(pic: Array, rng: Rng) -> Array:
    """Points of paint, or a printer's screen."""
    if rng.random() < 0.4:
        y, x = np.mgrid[0:N, 0:N].astype(np.float32)
        pitch = rng.uniform(5, 18)
        out = np.ones((N, N, 3), np.float32) * (rng.uniform(0.85, 1, 3))
        mono = rng.random() < 0.4
        for c in range(1 if mono else 3):
            a = rng.uniform(0, np.pi)
            u, v = (x * np.cos(a) + y * np.sin(a)) / pitch, (y * np.cos(a) - x * np.sin(a)) / pitch
            tone = 1 - (pic.mean(2) if mono else pic[..., c])
            r = np.sqrt(np.clip(tone, 0, 1)) * 0.7
            d = np.hypot(u - np.round(u), v - np.round(v))
            m = np.clip((r - d) * pitch + 0.5, 0, 1)
            if mono:
                k = ink(rng)
                out = out * (1 - m[..., None]) + k * m[..., None]
            else:
                out[..., c] *= 1 - m * 0.9
        return out
    r = np.exp(rng.uniform(np.log(1.5), np.log(9)))
    base = ndimage.gaussian_filter(pic, (9, 9, 0)) * 0.5 + 0.5 * rng.random(3)
    img = Image.fromarray((np.clip(base, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(img)
    count = int(min(16000, 1.4 * N * N / (3.1 * r * r)))
    ys, xs = rng.integers(0, N, (2, count))
    jitter = rng.uniform(0.05, 0.25)
    cs = np.clip(0.5 + (pic[ys, xs] - 0.5) * 1.3 + rng.normal(0, jitter, (count, 3)), 0, 1) * 255
    rs = r * rng.uniform(0.7, 1.3, count)
    for y, x, c, q in zip(ys, xs, cs.astype(int), rs, strict=True):
        draw.ellipse([x - q, y - q, x + q, y + q], fill=tuple(c))
    return np.asarray(img, np.float32) / 255


def hatching(pic: Array, rng: Rng) -> Array:
    """Pencil or pen: lines where it is dark, contours, paper."""
    tone = ndimage.gaussian_filter(pic.mean(2), 1)
    tone = (tone - tone.min()) / (np.ptp(tone) + 1e-6)
    y, x = np.mgrid[0:N, 0:N].astype(np.float32)
    dark = np.zeros((N, N), np.float32)
    pitch, a = rng.uniform(3, 9), rng.uniform(0, np.pi)
    layers = int(rng.integers(1, 4))
    follow = field(pic, rng) if rng.random() < 0.3 else 0
    for k in range(layers):
        t = a + k * rng.uniform(0.5, 1.6)
        u = (x * np.cos(t) + y * np.sin(t) + 4 * smooth(rng, 12, 2) + 6 * follow) / pitch
        line = 0.5 + 0.5 * np.cos(2 * np.pi * u)
        need = np.clip((1 - k / layers * 0.8 - tone) * 1.6, 0, 1)
        dark = np.maximum(dark, np.clip((need - line) * rng.uniform(2, 5) + 0.1, 0, 1) * (need > 0.05))
    blur = ndimage.gaussian_filter
    e = np.clip((blur(tone, 2.4) - blur(tone, 1)) * rng.uniform(10, 40), 0, 1)
    dark = np.maximum(dark * rng.uniform(0.5, 1), e * (rng.random() < 0.8))
    dark *= np.clip(0.85 + 0.25 * smooth(rng, 120, 1), 0, 1)
    paper = np.clip(rng.uniform(0.8, 1) + 0.02 * smooth(rng, 150, 1), 0, 1)[..., None] * np.clip(
        rng.normal(1, 0.03, 3), 0, 1.05
    )
    pen = rng.uniform(0, 0.35, 3) if rng.random() < 0.4 else np.full(3, rng.uniform(0, 0.3))
    out = paper * (1 - dark[..., None]) + pen * dark[..., None]
    if rng.random() < 0.25:
        out = out * (0.4 + 0.6 * ndimage.gaussian_filter(pic, (5, 5, 0)))
    return out if rng.random() < 0.85 else 1 - out


def posters(pic: Array, rng: Rng) -> Array:
    """Flat colours with or without outlines; woodcuts with two."""
    k = int(rng.integers(2, 12))
    soft = flattened(pic, int(rng.integers(3, 9)))
    label = (
        quantised(np.clip(soft, 0, 1), palette(pic, rng, k))
        if rng.random() < 0.5
        else np.digitize(
            soft.mean(2) + 0.04 * smooth(rng, 20), np.quantile(soft.mean(2), np.linspace(0, 1, k + 1)[1:-1])
        )
    )
    pal = palette(pic, rng, k)
    if rng.random() < 0.6:
        pal = pal[np.argsort(pal.mean(1))]
    out = pal[label % len(pal)]
    if rng.random() < 0.3:
        y, x = np.mgrid[0:N, 0:N].astype(np.float32)
        t = field(pic, rng)
        u = (x * np.cos(rng.uniform(0, 3)) + y) / rng.uniform(4, 12) + 2 * np.sin(t)
        out = (
            out
            + (np.cos(2 * np.pi * u) > rng.uniform(-0.3, 0.6))[..., None]
            * rng.uniform(-0.4, 0.4)
            * (label % 2)[..., None]
        )
    if rng.random() < 0.6:
        m = thick(edges_of(label), rng.uniform(1, 5))
        out = inked(out, m, rng)
    return out


def rectangles(pic: Array, rng: Rng) -> Array:
    """A plane cut into rectangles, some filled, with or without bars."""
    pal = palette(pic, rng, int(rng.integers(3, 10)))
    boxes, out, bars = [(0, 0, N, N)], np.ones((N, N, 3), np.float32) * pal[0], np.zeros((N, N), bool)
    w = int(rng.integers(0, 14))
    for _ in range(int(np.exp(rng.uniform(np.log(6), np.log(250))))):
        at = int(np.argmax([(b[2] - b[0]) * (b[3] - b[1]) * rng.uniform(0.2, 1) for b in boxes]))
        top, left, bottom, right = boxes.pop(at)
        if (bottom - top) * rng.uniform(0.6, 1.6) > right - left and bottom - top > 8:
            cut = int(top + (bottom - top) * rng.uniform(0.25, 0.75))
            boxes += [(top, left, cut, right), (cut, left, bottom, right)]
            bars[cut, left:right] = True
        elif right - left > 8:
            cut = int(left + (right - left) * rng.uniform(0.25, 0.75))
            boxes += [(top, left, bottom, cut), (top, cut, bottom, right)]
            bars[top:bottom, cut] = True
        else:
            boxes.append((top, left, bottom, right))
    white = rng.random() * 0.8
    for top, left, bottom, right in boxes:
        colour = pal[0] if rng.random() < white else pal[rng.integers(len(pal))]
        out[top:bottom, left:right] = colour + rng.normal(0, 0.02)
        if rng.random() < 0.2:
            out[top:bottom, left:right] += np.linspace(-0.2, 0.2, right - left)[None, :, None]
    if w:
        m = thick(bars, w)
        out = inked(out, m, rng)
    if rng.random() < 0.5:
        a = rng.uniform(-0.8, 0.8)
        out = np.stack(
            [ndimage.rotate(out[..., c], np.degrees(a), reshape=False, order=1, mode="reflect") for c in range(3)], -1
        )
    return out + 0.02 * smooth(rng, 60)[..., None]


def leaves(pic: Array, rng: Rng) -> Array:
    """Figures dropped over one another: discs, rings, polygons, bows, with outlines and stripes."""
    pal = palette(pic, rng, int(rng.integers(3, 14)))
    big = 2 * N
    img = Image.new("RGB", (big, big), tuple(int(v) for v in np.clip(pal[0], 0, 1) * 255))
    draw = ImageDraw.Draw(img)
    count = int(np.exp(rng.uniform(np.log(40), np.log(1500))))
    largest = rng.uniform(0.06, 0.35) * big
    kinds = rng.permutation(5)[: int(rng.integers(1, 5))]
    outline = tuple(int(v) for v in np.clip(ink(rng), 0, 1) * 255) if rng.random() < 0.55 else None
    w = int(rng.integers(2, 12))
    of_picture = rng.random() < 0.35
    theta = field(pic, rng) if rng.random() < 0.5 else None
    for k in range(count):
        r = largest * (1 - k / count * 0.85) * rng.uniform(0.3, 1)
        x, y = rng.uniform(0, big, 2)
        c = pic[int(y / 2), int(x / 2)] * 1.1 if of_picture else pal[rng.integers(len(pal))]
        c = tuple(int(v) for v in np.clip(c + rng.normal(0, 0.04, 3), 0, 1) * 255)
        t = theta[int(y / 2), int(x / 2)] if theta is not None else rng.uniform(0, 6.3)
        kind = kinds[rng.integers(len(kinds))]
        if kind == 0:
            draw.ellipse([x - r, y - r, x + r, y + r], fill=c, outline=outline, width=w)
        elif kind == 1:
            for q in np.linspace(r, r * 0.2, int(rng.integers(2, 6))):
                cc = tuple(int(v) for v in np.clip(pal[rng.integers(len(pal))], 0, 1) * 255)
                draw.ellipse([x - q, y - q, x + q, y + q], fill=cc, outline=outline, width=max(1, w // 2))
        elif kind == 2:
            n = int(rng.integers(3, 7))
            q = r * rng.uniform(0.6, 1.2, n)
            pts = [(x + q[i] * np.cos(t + 6.283 * i / n), y + q[i] * np.sin(t + 6.283 * i / n)) for i in range(n)]
            draw.polygon(pts, fill=c)
            if outline:
                draw.line(pts + pts[:1], fill=outline, width=w, joint="curve")
        elif kind == 3:
            s = rng.uniform(0, 360)
            draw.arc(
                [x - r, y - r, x + r, y + r],
                s,
                s + rng.uniform(60, 300),
                fill=c,
                width=max(3, int(r * rng.uniform(0.08, 0.4))),
            )
        else:
            u = np.array([np.cos(t), np.sin(t)])
            v = np.array([-u[1], u[0]]) * rng.uniform(0.12, 0.4)
            pts = [
                tuple(np.array([x, y]) + r * (a * u + b * v))
                for a, b in ((-1, 0), (-0.3, 0.9), (0.4, 0.8), (1, 0), (0.4, -0.8), (-0.3, -0.9))
            ]
            draw.polygon(pts, fill=c)
            if outline:
                draw.line(pts + pts[:1], fill=outline, width=max(1, w // 2))
                draw.line([pts[0], pts[3]], fill=outline, width=max(1, w // 2))
    return np.asarray(img.resize((N, N), Image.Resampling.LANCZOS), np.float32) / 255


def waves(pic: Array, rng: Rng) -> Array:
    """Stripes, rings and swirls, warped; in steps or smooth, with or without lines between."""
    y, x = np.mgrid[0:N, 0:N] / N
    warp = rng.uniform(0, 0.18)
    x, y = x + warp * smooth(rng, 3, 2), y + warp * smooth(rng, 3, 2)
    phase = np.zeros((N, N))
    for _ in range(int(rng.integers(1, 4))):
        c = rng.uniform(0, 1, 2)
        kind = rng.random()
        if kind < 0.4:
            phase += np.hypot(x - c[0], y - c[1]) * rng.uniform(3, 20)
        elif kind < 0.7:
            a = rng.uniform(0, np.pi)
            phase += (x * np.cos(a) + y * np.sin(a)) * rng.uniform(3, 25)
        else:
            phase += np.arctan2(y - c[1], x - c[0]) / 6.2832 * int(rng.integers(1, 9)) + np.hypot(
                x - c[0], y - c[1]
            ) * rng.uniform(0, 12)
    if rng.random() < 0.35:
        phase += pic.mean(2) * rng.uniform(1, 6)
    pal = palette(pic, rng, int(rng.integers(2, 9)))
    v = phase % len(pal)
    if rng.random() < 0.6:
        label = v.astype(int)
        out = pal[label % len(pal)]
        if rng.random() < 0.6:
            m = thick(edges_of(label), rng.uniform(1, 6))
            out = inked(out, m, rng)
    else:
        f = v - np.floor(v)
        f = (f * f * (3 - 2 * f))[..., None]
        out = pal[v.astype(int) % len(pal)] * (1 - f) + pal[(v.astype(int) + 1) % len(pal)] * f
    return out


def paper(pic: Array, rng: Rng) -> Array:
    """Washes: smooth areas with darker rims and the grain of paper."""
    soft = flattened(pic, 7)
    warp = smooth(rng, 30, 2)
    label = quantised(np.clip(soft + 0.06 * warp[..., None], 0, 1), palette(pic, rng, int(rng.integers(6, 16))))
    d = np.clip(ndimage.distance_transform_edt(~edges_of(label)) / rng.uniform(3, 9), 0, 1)[..., None]
    cols = means(soft, label)
    out = 0.5 * soft + 0.5 * cols[label]
    out = 1 - (1 - out) * (0.75 + 0.45 * (1 - d)) * (1 + 0.15 * smooth(rng, 8)[..., None])
    return out * (1 + 0.04 * smooth(rng, 160, 1)[..., None])


KINDS: list[Callable[[Array, Rng], Array]] = [
    cells,
    cells,
    planes,
    planes,
    strokes,
    strokes,
    dots,
    hatching,
    hatching,
    posters,
    posters,
    rectangles,
    leaves,
    leaves,
    waves,
    paper,
]


def part_of(files: Sequence[Path], rng: Rng) -> Array:
    """A square of one of the pictures."""
    im = Image.open(files[rng.integers(len(files))]).convert("RGB")
    side = int(min(im.size) * rng.uniform(0.5, 1))
    left, top = int(rng.integers(im.width - side + 1)), int(rng.integers(im.height - side + 1))
    box = (left, top, left + side, top + side)
    return np.asarray(im.resize((N, N), Image.Resampling.LANCZOS, box), np.float32) / 255


def drawn(files: Sequence[Path], rng: Rng) -> Array:
    """A style (N, N, 3), 0..1: one kind, or one on top of another."""
    out = KINDS[rng.integers(len(KINDS))](part_of(files, rng), rng)
    if rng.random() < 0.35:
        out = KINDS[rng.integers(len(KINDS))](np.clip(out, 0, 1), rng)
    if rng.random() < 0.3:
        out = out + rng.normal(0, rng.uniform(0.01, 0.05), (N, N, 1))
    if rng.random() < 0.25:
        out = ndimage.gaussian_filter(out, (0.8, 0.8, 0))
    return np.clip(np.nan_to_num(out), 0, 1)


def write(file: Path, files: Sequence[Path], number: int) -> None:
    pixels = drawn(files, np.random.default_rng([7, number]))
    Image.fromarray((pixels * 255 + 0.5).astype(np.uint8)).save(file, quality=92)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="its number: other numbers are other styles")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    files = sorted(file for folder in asked.pictures for file in folder.iterdir())
    numbers = range(asked.first, asked.first + asked.count)
    with ProcessPoolExecutor(asked.workers) as pool:
        waiting = [pool.submit(write, asked.out / f"{n:05}.jpg", files, n) for n in numbers]
        for one in waiting:
            one.result()
    print(f"{asked.count} styles in {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
