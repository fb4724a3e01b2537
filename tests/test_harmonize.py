"""Harmonising: the curve, what it leaves alone, how near it comes to the reference, and the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.data import get_testdata_file

from impasto.errors import UserError
from impasto.medical.harmonization import STEEPEST, harmonize, intensity_map
from impasto.medical.landmarks import PERCENTILES, Landmarks
from impasto.medical.phantoms import T1, TISSUES, head_phantom, nuclei_phantom
from impasto.medical.scans import Scan, read_scan
from scan_files import dicom_series, nifti, stack
from support import impasto

OTHER = (0.0, 1500.0, 260.0, 900.0, 1250.0, 420.0)
SHAPE = (8, 48, 48)
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """A head as one scanner sees it; its reference is another head by another scanner."""
    return read_scan(nifti(tmp_path / "scan.nii.gz", head_phantom(SHAPE, tissues=T1, seed=1)[0], "float32"))


@pytest.fixture
def reference(tmp_path: Path) -> Scan:
    return read_scan(nifti(tmp_path / "reference.nii.gz", head_phantom(SHAPE, tissues=OTHER, seed=2)[0], "float32"))


rising = arrays(np.float64, 11, elements=st.integers(-3000, 3000).map(float)).map(np.sort)


@settings(deadline=None)
@given(before=rising, after=rising, values=arrays(np.float64, 40, elements=st.floats(-1e4, 1e4)))
def test_the_curve_never_falls_and_meets_the_landmarks(
    before: np.ndarray, after: np.ndarray, values: np.ndarray
) -> None:
    if before[0] == before[-1]:
        return
    curve = intensity_map(before, after)
    ordered = np.sort(values)
    scale = 1e-9 * (1 + abs(curve(ordered)).max())
    assert (np.diff(curve(ordered)) >= -scale).all()
    whole = (after[-1] - after[0]) / (before[-1] - before[0])
    points = np.unique(before)
    assert (np.diff(curve(points)) <= STEEPEST * whole * np.diff(points) + scale).all()
    if len(points) == len(before) and (np.diff(after) <= STEEPEST * whole * np.diff(before)).all():
        np.testing.assert_allclose(curve(before), after, atol=scale)


def test_a_step_becomes_a_slope_and_the_rest_stays() -> None:
    before = np.arange(101.0)
    after = before + 40 * (before >= 50)
    curve = intensity_map(before, after)
    assert np.diff(curve(before)).max() <= STEEPEST * 1.4 + 1e-9
    np.testing.assert_allclose(curve(before[:35]), after[:35], atol=1e-9)
    np.testing.assert_allclose(curve(before[65:]), after[65:])
    # Where one landmark of a tissue is misplaced, it moves more than the four others.
    before = np.array([10.0, 11, 12, 13, 50, 51, 52, 53, 54, 90, 91])
    after = np.array([20.0, 22, 24, 26, 26, 102, 104, 106, 108, 180, 182])
    moved = np.abs(intensity_map(before, after)(before) - after)
    assert moved[4] > 50
    assert moved[5:9].max() < 20


@settings(deadline=None)
@given(values=arrays(np.float64, 40, elements=st.floats(-1e4, 1e4)))
def test_equal_landmarks_change_nothing(values: np.ndarray) -> None:
    landmarks = np.linspace(50, 900, 11) ** 1.1
    np.testing.assert_allclose(intensity_map(landmarks, landmarks, 20.0)(values), values, atol=1e-8)


@pytest.mark.parametrize("method", ["nyul", "histogram"])
def test_tissues_come_to_where_the_reference_has_them(method: str, scan: Scan, reference: Scan) -> None:
    to = Landmarks.fit([reference], method=method)
    done = harmonize(scan, to)
    labels, truth = head_phantom(SHAPE, seed=1)[1], head_phantom(SHAPE, tissues=OTHER, seed=2)
    real = done.stored[0] * scan.parts[0].slope + scan.parts[0].intercept
    for tissue in ("scalp", "grey matter", "white matter"):
        number = TISSUES.index(tissue)
        before = np.median(scan.parts[0].values()[labels == number])
        wanted = np.median(truth[0][truth[1] == number])
        got = np.median(real[labels == number])
        assert abs(got - wanted) < 0.1 * abs(before - wanted), tissue


def test_the_background_stays_bit_for_bit_and_the_order_of_voxels_too(scan: Scan, reference: Scan) -> None:
    done = harmonize(scan, Landmarks.fit([reference]))
    labels = head_phantom(SHAPE, seed=1)[1]
    old, new = scan.parts[0].stored, done.stored[0]
    assert (old == new)[labels == 0].mean() > 0.99
    assert (old == new)[scan.parts[0].values() <= done.backgrounds[0]].all()
    assert done.voxels == np.sum(scan.parts[0].values() > done.backgrounds[0])
    order = np.argsort(old.ravel(), kind="stable")
    assert (np.diff(new.ravel()[order]) >= 0).all()


def test_only_the_mask_is_mapped_and_only_the_mask_counts(scan: Scan, reference: Scan) -> None:
    labels = head_phantom(SHAPE, seed=1)[1]
    brain = labels >= TISSUES.index("grey matter")
    to = Landmarks.fit([reference], [head_phantom(SHAPE, seed=2)[1] >= TISSUES.index("grey matter")])
    done = harmonize(scan, to, mask=brain)
    old, new = scan.parts[0].stored, done.stored[0]
    assert (old == new)[~brain].all()
    assert (old != new)[brain].mean() > 0.99
    assert done.voxels == brain.sum()
    assert (done.maps[0].before <= scan.parts[0].values()[brain].max()).all()
    every = harmonize(scan, Landmarks.fit([reference], "all"), mask="all")
    assert every.voxels == old.size
    for wrong, voxels in (("all", to), (brain, Landmarks.fit([reference], "all"))):
        with pytest.raises(UserError, match="all must be of all"):
            harmonize(scan, voxels, mask=wrong)
    with pytest.raises(UserError, match="on its grid"):
        harmonize(scan, to, mask=brain[1:])


def test_an_atlas_lies_between_its_scans_and_is_the_same_after_saving(
    tmp_path: Path, scan: Scan, reference: Scan
) -> None:
    alone = [np.array(Landmarks.fit([one]).values) for one in (scan, reference)]
    atlas = Landmarks.fit([scan, reference])
    ends = [0, -1]
    np.testing.assert_allclose(np.array(atlas.values)[:, ends], np.mean(alone, 0)[:, ends])
    assert (np.array(atlas.values) >= np.minimum(*alone)).all()
    assert (np.array(atlas.values) <= np.maximum(*alone)).all()
    assert atlas.scans == 2
    atlas.save(tmp_path / "atlas.json")
    assert Landmarks.load(tmp_path / "atlas.json") == atlas
    assert set(json.loads((tmp_path / "atlas.json").read_text())) == set(Landmarks.model_fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "method"), ("no json", "JSON"), ('{"method": "nyul", "values": [[1, 2]]}', "11 a channel"),
     ('{"method": "nyul", "values": [[9,8,7,6,5,4,3,2,1,0,0]]}', "rising list"),
     ('{"method": "nyul", "values": [[0,0,0,0,0,0,0,0,0,0,NaN]]}', "finite"),
     ('{"method": "nyul", "values": [], "scale": 3}', "")],
)  # fmt: skip
def test_landmarks_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "atlas.json").write_text(text)
    with pytest.raises(UserError, match=rf"atlas.json holds no landmarks.*{message}"):
        Landmarks.load(tmp_path / "atlas.json")


def test_ct_is_refused_unless_forced(tmp_path: Path, reference: Scan) -> None:
    ct = read_scan(get_testdata_file("CT_small.dcm"))
    to = Landmarks.fit([ct], "all")
    with pytest.raises(UserError, match="Hounsfield units.*--force"):
        harmonize(ct, to, mask="all")
    assert harmonize(ct, to, mask="all", force=True).voxels > 0
    # NIfTI does not tell the modality; air at -1000 does.
    body = np.where(head_phantom(SHAPE, seed=3)[1] == 0, -1000.0, 40.0) + np.random.default_rng(0).normal(0, 9, SHAPE)
    disguised = read_scan(nifti(tmp_path / "ct.nii", body, slope=1, inter=0))
    with pytest.raises(UserError, match="Hounsfield units, by its air"):
        harmonize(disguised, Landmarks.fit([disguised]))


def test_modalities_and_channels_must_agree(tmp_path: Path, scan: Scan) -> None:
    series = read_scan(dicom_series(tmp_path / "in", head_phantom(SHAPE, seed=4)[0]))
    other = Landmarks.fit([read_scan(dicom_series(tmp_path / "nm", head_phantom(SHAPE, seed=4)[0], Modality="NM"))])
    with pytest.raises(UserError, match="is MR and the reference NM"):
        harmonize(series, other)
    planes = np.stack([nuclei_phantom((64, 64), count=6)[0]] * 2)
    two = read_scan(stack(tmp_path / "two.ome.tif", planes, "CYX"))
    with pytest.raises(UserError, match="has 1 channels and the reference 2"):
        harmonize(scan, Landmarks.fit([two]))
    with pytest.raises(UserError, match="different modalities"):
        Landmarks.fit([series, scan])
    with pytest.raises(UserError, match="different numbers of channels"):
        Landmarks.fit([two, scan])


def test_channels_have_a_curve_each(tmp_path: Path) -> None:
    one, two = (nuclei_phantom((96, 96), count=8, seed=seed)[0] for seed in (1, 2))
    scan = read_scan(stack(tmp_path / "in.ome.tif", np.stack([one, two]), "CYX"))
    to = Landmarks.fit([read_scan(stack(tmp_path / "to.ome.tif", np.stack([one, 2 * two]), "CYX"))])
    done = harmonize(scan, to)
    assert np.array_equal(done.channel(0), one)
    bright = two > 600
    np.testing.assert_allclose(done.channel(1)[bright], 2.0 * two[bright], rtol=0.02)


def test_what_does_not_fit_is_refused_and_never_clipped(tmp_path: Path) -> None:
    picture = nuclei_phantom((96, 96), count=8)[0]
    small = read_scan(stack(tmp_path / "in.tif", np.rint(picture / 8).astype(np.uint8)))
    to = Landmarks.fit([read_scan(stack(tmp_path / "to.tif", picture))])
    with pytest.raises(UserError, match=r"would reach \d+.*holds 0 to 255: .*more bits"):
        harmonize(small, to)
    # A series stores 12 of its 16 bits.
    series = read_scan(dicom_series(tmp_path / "series", head_phantom(SHAPE, seed=1)[0]))
    far = Landmarks.fit([read_scan(nifti(tmp_path / "far.nii", 12 * head_phantom(SHAPE, seed=2)[0], "float32"))])
    with pytest.raises(UserError, match="holds 0 to 4095"):
        harmonize(series, far)


def test_intensities_that_fall_together_are_told(tmp_path: Path) -> None:
    picture = nuclei_phantom((96, 96), count=8)[0]
    scan = read_scan(stack(tmp_path / "in.tif", picture * 8))
    to = Landmarks.fit([read_scan(stack(tmp_path / "to.tif", np.rint(picture / 8).astype(np.uint16)))], "all")
    done = harmonize(scan, to, mask="all")
    assert done.levels is not None
    assert done.levels[1] < done.levels[0] / 2
    assert "more bits" in done.warnings[0]


def test_scans_without_tissue_or_background(tmp_path: Path, scan: Scan, reference: Scan) -> None:
    to = Landmarks.fit([reference])
    flat = read_scan(stack(tmp_path / "flat.tif", np.full((64, 64), 7, np.uint16)))
    with pytest.raises(UserError, match="no tissue of different intensities"):
        harmonize(flat, to)
    tissue_only = np.random.default_rng(0).normal(500, 60, (64, 64)).astype(np.uint16)
    block = read_scan(stack(tmp_path / "block.tif", tissue_only))
    with pytest.raises(UserError, match="no background apart from its tissue.*--mask all"):
        harmonize(block, to)
    dim = to.model_copy(update={"values": [[value / 100 for value in to.values[0]]]})
    with pytest.raises(UserError, match="most of the reference's tissue is darker.*--mask"):
        harmonize(scan, dim)
    assert harmonize(scan, dim.model_copy(update={"voxels": "all"}), mask="all").voxels == scan.parts[0].stored.size


# The command, as a process; then each of its options.


def test_the_command(tmp_path: Path) -> None:
    dicom_series(tmp_path / "scan", head_phantom(SHAPE, tissues=T1, seed=1)[0])
    dicom_series(tmp_path / "reference", head_phantom(SHAPE, tissues=OTHER, seed=2)[0])
    done = impasto("harmonize", "scan", "--to", "reference", "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("out: ")
    assert "background, up to" in done.stdout
    assert len(list((tmp_path / "out").iterdir())) == SHAPE[0]
    again = impasto("harmonize", "scan", "--to", "reference", "-o", "out", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("impasto: out is already there")
    named = impasto("harmonize", "scan", "--to", "reference", "-o", "Keilberg", "--quiet", cwd=tmp_path)
    assert named.returncode == 2
    assert "Keilberg" not in named.stderr
    assert not (tmp_path / "Keilberg").exists()


def run(folder: Path, *arguments: str, output: str = "out.nii") -> np.ndarray:
    """The command in this process; the new voxels."""
    from impasto.cli.main import main

    target = folder / output
    target.unlink(missing_ok=True)
    assert main(["harmonize", str(folder / "scan.nii"), "-o", str(target), "--quiet", *arguments]) == 0
    return np.asarray(read_scan(target).parts[0].stored)


def test_every_option_changes_the_result(tmp_path: Path, capsys: Capture) -> None:
    volume, labels = head_phantom(SHAPE, tissues=T1, seed=1)
    other, other_labels = head_phantom(SHAPE, tissues=OTHER, seed=2)
    nifti(tmp_path / "scan.nii", volume)
    nifti(tmp_path / "a.nii", other, "float32")
    nifti(tmp_path / "b.nii", head_phantom(SHAPE, tissues=[1.3 * t for t in T1], seed=3)[0])
    nifti(tmp_path / "mask.nii", (labels >= 3).astype(float), slope=1, inter=0)
    nifti(tmp_path / "a-mask.nii", (other_labels >= 3).astype(float), slope=1, inter=0)
    to = ["--to", str(tmp_path / "a.nii")]
    plain = run(tmp_path, *to)
    results = {
        "two references": run(tmp_path, *to, "--to", str(tmp_path / "b.nii")),
        "mask": run(tmp_path, *to, "--mask", str(tmp_path / "mask.nii")),
        "all": run(tmp_path, *to, "--mask", "all"),
        "reference mask": run(tmp_path, *to, "--reference-mask", str(tmp_path / "a-mask.nii")),
        "method": run(tmp_path, *to, "--method", "histogram"),
    }
    for name, result in results.items():
        assert (result != plain).any(), name
        assert all((result != other).any() for key, other in results.items() if key != name), name
    atlas = tmp_path / "atlas.json"
    both = [*to, "--to", str(tmp_path / "b.nii"), "--save-landmarks", str(atlas)]
    assert np.array_equal(run(tmp_path, *both), results["two references"])
    assert np.array_equal(run(tmp_path, "--to", str(atlas)), results["two references"])
    assert capsys.readouterr().out == ""


def test_json_axes_nuclei_and_force(tmp_path: Path, capsys: Capture) -> None:
    from impasto.cli.main import main

    planes = np.stack([nuclei_phantom((128, 128), count=12, seed=seed)[0] for seed in range(2)])
    scan, to = stack(tmp_path / "scan.tif", planes), stack(tmp_path / "to.ome.tif", planes * 2, "CYX")
    command = ["harmonize", str(scan), "--to", str(to), "-o", str(tmp_path / "out.tif")]
    assert main(command) == 2
    assert "--axes" in capsys.readouterr().err
    assert main([*command, "--axes", "CYX", "--nuclei", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"output", "method", "voxels", "maps", "nuclei", "warnings"}
    assert (said["nuclei"]["before"], said["nuclei"]["after"], said["nuclei"]["reasons"]) == (12, 12, [])
    assert len(said["maps"]) == 2
    assert main([*command, "--axes", "CYX", "--nuclei", "3"]) == 2
    assert "--nuclei 3" in capsys.readouterr().err
    ct = get_testdata_file("CT_small.dcm")
    forced = ["harmonize", ct, "--to", ct, "-o", str(tmp_path / "out.dcm"), "--mask", "all"]
    assert main(forced) == 2
    assert main([*forced, "--force"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--to", "atlas.json", "--method", "histogram"], "holds nyul landmarks"),
     (["--to", "atlas.json", "--to", "scan.nii"], "stand alone"),
     (["--to", "scan.nii", "--reference-mask", "scan.nii", "--reference-mask", "scan.nii"], "give one for each"),
     (["--to", "scan.nii", "--reference-mask", "scan.nii", "--mask", "all"], "leave out --reference-mask"),
     (["--to", "atlas.json", "--mask", "all"], "all must be of all"),
     (["--to", "scan.nii", "--axes", "ZYX"], "leave it out"),
     (["--to", "nothing.nii"], "does not exist")],
)  # fmt: skip
def test_options_that_do_not_fit(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:  # fmt: skip
    from impasto.cli.main import main

    monkeypatch.chdir(tmp_path)
    scan = read_scan(nifti(Path("scan.nii"), head_phantom(SHAPE, seed=1)[0]))
    Landmarks.fit([scan]).save("atlas.json")
    assert main(["harmonize", "scan.nii", "-o", "out.nii", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out.nii").exists()


@pytest.mark.parametrize(("module", "name"), [("nibabel", "nii"), ("pydicom", "dcm"), ("tifffile", "tif")])
def test_without_the_extra_it_says_which(
    module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from impasto.cli.main import main

    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    scan = f"scan.{name}"
    Path(scan).write_bytes(b"x")
    assert main(["harmonize", scan, "--to", scan, "-o", f"out.{name}"]) == 2
    assert "pip install 'impasto[medical]'" in capsys.readouterr().err


def test_percentiles_hold_the_ends_of_an_atlas() -> None:
    assert all({1.0, 99.0} <= set(percentiles) for percentiles in PERCENTILES.values())


def test_the_names_of_the_package_are_what_they_say() -> None:
    import impasto.medical as medical

    for name in medical.__all__:
        assert getattr(medical, name).__name__ == name
    assert not hasattr(medical, "nothing")
