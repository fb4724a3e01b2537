"""`impasto stain fit|apply|check`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress

from impasto.errors import UserError

if TYPE_CHECKING:
    from impasto.medical.normalizer import StainNormalizer
    from impasto.medical.slides import Slide

METHODS = ("colour-transport", "reinhard", "macenko", "vahadane", "learned")
OUT = click.Path(path_type=Path)
method_option = click.option(
    "--method", type=click.Choice(METHODS), help="How appearances are measured and carried over [colour-transport]."
)
threads_option = click.option("--threads", type=click.IntRange(1), help="CPU threads; default: as many as cores.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def stain() -> None:
    """Stained tissue: give one laboratory's colours to another's slides, and check that only colours changed.

    This is no medical device; nothing here may decide about a patient.
    """


@stain.command()
@click.argument("references", nargs=-1, required=True, type=OUT, metavar="REFERENCE ...")
@click.option("-o", "--output", required=True, type=OUT, metavar="PROFILE.json", help="File to write.")
@method_option
def fit(references: tuple[Path, ...], output: Path, method: str | None) -> None:
    """Measure the stain of one REFERENCE or more, pictures or slides, and keep it as a profile."""
    from impasto.imaging.formats import check_place

    if output.suffix.lower() != ".json":
        raise UserError(f"{output} is to hold a profile; end its name in .json.")
    check_place(output, references)
    with warned():
        normalizer = fitted(references, method, None)
    assert normalizer.target is not None
    normalizer.target.save(output)
    click.echo(f"{output}: {normalizer.target.method}, {normalizer.target.tissue_share:.0%} tissue")


@stain.command()
@click.argument("image", type=OUT, metavar="IMAGE")
@click.option("--to", required=True, type=OUT, metavar="PROFILE|REFERENCE", help="The stain to give to IMAGE.")
@click.option(
    "-o", "--output", required=True, type=OUT, metavar="OUT", help="To write; of a slide, .ome.tif or .ome.zarr."
)
@method_option
@click.option("--quality", type=click.IntRange(1, 100), help="JPEG quality of a slide's tiles [90].")
@click.option("--lossless", is_flag=True, help="A slide's tiles without loss: larger, and slower to write.")
@click.option("--keep", multiple=True, type=click.Choice(["label", "macro"]),
              help="Write this picture of a slide too; it may name the patient.")  # fmt: skip
@click.option("--report", type=OUT, metavar="DIR", help="Check the result, and write figures and pictures there.")
@threads_option
@click.option("--quiet", is_flag=True, help="No progress; warnings and failures stay.")
def apply(
    image: Path, to: Path, output: Path, method: str | None, report: Path | None, quiet: bool, **slide_options: Any
) -> int:
    """Give IMAGE, a picture or a whole slide, the stain of a profile or reference."""
    from impasto.imaging.formats import check_place
    from impasto.medical.slide_output import check_slide_output
    from impasto.medical.slides import is_zarr, open_slide

    check_place(output, [image, to])
    slide = open_slide(image)
    given = [name for name in ("quality", "lossless", "keep") if slide_options[name]]
    if slide is None and given:
        raise UserError(f"{image} is no whole slide; leave out --{given[0]}.")
    if slide is not None:
        check_slide_output(output, slide)
        if given and is_zarr(output):
            raise UserError(f"--{given[0]} is for OME-TIFF, and {output} is OME-Zarr; leave it out.")
    if slide_options["quality"] and slide_options["lossless"]:
        raise UserError("--quality is of JPEG, which --lossless rules out; leave out one.")
    with warned():
        normalizer = fitted([to], method, slide_options["threads"])
        if slide is None:
            apply_to_picture(image, normalizer, output)
        else:
            apply_to_slide(slide, normalizer, output, quiet, slide_options)
        click.echo(str(output))
        return (
            0 if report is None else checked(image, output, to if to.suffix.lower() != ".json" else None, report, False)
        )


@stain.command()
@click.argument("before", type=OUT)
@click.argument("after", type=OUT)
@click.option("--reference", type=OUT, help="Picture whose stain was wanted; adds the distance to it.")
@click.option(
    "--radius", type=click.FloatRange(1, 100), metavar="PX", help="Radius of a nucleus [5; 2.5 µm on slides]."
)
@click.option("-o", "--output", type=OUT, metavar="DIR", help="Write report.json and pictures there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout and nothing else.")
def check(
    before: Path, after: Path, reference: Path | None, radius: float | None, output: Path | None, as_json: bool
) -> int:
    """Tell whether AFTER shows the same tissue as BEFORE; exit code 1 where it may not."""
    with warned():
        return checked(before, after, reference, output, as_json, radius)


def fitted(references: Any, method: str | None, threads: int | None) -> StainNormalizer:
    """A normalizer with the stain of a profile, or of pictures and slides."""
    from impasto.medical.normalizer import Profile, StainNormalizer
    from impasto.medical.slides import sample_of

    normalizer = StainNormalizer(method or METHODS[0], threads=threads)
    if len(references) == 1 and references[0].suffix.lower() == ".json":
        profile = Profile.load(references[0])
        if method and method != profile.method:
            raise UserError(f"{references[0]} was fitted by {profile.method}; leave out --method, or fit it again.")
        return normalizer.use(profile)
    normalizer.target = normalizer.profile_of([sample_of(path) for path in references], list(map(str, references)))
    return normalizer


def apply_to_picture(image: Path, normalizer: StainNormalizer, output: Path) -> None:
    from impasto.imaging.formats import check_output
    from impasto.picture import read_picture

    picture = read_picture(image)
    check_output(output, [image], alpha=picture.alpha is not None, size_hw=picture.size_hw)
    source = normalizer.measure(picture)
    normalizer.transform(picture, source).save(output)


def apply_to_slide(
    slide: Slide, normalizer: StainNormalizer, output: Path, quiet: bool, options: dict[str, Any]
) -> None:
    from impasto.medical.slide_output import transform_slide

    if slide.facts.mpp is None:
        warnings.warn(
            f"{slide.facts.name} does not say how large its pixels are; the result will not either.", stacklevel=1
        )
    with Progress(console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("rows", total=slide.facts.height)
        transform_slide(
            slide, normalizer, output, quality=None if options["lossless"] else options["quality"] or 90,
            keep=options["keep"], on_rows=lambda rows: bar.update(task, completed=rows),
        )  # fmt: skip


def checked(
    before: Path, after: Path, reference: Path | None, folder: Path | None, as_json: bool, radius: float | None = None
) -> int:
    """Check two files, tell and write what was found, and return the exit code."""
    from impasto.medical.check_files import check_files

    report = check_files(before, after, reference=reference, radius_px=radius)
    if folder is not None:
        report.save(folder)
    found = {"ok": report.ok, **report.figures, "reasons": report.reasons, "warnings": report.warnings}
    click.echo(json.dumps(found) if as_json else str(report))
    return 0 if report.ok else 1


@contextmanager
def warned() -> Iterator[None]:
    """Show warnings of ours as sentences on stderr, each once."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", UserWarning)
        warnings.showwarning = lambda message, *_args, **_kwargs: click.echo(f"impasto: warning: {message}", err=True)
        yield
