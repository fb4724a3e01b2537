"""`impasto harmonize SCAN --to REFERENCE -o OUT`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto.errors import JobError

if TYPE_CHECKING:
    from impasto.medical.fluorescence import NucleiCheck
    from impasto.medical.harmonization import Harmonized
    from impasto.medical.landmarks import Landmarks

PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("scan", type=PATH)
@click.option(
    "--to", "references", type=PATH, multiple=True, required=True, metavar="REFERENCE",
    help="Scan to be like; several are averaged to an atlas; a .json holds saved landmarks.",
)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    metavar="OUT",
    help="Scan to write, in SCAN's own format; OME-TIFF for CZI and LIF.",
)
@click.option(
    "--mask", metavar="FILE|all",
    help="Tissue of SCAN, the rest stays bit for bit; all: every voxel, of the references too. "
    "Default: all but the background.",
)  # fmt: skip
@click.option(
    "--reference-mask", "reference_masks", type=PATH, multiple=True, metavar="FILE",
    help="Tissue of the REFERENCE, once for each. Default: all but its background.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["nyul", "histogram"]),
    help="nyul: 11 landmarks, smooth and steady; histogram: 101, closer to the reference. [default: nyul]",
)  # fmt: skip
@click.option(
    "--axes", metavar="ORDER", help="Order of the axes of TIFF stacks that do not tell it, such as ZYX or TCYX."
)
@click.option("--save-landmarks", type=PATH, metavar="FILE", help="Write the references' landmarks as .json.")
@click.option(
    "--nuclei", type=click.IntRange(1), metavar="CHANNEL",
    help="Fluorescence: find the nuclei of this channel before and after, and tell whether they are the same.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Map CT, PET and doses too, whose numbers then lose their meaning.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout and nothing else.")
@click.option("--quiet", is_flag=True, help="Say nothing; warnings and failures stay.")
def harmonize(
    scan: Path, references: tuple[Path, ...], output: Path, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Bring the intensities of SCAN (DICOM file or series folder, NIfTI, TIFF stack, CZI, LIF) to those of a REFERENCE.

    One nondecreasing curve a channel maps them; nothing is painted, and the header stays. No medical device.
    """
    try:
        work(scan, references, output, as_json, quiet, options)
    except ModuleNotFoundError as error:
        raise JobError(f"Scans need {error.name}: pip install 'impasto[medical]'.") from None


def work(
    scan: Path, references: tuple[Path, ...], output: Path, as_json: bool, quiet: bool, options: dict[str, Any]
) -> None:
    from impasto.imaging.formats import check_place
    from impasto.medical import scans
    from impasto.medical.harmonization import harmonize as harmonized

    if options["axes"] and not any(map(scans.is_bare_stack, (scan, *references))):
        raise JobError(f"--axes {options['axes']}: every file tells its own axes; leave it out.")
    source = scans.read_scan(scan, axes=axes_for(scan, options["axes"]))
    scans.check_target(source, output, [scan, *references])
    if options["save_landmarks"]:
        check_place(options["save_landmarks"], ())
    mask = options["mask"]
    if mask is not None and (mask != "all" or Path(mask).exists()):
        mask = scans.read_mask(mask, source)
    landmarks = landmarks_to(references, isinstance(mask, str), options)
    result = harmonized(source, landmarks, mask=mask, force=options["force"])
    check = nuclei_check(result, options["nuclei"])
    result.save(output)
    if options["save_landmarks"]:
        landmarks.save(options["save_landmarks"])
    tell(result, output, check, as_json, quiet)


def landmarks_to(references: tuple[Path, ...], whole: bool, options: dict[str, Any]) -> Landmarks:
    """The landmarks of the references (of all their voxels if `whole`), or those of a file."""
    from impasto.medical.landmarks import Landmarks
    from impasto.medical.scans import read_mask, read_scan

    masks, method = options["reference_masks"], options["method"]
    if any(file.suffix == ".json" for file in references):
        if len(references) > 1 or masks:
            raise JobError("Saved landmarks stand alone: give one --to FILE.json, and no --reference-mask.")
        landmarks = Landmarks.load(references[0])
        if method not in (None, landmarks.method):
            raise JobError(f"{references[0]} holds {landmarks.method} landmarks: leave out --method {method}.")
        return landmarks
    if masks and len(masks) != len(references):
        raise JobError(f"{len(masks)} --reference-mask for {len(references)} --to: give one for each.")
    if masks and whole:
        raise JobError("--mask all takes every voxel of the references too: leave out --reference-mask.")
    read = [read_scan(file, axes=axes_for(file, options["axes"])) for file in references]
    if whole:
        return Landmarks.fit(read, "all", method=method or "nyul")
    chosen = [read_mask(file, scan) for file, scan in zip(masks, read, strict=True)] if masks else None
    return Landmarks.fit(read, chosen, method=method or "nyul")


def axes_for(file: Path, axes: str | None) -> str | None:
    """--axes for the files that need it, so that a scan and a reference may differ in what they tell."""
    from impasto.medical.scans import is_bare_stack

    return axes if is_bare_stack(file) else None


def nuclei_check(result: Harmonized, channel: int | None) -> NucleiCheck | None:
    from impasto.medical.fluorescence import compare_nuclei

    if channel is None:
        return None
    if channel > result.scan.channels:
        raise JobError(f"--nuclei {channel}: {result.scan.name} has {result.scan.channels} channels.")
    before = [part.stored for part in result.scan.parts if part.channel == channel - 1]
    after = [new for new, part in zip(result.stored, result.scan.parts, strict=True) if part.channel == channel - 1]
    if len(before) > 1 or before[0].ndim not in (2, 3):
        raise JobError(f"--nuclei reads one picture or stack, and {result.scan.name} has several: leave it out.")
    return compare_nuclei(before[0], after[0])


def tell(result: Harmonized, output: Path, check: NucleiCheck | None, as_json: bool, quiet: bool) -> None:
    """What was done: a line for people or a line of JSON on stdout; warnings on stderr."""
    warnings = result.warnings + ([f"nuclei: {reason}" for reason in check.reasons] if check else [])
    for warning in warnings:
        click.echo(f"impasto: warning: {warning}.", err=True)
    if as_json:
        curves = [{"before": curve.before.tolist(), "after": curve.after.tolist()} for curve in result.maps]
        said = {"output": str(output), "method": result.method, "voxels": result.voxels, "maps": curves}
        click.echo(json.dumps(said | {"nuclei": vars(check) if check else None, "warnings": warnings}))
    elif not quiet:
        total = sum(part.stored.size for part in result.scan.parts)
        click.echo(f"{output}: {result.voxels} of {total} voxels mapped ({result.method})")
        for channel, background in enumerate(result.backgrounds, 1):
            if background is not None:
                click.echo(f"  channel {channel}: background, up to {background:.4g}, left as it is")
        if check:
            click.echo(f"  {check}")
