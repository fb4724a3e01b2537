"""Scans and stain augmentation: how near, how fast, and whether the nuclei stay.

python -m benchmarks.scans
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
import tifffile
import torch
from pydicom.data import get_testdata_file

from benchmarks.data import ROOT
from impasto.medical import Landmarks, StainAugment, compare_nuclei, harmonize, read_scan
from impasto.medical.fluorescence import find_nuclei, match
from impasto.medical.phantoms import TISSUES, head_phantom
from impasto.medical.scans import Scan

LEAST_TILES_PER_S, WORKERS, SECONDS = 300, 2, 6.0
OTHER = (0.0, 1500.0, 260.0, 900.0, 1250.0, 420.0)
# Of the difference between two scanners, how much may be left in the median of a tissue.
MOST_LEFT = 0.10
missed: list[str] = []


def stated(what: str, met: bool) -> None:
    print(f"  {what}: {'met' if met else 'MISSED'}")
    if not met:
        missed.append(what)


def tiles_of_a_worker(seed: int) -> tuple[int, float]:
    """Tiles changed in some seconds, and the CPU seconds that they took, as one worker of a DataLoader does it."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    augment, batch = StainAugment(), torch.randint(0, 256, (32, 3, 256, 256), dtype=torch.uint8)
    augment(batch)
    began, used, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < SECONDS:
        augment(batch)
        count += len(batch)
    return count, time.process_time() - used


def augmentation() -> None:
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        results = pool.map(tiles_of_a_worker, range(WORKERS), chunksize=1)
    rate = sum(count for count, _ in results) / SECONDS
    alone = sum(count for count, _ in results) / sum(used for _, used in results)
    print(f"StainAugment, 256² tiles, {WORKERS} workers: {rate:.0f} tiles/s; {alone:.0f} tiles a CPU second")
    stated(f">= {LEAST_TILES_PER_S} tiles/s", rate >= LEAST_TILES_PER_S)


def written(folder: Path, name: str, volume: np.ndarray) -> Scan:
    nibabel.Nifti1Image(volume.astype(np.float32), np.eye(4)).to_filename(folder / name)
    return read_scan(folder / name)


def two_scanners(folder: Path) -> None:
    """Phantoms of two scanners: what is left of the difference of each tissue."""
    shape = (64, 256, 256)
    for method in ("nyul", "histogram"):
        worst, rates = [], []
        for seed in range(3):
            volume, labels = head_phantom(shape, seed=seed)
            other, other_labels = head_phantom(shape, tissues=OTHER, seed=seed + 10)
            scan, to = written(folder, "scan.nii", volume), written(folder, "to.nii", other)
            began = time.process_time()
            done = harmonize(scan, Landmarks.fit([to], method=method))
            rates.append(volume.size / 1e6 / (time.process_time() - began))
            for name in ("scalp", "grey matter", "white matter"):
                before, after, wanted = (
                    np.median(values[labels_of == TISSUES.index(name)])
                    for values, labels_of in ((volume, labels), (done.stored[0], labels), (other, other_labels))
                )
                worst.append(abs(after - wanted) / abs(before - wanted))
        left = f"{np.mean(worst):.1%} left in the mean, {max(worst):.1%} at worst"
        rate = f"{np.median(rates):.1f} million voxels a CPU second, fit included"
        print(f"two scanners, {method}: of a tissue's difference {left}; {rate}")
        stated(f"{method} leaves <= {MOST_LEFT:.0%}", max(worst) <= MOST_LEFT)


def sample_scans(folder: Path) -> None:
    """The libraries' own scans, brought to a brighter copy of themselves: the curve must be the one that made it."""
    anatomical = Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"
    for file in (get_testdata_file("MR_small.dcm"), get_testdata_file("MR_small_RLE.dcm"), str(anatomical)):
        scan = read_scan(file)
        values = np.concatenate([part.values().ravel() for part in scan.parts])
        # Bright ends could not be held by the anatomical scan's 16 bits.
        tifffile.imwrite(folder / "to.tif", (0.8 * values + 50).astype(np.float32)[None])
        to = read_scan(folder / "to.tif")
        done = harmonize(scan, Landmarks.fit([to], "all"), mask="all")
        new = np.concatenate(
            [(out * part.slope + part.intercept).ravel() for out, part in zip(done.stored, scan.parts, strict=True)]
        )
        error = np.abs(new - (0.8 * values + 50)).max() / np.ptp(values)
        print(f"{Path(file).name}: {values.size} voxels, largest error {error:.2%} of the range")
        stated("error <= 0.1 %", error <= 0.001)


def nuclei(folder: Path) -> None:
    """A real picture of nuclei with its labels, brought to what other settings of the microscope would show."""
    picture = tifffile.imread(ROOT / "medical" / "nuclei_2d.tif")
    labels = np.unique(tifffile.imread(ROOT / "medical" / "nuclei_2d_mask.tif"), return_inverse=True)[1]
    labels = labels.reshape(picture.shape).astype(np.int32)
    found = find_nuclei(picture)
    f1 = 2 * len(match(found, labels)) / (found.max() + labels.max())
    print(f"nuclei_2d.tif: {labels.max()} nuclei labelled, {found.max()} found, F1 {f1:.3f}")
    tifffile.imwrite(folder / "scan.tif", picture)
    scan = read_scan(folder / "scan.tif")
    for gamma, gain in ((0.7, 900), (1.0, 700), (1.4, 1500)):
        other = np.rint(100 + gain * (picture / 255.0) ** gamma).astype(np.uint16)
        tifffile.imwrite(folder / "to.tif", other)
        to = read_scan(folder / "to.tif")
        for method in ("nyul", "histogram"):
            done = harmonize(scan, Landmarks.fit([to], "all", method=method), mask="all")
            check = compare_nuclei(picture, done.stored[0], labels)
            print(f"to gamma {gamma}, gain {gain}, {method}: {check}")
            stated("the same nuclei, ranks >= 0.999", not check.reasons and check.rank >= 0.999)


def main() -> int:
    torch.set_num_threads(2)
    augmentation()
    with tempfile.TemporaryDirectory() as folder:
        two_scanners(Path(folder))
        sample_scans(Path(folder))
        nuclei(Path(folder))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
