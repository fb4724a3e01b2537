"""Whole slides: read, measured, mapped in strips and written, with what their files say and without who they name."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from impasto.errors import PictureError, UserError
from impasto.medical import StainNormalizer
from impasto.medical.normalizer import StainWarning
from impasto.medical.slide_output import transform_slide
from impasto.medical.slides import Slide, SlideFacts, measure_slide, open_slide
from impasto.medical.synthetic import synthetic_tissue
from impasto.medical.tissue import TooLittleTissue
from impasto.picture import read_picture
from tissue_files import purple, rose, write_svs

PIXELS = synthetic_tissue(700, 1100, seed=3).pixels


@pytest.fixture
def svs(tmp_path: Path) -> Path:
    write_svs(tmp_path / "x.svs", PIXELS)
    return tmp_path / "x.svs"


@pytest.fixture(scope="module")
def normalizer() -> StainNormalizer:
    return StainNormalizer(threads=2).fit(purple().pixels)


def opened(path: Path) -> Slide:
    slide = open_slide(path)
    assert slide is not None
    return slide


def test_what_a_slide_says(svs: Path) -> None:
    facts = opened(svs).facts
    assert (facts.height, facts.width, facts.mpp, facts.objective) == (700, 1100, (0.5, 0.5), 20)
    assert np.array_equal(opened(svs).read(10, 300, 500, 700), PIXELS[10:510, 300:1000])


def test_lossless_slide_is_the_array_bit_for_bit(svs: Path, normalizer: StainNormalizer, tmp_path: Path) -> None:
    slide, rows = opened(svs), list[int]()
    transform_slide(slide, normalizer, tmp_path / "o.ome.tif", quality=None, on_rows=rows.append)
    wanted = normalizer.transform(PIXELS, measure_slide(slide, normalizer))
    with tifffile.TiffFile(tmp_path / "o.ome.tif") as file:
        assert file.is_ome
        levels = [level.shape for level in file.series[0].levels]
        assert levels[:2] == [(700, 1100, 3), (350, 550, 3)]
        assert min(levels[-1][:2]) <= 256
        assert np.array_equal(file.series[0].asarray(), wanted)
    again = opened(tmp_path / "o.ome.tif")
    assert (again.facts.mpp, again.facts.objective) == ((0.5, 0.5), 20)
    assert np.array_equal(again.read(0, 0, 700, 1100), wanted)
    assert rows == [256, 512, 700]


def test_quality_is_the_files(svs: Path, normalizer: StainNormalizer, tmp_path: Path) -> None:
    for quality in (30, 90):
        transform_slide(opened(svs), normalizer, tmp_path / f"{quality}.ome.tif", quality=quality)
    sizes = [(tmp_path / f"{quality}.ome.tif").stat().st_size for quality in (30, 90)]
    assert sizes[0] < 0.6 * sizes[1]
    wanted = normalizer.transform(PIXELS, measure_slide(opened(svs), normalizer)).astype(int)
    assert np.abs(opened(tmp_path / "90.ome.tif").read(0, 0, 700, 1100) - wanted).mean() < 2


def test_labels_are_dropped_unless_asked_for(svs: Path, normalizer: StainNormalizer, tmp_path: Path) -> None:
    transform_slide(opened(svs), normalizer, tmp_path / "o.ome.tif")
    with tifffile.TiffFile(tmp_path / "o.ome.tif") as file:
        assert [series.name for series in file.series] == ["slide"]
    transform_slide(opened(svs), normalizer, tmp_path / "k.ome.tif", keep=["label", "macro"])
    with tifffile.TiffFile(tmp_path / "k.ome.tif") as file:
        assert [series.name for series in file.series] == ["slide", "label", "macro"]
        assert (file.series[1].asarray() == 200).all()
        assert (file.series[2].asarray() == 90).all()
    with pytest.raises(UserError, match="has no label picture; leave out --keep label"):
        transform_slide(opened(tmp_path / "o.ome.tif"), normalizer, tmp_path / "n.ome.tif", keep=["label"])


def test_a_slide_without_pixel_size(tmp_path: Path, normalizer: StainNormalizer) -> None:
    write_svs(tmp_path / "x.svs", PIXELS, mpp=False)
    assert opened(tmp_path / "x.svs").facts.mpp is None
    transform_slide(opened(tmp_path / "x.svs"), normalizer, tmp_path / "o.ome.tif")
    assert opened(tmp_path / "o.ome.tif").facts.mpp is None


def test_a_slide_without_tissue_is_refused(tmp_path: Path, normalizer: StainNormalizer) -> None:
    write_svs(tmp_path / "x.svs", np.full((600, 600, 3), 240, np.uint8))
    with pytest.raises(TooLittleTissue, match="no stained tissue"):
        transform_slide(opened(tmp_path / "x.svs"), normalizer, tmp_path / "o.ome.tif")
    assert not list(tmp_path.glob("*.tif"))


def test_a_slide_cut_short_leaves_nothing(svs: Path, normalizer: StainNormalizer, tmp_path: Path) -> None:
    data = svs.read_bytes()
    for share in (0.3, 0.9):
        (tmp_path / "cut.svs").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(PictureError, match="cut short"):
            transform_slide(opened(tmp_path / "cut.svs"), normalizer, tmp_path / "o.ome.tif")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cut.svs", "x.svs"]


@pytest.mark.parametrize("compression", [None, "jpeg"])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_tiled_tiff_cut_short_is_refused(tmp_path: Path, compression: str | None, share: float) -> None:
    options = {"tile": (256, 256), "photometric": "rgb", "metadata": None, "compression": compression}
    tifffile.imwrite(tmp_path / "x.tif", PIXELS, **options)
    data = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PictureError, match="cut short"):
        open_slide(tmp_path / "x.tif")


def test_colours_cut_on_a_slide_are_told(svs: Path, tmp_path: Path) -> None:
    burned = np.clip(purple().pixels.astype(int) * 2 - 200, 0, 255).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StainWarning)
        normalizer = StainNormalizer("reinhard").fit(burned)
    with pytest.warns(StainWarning, match="% of the pixels were cut to black or full colour"):
        transform_slide(opened(svs), normalizer, tmp_path / "o.ome.tif")


def test_tiffs_with_alpha_and_in_planes_are_pictures(tmp_path: Path) -> None:
    """So that transparency stays, which a slide would not keep."""
    alpha = np.full((*PIXELS.shape[:2], 1), 255, np.uint8)
    with_alpha = np.concatenate([PIXELS, alpha], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", with_alpha, photometric="rgb", tile=(256, 256), extrasamples=["unassalpha"])
    planes = np.moveaxis(PIXELS, -1, 0).copy()
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate")
    for name in ("a.tif", "p.tif"):
        assert open_slide(tmp_path / name) is None
        assert np.array_equal(read_picture(tmp_path / name).to_uint8()[..., :3], PIXELS)


def test_a_slide_that_breaks_on_the_way_leaves_nothing(normalizer: StainNormalizer, tmp_path: Path) -> None:
    class Breaking:
        facts = SlideFacts("broken.svs", 1200, 400, None, None)

        def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
            if top >= 512 and width == 400:
                raise PictureError("broken.svs is damaged or cut short; get a whole copy.")
            return np.ascontiguousarray(np.resize(rose().pixels, (height, width, 3)))

        def associated(self, name: str) -> None:
            return None

    for output in ("o.ome.tif", "o.ome.zarr"):
        with pytest.raises(PictureError, match=r"broken\.svs is damaged"):
            transform_slide(Breaking(), normalizer, tmp_path / output)
    assert not list(tmp_path.iterdir())


def test_outputs_that_are_refused(svs: Path, normalizer: StainNormalizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"end its name in \.ome\.tif"):
        transform_slide(opened(svs), normalizer, tmp_path / "o.png")
    slide = opened(svs)
    slide.facts = SlideFacts("x", 700, 1100, None, None, ("DOE^Jane", "4711"))  # type: ignore[misc]
    for name in ("jane.ome.tif", "case-4711.ome.tif", "Doe/x.ome.tif"):
        with pytest.raises(UserError, match="names the patient"):
            transform_slide(slide, normalizer, tmp_path / name)


def test_tiled_tiffs_are_slides_and_others_are_not(tmp_path: Path) -> None:
    resolution = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "tiled.tif", PIXELS, tile=(256, 256), photometric="rgb", **resolution)
    assert opened(tmp_path / "tiled.tif").facts.mpp == pytest.approx((0.5, 0.5))
    tifffile.imwrite(tmp_path / "plain.tif", PIXELS, photometric="rgb")
    assert open_slide(tmp_path / "plain.tif") is None


@pytest.mark.parametrize(("shape", "axes"), [((5, 64, 64), "QYX|ZYX|IYX"), ((2, 64, 64, 3), "QYXS|IYXS")])
def test_tiffs_with_unclear_axes_are_refused(tmp_path: Path, shape: tuple[int, ...], axes: str) -> None:
    photometric = "rgb" if shape[-1] == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "x.tif", np.zeros(shape, np.uint8), photometric=photometric)
    with pytest.raises(PictureError, match=f"has axes ({axes}) of .*save one plane"):
        open_slide(tmp_path / "x.tif")


def write_zarr(path: Path, axes: str, shape: tuple[int, ...], unit: str = "micrometer") -> None:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    array = group.create_array("0", shape=shape, chunks=(*shape[:-2], 256, 256), dtype="uint8")
    array[...] = np.moveaxis(PIXELS, -1, 0).reshape(shape) if 3 in shape else 0
    named = [{"name": name, "type": "space", "unit": unit} for name in axes]
    scale = {"type": "scale", "scale": [0.25 if name in "xy" else 1 for name in axes]}
    group.attrs["multiscales"] = [{"axes": named, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}]


@pytest.mark.parametrize(("axes", "shape"), [("cyx", (3, 700, 1100)), ("tczyx", (1, 3, 1, 700, 1100))])
def test_ome_zarr(tmp_path: Path, normalizer: StainNormalizer, axes: str, shape: tuple[int, ...]) -> None:
    write_zarr(tmp_path / "x.zarr", axes, shape)
    slide = opened(tmp_path / "x.zarr")
    assert slide.facts.mpp == (0.25, 0.25)
    assert np.array_equal(slide.read(5, 9, 300, 400), PIXELS[5:305, 9:409])
    transform_slide(slide, normalizer, tmp_path / "o.ome.tif")
    assert opened(tmp_path / "o.ome.tif").facts.mpp == (0.25, 0.25)


def test_a_slide_as_ome_zarr(svs: Path, normalizer: StainNormalizer, tmp_path: Path) -> None:
    slide, rows = opened(svs), list[int]()
    transform_slide(slide, normalizer, tmp_path / "o.ome.zarr", on_rows=rows.append)
    wanted = normalizer.transform(PIXELS, measure_slide(slide, normalizer))
    again = opened(tmp_path / "o.ome.zarr")
    assert (again.facts.mpp, again.facts.objective) == ((0.5, 0.5), 20)
    assert np.array_equal(again.read(0, 0, 700, 1100), wanted)
    group = zarr.open_group(str(tmp_path / "o.ome.zarr"), mode="r")
    described = group.attrs.asdict()["multiscales"][0]
    levels = [np.asarray(group[dataset["path"]]) for dataset in described["datasets"]]
    assert [level.shape for level in levels] == [(3, 700, 1100), (3, 350, 550), (3, 175, 275), (3, 88, 138)]
    for finer, coarser in itertools.pairwise(levels):
        even = finer[:, : finer.shape[1] // 2 * 2, : finer.shape[2] // 2 * 2].astype(float)
        means = even.reshape(3, even.shape[1] // 2, 2, even.shape[2] // 2, 2).mean(axis=(2, 4))
        assert np.abs(coarser[:, : means.shape[1], : means.shape[2]] - means).max() <= 0.5
    assert described["datasets"][1]["coordinateTransformations"][0]["scale"] == [1, 1, 1]
    assert rows == [256, 512, 700]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["o.ome.zarr", "x.svs"]
    with pytest.raises(UserError, match="leave out --keep"):
        transform_slide(slide, normalizer, tmp_path / "k.ome.zarr", keep=["macro"])


def test_ome_zarr_that_is_refused(tmp_path: Path) -> None:
    write_zarr(tmp_path / "x.zarr", "zyx", (2, 300, 300))
    with pytest.raises(PictureError, match="give one plane of 8-bit RGB"):
        open_slide(tmp_path / "x.zarr")
    (tmp_path / "y.zarr").mkdir()
    with pytest.raises(PictureError, match="no OME-Zarr picture"):
        open_slide(tmp_path / "y.zarr")
    write_zarr(tmp_path / "z.zarr", "cyx", (3, 700, 1100), unit="inch")
    assert opened(tmp_path / "z.zarr").facts.mpp is None


@pytest.mark.parametrize("name", ["x.svs", "x.tif", "x.ndpi"])
def test_files_that_are_no_slides(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"hello" * 100)
    with pytest.raises(PictureError, match="get a whole copy"):
        open_slide(tmp_path / name)
    with pytest.raises(PictureError, match="does not exist"):
        open_slide(tmp_path / "none.svs")
