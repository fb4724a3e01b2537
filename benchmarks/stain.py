"""Stain normalisation on every 256 px tile of a slide, against the figures it is to reach; and how fast it goes.

python -m benchmarks.stain [METHOD ...]     methods other than the default are shown and not judged
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from skimage.color import rgb2lab

from benchmarks.data import ROOT
from benchmarks.verdict import verdict
from impasto.medical.check import check, gradient_correlation, luminance_ssim
from impasto.medical.normalizer import StainNormalizer, StainWarning, picture_pixels
from impasto.medical.slide_output import transform_slide
from impasto.medical.slides import open_slide
from impasto.medical.stains import DEFAULT_METHOD
from impasto.medical.synthetic import synthetic_tissue
from impasto.picture import read_picture

TILE, THREADS, BIG = 256, 2, 20_000
MEDICAL = ROOT / "medical"


def main() -> int:
    if sys.argv[1:2] == ["big"]:
        return big_slide(sys.argv[2])
    warnings.simplefilter("ignore", StainWarning)
    whole, reference = slide_pixels(), picture_pixels(read_picture(MEDICAL / "stain_target.png"))[..., :3]
    met: dict[str, bool] = {}
    for method in sys.argv[1:] or [DEFAULT_METHOD]:
        for mode in ("slide", "tile"):
            found = figures(method, mode, whole, reference)
            if (method, mode) == (DEFAULT_METHOD, "slide"):
                met |= judged(found)
    if DEFAULT_METHOD in (sys.argv[1:] or [DEFAULT_METHOD]):
        met |= speeds(whole, reference)
        met |= memory()
    return verdict(met)


def slide_pixels() -> np.ndarray:
    slide = open_slide(MEDICAL / "small_HE.svs")
    assert slide is not None
    return slide.read(0, 0, slide.facts.height, slide.facts.width)


def figures(method: str, mode: str, whole: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    """Of every tile: failed, background, ssim, gradient, haematoxylin, delta_e; measured on the slide or the tile.

    The background (lightness 85 and more) and the colour distance are judged by scikit-image's CIELAB.
    """
    normalizer = StainNormalizer(method, threads=THREADS).fit(reference)
    source = normalizer.measure(whole) if mode == "slide" else None
    wanted = mean_lab(reference)
    rows, tiled = [], np.empty_like(whole)
    for top in range(0, whole.shape[0], TILE):
        for left in range(0, whole.shape[1], TILE):
            place = np.s_[top : top + TILE, left : left + TILE]
            tile = whole[place]
            try:
                result = tiled[place] = normalizer.transform(tile, source)
            except Exception as error:  # a failure is a figure here
                print(top, left, error)
                rows.append([1.0, np.nan, np.nan, np.nan, np.nan, np.nan])
                continue
            rows.append([0.0, background(tile, result), luminance_ssim(tile, result),
                         gradient_correlation(tile, result), np.nan, distance(tile, result, wanted)])  # fmt: skip
    report = check(whole, tiled, reference=reference)
    columns = dict(
        zip(("failed", "background", "ssim", "gradient", "haematoxylin", "delta_e"), np.array(rows).T, strict=True)
    )
    columns["haematoxylin"] = np.array([report.figures["haematoxylin_correlation"]], float)
    columns["whole_delta_e"] = np.array([np.linalg.norm(mean_lab(tiled) - wanted)])
    columns["nuclei"] = np.array([report.figures[f"nuclei_{name}"] for name in ("before", "after", "matched")], float)
    if source is not None:
        columns["equal"] = np.array([np.array_equal(normalizer.transform(whole, source), tiled)])
    print(f"{method}, appearance measured on each {mode}: {int(columns['failed'].sum())} of {len(rows)} failed; "
          f"background {int(np.nanmax(columns['background']))} levels; SSIM {stated(columns['ssim'])}; "
          f"gradient {stated(columns['gradient'])}, {int((columns['gradient'] < 0.96).sum())} tiles under 0.96; "
          f"haematoxylin {columns['haematoxylin'][0]:.3f}; delta E of all {columns['whole_delta_e'][0]:.2f}, "
          f"of tiles {np.nanmedian(columns['delta_e']):.2f} (median), {np.nanmax(columns['delta_e']):.2f} (worst); "
          f"nuclei {columns['nuclei'][0]:.0f} -> {columns['nuclei'][1]:.0f}, {columns['nuclei'][2]:.1%} matched",
          flush=True)  # fmt: skip
    return columns


def judged(found: dict[str, np.ndarray]) -> dict[str, bool]:
    before, after, matched = found["nuclei"]
    return {
        "no tile fails": not found["failed"].any(),
        "background changes by 0 levels": np.nanmax(found["background"]) == 0,
        "SSIM >= 0.93 on every tile": found["ssim"].min() >= 0.93,
        "SSIM >= 0.97 in the median": np.median(found["ssim"]) >= 0.97,
        "gradient correlation >= 0.96 in the median": np.median(found["gradient"]) >= 0.96,
        "gradient correlation >= 0.96 on every tile": found["gradient"].min() >= 0.96,
        "haematoxylin correlation >= 0.95": found["haematoxylin"][0] >= 0.95,
        "delta E <= 4": found["whole_delta_e"][0] <= 4,
        "tiles equal the whole": bool(found["equal"][0]),
        "nuclei: count within 2 %, 98 % matched": abs(after - before) <= 0.02 * before and matched >= 0.98,
    }


def speeds(whole: np.ndarray, reference: np.ndarray) -> dict[str, bool]:
    """Megapixels a second, by the clock and by the CPU time of all threads, best of three."""
    megapixels = whole.shape[0] * whole.shape[1] / 1e6

    def arrays() -> None:
        normalizer = StainNormalizer(threads=THREADS).fit(reference)
        began[:] = time.perf_counter(), time.process_time()
        normalizer.transform(whole)

    def slides() -> None:
        normalizer, slide = StainNormalizer(threads=THREADS).fit(reference), open_slide(MEDICAL / "small_HE.svs")
        assert slide is not None
        began[:] = time.perf_counter(), time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            transform_slide(slide, normalizer, Path(folder) / "o.ome.tif")

    began, met = [0.0, 0.0], {}
    for name, work, least in (("array to array, measuring included", arrays, 25), ("slide to slide", slides, 8)):
        clock, cpu = [], []
        for _ in range(3):
            work()
            clock.append(time.perf_counter() - began[0])
            cpu.append(time.process_time() - began[1])
        print(f"{name}: {megapixels / min(clock):.1f} MP/s by the clock; {megapixels / min(cpu):.1f} MP per CPU second "
              f"(load {os.getloadavg()[0]:.1f})")  # fmt: skip
        met[f"{name} >= {least} MP/s"] = megapixels / min(clock) >= least
    return met


def memory() -> dict[str, bool]:
    """A synthetic slide of 20,000 x 20,000 pixels, transformed in a process of its own."""
    import pyvips

    with tempfile.TemporaryDirectory() as folder:
        part = pyvips.Image.new_from_array(synthetic_tissue(2000, 2000, seed=1).pixels)
        file = str(Path(folder) / "big.tif")
        part.replicate(BIG // 2000, BIG // 2000).tiffsave(
            file, tile=True, tile_width=TILE, tile_height=TILE, compression="jpeg", bigtiff=True, Q=90
        )
        command = [sys.executable, "-m", "benchmarks.stain", "big", file]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(done.stdout.strip())
    peak = float(done.stdout.split("peak ")[1].split()[0])
    return {"peak memory <= 1024 MiB": peak <= 1024}


def big_slide(file: str) -> int:
    reference = picture_pixels(read_picture(MEDICAL / "stain_target.png"))[..., :3]
    slide = open_slide(file)
    assert slide is not None
    began, cpu = time.perf_counter(), time.process_time()
    transform_slide(slide, StainNormalizer(threads=THREADS).fit(reference), Path(file).with_name("o.ome.tif"))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{BIG} x {BIG} slide: {seconds:.0f} s, {BIG**2 / 1e6 / seconds:.1f} MP/s by the clock, "
          f"{BIG**2 / 1e6 / cpu:.1f} MP per CPU second, peak {peak:.0f} MiB")  # fmt: skip
    return 0


def background(before: np.ndarray, after: np.ndarray) -> float:
    glass = rgb2lab(before)[..., 0] >= 85
    return float(np.abs(before[glass].astype(int) - after[glass]).max(initial=0))


def distance(tile: np.ndarray, result: np.ndarray, wanted: np.ndarray) -> float:
    """Of tiles that are more than a twentieth tissue; a few pixels at an edge have no stain to compare."""
    if (rgb2lab(tile)[..., 0] < 85).mean() < 0.05:
        return float("nan")
    return float(np.linalg.norm(mean_lab(result) - wanted))


def mean_lab(pixels: np.ndarray) -> np.ndarray:
    lab = rgb2lab(pixels)
    mean: np.ndarray = lab[lab[..., 0] < 85].mean(axis=0)
    return mean


def stated(values: np.ndarray) -> str:
    return f"{np.median(values):.3f} (median), {np.min(values):.3f} (worst)"


if __name__ == "__main__":
    sys.exit(main())
