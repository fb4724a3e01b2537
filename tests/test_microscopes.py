"""The makers' formats CZI and LIF: read whole or refused, and written as OME-TIFF that tells what they told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from impasto.errors import UserError
from impasto.medical.phantoms import nuclei_phantom
from impasto.medical.scans import read_scan
from scan_files import czi, lif, stack
from support import impasto

RNG = np.random.default_rng(0)
PLANES = RNG.integers(0, 4000, (2, 3, 40, 56), dtype=np.uint16)
WRITERS = {".czi": czi, ".lif": lif}
Writer = Callable[..., Path]
each = pytest.mark.parametrize("suffix", WRITERS)


@each
@pytest.mark.parametrize("shape", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_voxels_axes_and_size(tmp_path: Path, suffix: str, shape: tuple[int, int]) -> None:
    planes = PLANES[: shape[0], : shape[1]]
    scan = read_scan(WRITERS[suffix](tmp_path / f"x{suffix}", planes))
    assert scan.shape == ((40, 56) if shape[1] == 1 else (3, 40, 56))
    assert scan.channels == shape[0]
    for part, plane in zip(scan.parts, planes, strict=True):
        assert np.array_equal(part.stored, plane[0] if shape[1] == 1 else plane)
    scan.write([part.stored for part in scan.parts], tmp_path / "o.ome.tif", "derived")
    with tifffile.TiffFile(tmp_path / "o.ome.tif") as file:
        assert np.array_equal(file.asarray(), planes.squeeze())
        told = file.ome_metadata or ""
    assert "derived" in told
    assert 'PhysicalSizeXUnit="µm"' in told
    assert ('Name="DAPI"' in told) == (suffix == ".czi")
    assert ("ImageDocument" if suffix == ".czi" else "LMSDataContainerHeader") in told


@each
def test_harmonize_as_a_command(tmp_path: Path, suffix: str) -> None:
    picture = nuclei_phantom((160, 200), seed=1)[0].astype(np.uint16)
    WRITERS[suffix](tmp_path / f"scan{suffix}", picture[None, None])
    stack(tmp_path / "to.ome.tif", 3 * picture + 100, "YX")
    arguments = ("harmonize", f"scan{suffix}", "--to", "to.ome.tif", "--mask", "all")
    done = impasto(*arguments, "-o", "o.ome.tif", "--nuclei", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = 3.0 * picture + 100
    assert np.abs(tifffile.imread(tmp_path / "o.ome.tif") - wanted).max() < 0.05 * np.ptp(wanted)
    wrong = impasto(*arguments, "-o", f"o{suffix}", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "must end in .ome.tif or .ome.tiff" in wrong.stderr


@each
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.95])
def test_cut_short(tmp_path: Path, suffix: str, share: float) -> None:
    data = WRITERS[suffix](tmp_path / f"x{suffix}", PLANES).read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match="damaged, cut short"):
        read_scan(tmp_path / f"cut{suffix}")


def test_what_is_not_one_picture_of_intensities(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 scenes"):
        read_scan(czi(tmp_path / "scenes.czi", PLANES, scenes=2))
    colour = RNG.integers(0, 255, (1, 1, 40, 56, 3), dtype=np.uint8)
    with pytest.raises(UserError, match="colour picture"):
        read_scan(czi(tmp_path / "colour.czi", colour))
    with pytest.raises(UserError, match="2 pictures"):
        read_scan(lif(tmp_path / "two.lif", PLANES, pictures=2))
