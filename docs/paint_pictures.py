"""The pictures of the README and of these pages, made anew: `python docs/paint_pictures.py [NAME ...]`.

Photos are the public-domain ones that the scikit-image package carries, styles those of `examples/styles`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import skimage
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

import impasto
from impasto.losses import LOSSES

HERE = Path(__file__).parent
PHOTOS = Path(skimage.__file__).parent / "data"
STYLES = HERE.parent / "examples" / "styles"
CAPTION_PX = 26
SMALL: dict[str, Any] = {"size": 320, "iterations": 80}
SMALLER: dict[str, Any] = {"size": 256, "iterations": 60}


@cache
def session() -> impasto.Session:
    return impasto.Session()


def painted(photo: str, style: str | None, **fields: Any) -> Image.Image:
    """One result; without a style, those of its masks."""
    file = next(PHOTOS.glob(f"{photo}.*"))
    return to_image(session().stylize(file, [STYLES / f"{style}.jpg"] if style else [], **fields).picture)


def to_image(picture: impasto.Picture) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture.to_uint8()))


def photo(name: str, width: int) -> Image.Image:
    return at_width(Image.open(next(PHOTOS.glob(f"{name}.*"))), width)


def style(name: str, width: int) -> Image.Image:
    return at_width(Image.open(STYLES / f"{name}.jpg"), width)


def at_width(image: Image.Image, width: int) -> Image.Image:
    height = round(image.height * width / image.width)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def sheet(cells: list[tuple[str, Image.Image]], columns: int, width: int) -> Image.Image:
    """Pictures of one width in a grid, each with its caption under it."""
    cells = [(caption, at_width(image, width)) for caption, image in cells]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(image.height for _, image in row) + CAPTION_PX for row in rows]
    out = Image.new("RGB", (columns * (width + 8) - 8, sum(heights)), "white")
    draw = ImageDraw.Draw(out)
    for row, top in zip(rows, np.cumsum([0, *heights]), strict=False):
        for column, (caption, image) in enumerate(row):
            x = column * (width + 8)
            out.paste(image, (x, int(top)))
            draw.text((x + 2, int(top) + image.height + 4), caption, "black", ImageFont.load_default(15))
    return out


def gallery() -> Image.Image:
    """What the README opens with: photo, style and result in each column."""
    pairs = [("chelsea", "night"), ("coffee", "glass"), ("astronaut", "mosaic"), ("rocket", "woodcut")]
    results = [painted(*pair, size=512) for pair in pairs]
    cells = [("", photo(name, 300)) for name, _ in pairs]
    cells += [("", style(name, 300)) for _, name in pairs]
    cells += [("", result) for result in results]
    # One height a row, cut from the middle, so that the columns read as columns.
    height = min(round(image.height * 300 / image.width) for _, image in cells)
    return sheet([(caption, cut(at_width(image, 300), height)) for caption, image in cells], 4, 300)


def cut(image: Image.Image, height: int) -> Image.Image:
    top = (image.height - height) // 2
    return image.crop((0, top, image.width, top + height))


def losses() -> Image.Image:
    """Every content loss and every style loss on the same pair."""
    cells = [("the photo", photo("chelsea", 256)), ("the style", style("night", 256))]
    for loss in LOSSES["style"]:
        cells.append((f"--style-loss {loss}", painted("chelsea", "night", **SMALLER, style_loss=loss)))
    for loss in LOSSES["content"]:
        run = {"content_loss": loss, "content_weight": 40, **SMALLER}
        cells.append((f"--content-loss {loss}, weight 40", painted("chelsea", "night", **run)))
    return sheet(cells, 4, 256)


def control() -> Image.Image:
    """Masks, protection, seamless textures and variations."""
    with TemporaryDirectory() as folder:
        size = photo("astronaut", 256).size
        face, left = Path(folder) / "face.png", Path(folder) / "left.png"
        spot = Image.new("L", size)
        ImageDraw.Draw(spot).ellipse([80, 5, 165, 120], "white")
        spot.filter(ImageFilter.GaussianBlur(8)).save(face)
        Image.linear_gradient("L").rotate(-90).resize(size).point(lambda x: max(0, min(255, 4 * x - 384))).save(left)
        both: dict[str, Any] = {"mask": [f"{left}={STYLES / 'night.jpg'}"], "mask_rest": str(STYLES / "mosaic.jpg")}
        one: dict[str, Any] = {"mask": [f"{left}={STYLES / 'night.jpg'}"]}
        cells = [
            ("left.png", at_width(Image.open(left), 256)),
            ("--mask left.png=night.jpg", painted("astronaut", None, **SMALLER, **one)),
            ("... --mask-rest mosaic.jpg", painted("astronaut", None, **SMALLER, **both)),
            ("face.png", at_width(Image.open(face), 256)),
            ("without", painted("astronaut", "night", **SMALLER)),
            ("--protect face.png", painted("astronaut", "night", **SMALLER, protect=str(face))),
            ("the style", style("glass", 256)),
            ("impasto texture", tiles(texture("glass"))),
            ("impasto texture --seamless", tiles(texture("glass", seamless=True))),
        ]
        for seed in range(3):
            run = {**SMALLER, "start_noise": 0.5, "seed": seed}
            cells.append((f"--variations 3, the {ORDINALS[seed]}", painted("astronaut", "woodcut", **run)))
    return sheet(cells, 3, 256)


def regions() -> Image.Image:
    """A region of the photo in a part of the style, and without."""
    with TemporaryDirectory() as folder:
        size, style_size = photo("coffee", 256).size, style("night", 256).size
        drawn = {
            "cup": ellipses(size, (32, 48, 206, 168), (70, 4, 176, 100)),
            "field": Image.new("L", style_size),
        }
        drawn["field"].paste("white", (0, 152, *style_size))
        drawn |= {"table": ImageOps.invert(drawn["cup"]), "sky": ImageOps.invert(drawn["field"])}
        for name, image in drawn.items():
            image.save(Path(folder) / f"{name}.png")
        night, run = STYLES / "night.jpg", SMALLER | {"iterations": 100}
        masks = [
            f"{Path(folder) / region}.png={night}={Path(folder) / part}.png"
            for region, part in (("cup", "field"), ("table", "sky"))
        ]
        cells = [
            ("cup.png", drawn["cup"]),
            ("night.jpg", style("night", 256)),
            ("field.png", drawn["field"]),
            ("photo.jpg", photo("coffee", 256)),
            ("in night.jpg", painted("coffee", "night", **run)),
            ("cup.png=night.jpg=field.png, ...", painted("coffee", None, **run, mask=masks)),
        ]
    return sheet(cells, 3, 256)


def ellipses(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Image.Image:
    """White in the ellipses of boxes, with soft edges."""
    spot = Image.new("L", size)
    for box in boxes:
        ImageDraw.Draw(spot).ellipse(box, "white")
    return spot.filter(ImageFilter.GaussianBlur(2))


ORDINALS = ("first", "second", "third")


def texture(style: str, **fields: Any) -> Image.Image:
    return to_image(impasto.texture(STYLES / f"{style}.jpg", size=128, iterations=100, **fields).picture)


def tiles(image: Image.Image) -> Image.Image:
    """A picture laid out twice each way."""
    out = Image.new("RGB", (2 * image.width, 2 * image.height))
    for x in (0, image.width):
        for y in (0, image.height):
            out.paste(image, (x, y))
    return out


def options() -> Image.Image:
    """What the main options do, each against the same default."""
    changes: dict[str, dict[str, Any]] = {
        "default": {},
        "--style-weight 10": {"style_weight": 10},
        "--style-weight 1000": {"style_weight": 1000},
        "--style-scale 0.5": {"style_scale": 0.5},
        "--style-scale 2": {"style_scale": 2},
        "--content-layers block2_conv2": {"content_layers": "block2_conv2"},
        "--style-layers block1_conv1,block2_conv1": {"style_layers": "block1_conv1,block2_conv1"},
        "--init random": {"init": "random"},
        "--tv-weight 500": {"tv_weight": 500},
        "--keep-colour": {"keep_colour": True},
        "--match-colour": {"match_colour": True},
        "--iterations 20": {"iterations": 20},
    }
    return sheet([(name, painted("coffee", "night", **SMALL | fields)) for name, fields in changes.items()], 4, 300)


def stains() -> Image.Image:
    """Tissue of one laboratory in the colours of another, by each method; and what the check shows."""
    from impasto.medical import StainNormalizer
    from impasto.medical.check import check
    from impasto.medical.stains import METHODS
    from impasto.medical.synthetic import PURPLE, synthetic_tissue

    source = synthetic_tissue(300, 300, seed=1).pixels
    reference = synthetic_tissue(300, 300, stains=PURPLE, amounts=(0.6, 0.2), seed=2).pixels
    results = {method: StainNormalizer(method).fit(reference).transform(source) for method in METHODS}
    report = check(source, results["colour-transport"])
    shown = {"tissue": source, "the reference": reference, **results}
    shown |= {"haematoxylin before": report.haematoxylin[:, :300], "and after": report.haematoxylin[:, 300:]}
    shown["difference, x2"] = np.minimum(report.difference.astype(int) * 2, 255).astype(np.uint8)
    shown["eosin after"] = report.eosin[:, 300:]
    order = ["tissue", "the reference", *METHODS, "haematoxylin before", "and after", "eosin after", "difference, x2"]
    return sheet([(name, Image.fromarray(shown[name])) for name in order], 6, 200)


def strength() -> Image.Image:
    """The fast engine's dial, on two pairs."""
    cells = []
    for pair in (("chelsea", "woodcut"), ("coffee", "watercolour")):
        for value in (0, 0.3, 0.6, 0.8, 1):
            result = painted(*pair, engine="fast", size=512, strength=value)
            cells.append((f"--strength {value}", result))
    return sheet(cells, 5, 260)


def looks() -> Image.Image:
    """Each look on two pairs."""
    cells = []
    for pair in (("coffee", "glass"), ("astronaut", "mosaic")):
        cells += [("the photo", photo(pair[0], 256)), ("the style", style(pair[1], 256))]
        cells += [(f"--look {look}", painted(*pair, look=look, **SMALLER)) for look in ("classic", "best")]
        cells.append(("--look photo", painted(*pair, look="photo", size=512)))
    return sheet(cells, 5, 256)


def scans() -> Image.Image:
    """Scans brought to a reference, and one stain as other laboratories might have it."""
    from impasto.medical.phantoms import head_phantom, nuclei_phantom

    brighter = (0, 950, 220, 640, 820, 360)
    head, reference = head_phantom((24, 192, 192)), head_phantom((24, 192, 192), tissues=brighter, seed=1)
    nuclei, bright = nuclei_phantom(count=40, seed=7, offset=300, gain=500, gamma=0.7), nuclei_phantom(count=40)
    cells = harmonised("MR, one scanner", "another scanner", head[0], reference[0], None)
    cells += harmonised("fluorescence, one microscope", "another microscope", nuclei[0], bright[0], "all")
    return sheet(cells + drawn_stains(), 3, 400)


def harmonised(
    name: str, other: str, scan: np.ndarray, reference: np.ndarray, mask: str | None
) -> list[tuple[str, Image.Image]]:
    """A scan, what becomes of it, and the reference, all shown with the reference's range."""
    import tifffile

    from impasto.medical import Landmarks, harmonize, read_scan

    with TemporaryDirectory() as folder:
        read = []
        for voxels in (scan, reference):
            file = Path(folder) / f"{len(read)}.ome.tif"
            tifffile.imwrite(file, voxels.astype(np.float32), metadata={"axes": "ZYX"[-voxels.ndim :]})
            read.append(read_scan(file))
    done = harmonize(read[0], Landmarks.fit(read[1:], "all" if mask else None), mask=mask)
    shown = []
    for voxels in (scan, done.channel(), reference):
        plane = voxels[len(voxels) // 2] if voxels.ndim == 3 else voxels
        low, high = np.percentile(reference, [0.1, 99.9])
        shown.append(
            Image.fromarray((np.clip((plane - low) / (high - low), 0, 1) * 255).astype(np.uint8)).convert("RGB")
        )
    return list(zip((name, "harmonised", other), shown, strict=True))


def drawn_stains() -> list[tuple[str, Image.Image]]:
    """A stained tissue (haematoxylin and DAB) and two draws of the augmentation."""
    from impasto.medical import StainAugment

    tissue = np.asarray(photo("ihc", 400))
    augment = StainAugment(scale=0.4, shift=0.02)
    draws = [augment.change_array(tissue, torch.Generator().manual_seed(seed)) for seed in (1, 4)]
    names = ("tissue", "StainAugment, one draw", "another")
    return [(name, Image.fromarray(array)) for name, array in zip(names, (tissue, *draws), strict=True)]


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "gallery": gallery,
    "losses": losses,
    "options": options,
    "stains": stains,
    "strength": strength,
    "looks": looks,
    "control": control,
    "regions": regions,
    "scans": scans,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which to paint (all): {', '.join(PICTURES)}")
    for chosen in parser.parse_args().names or PICTURES:
        PICTURES[chosen]().save(HERE / "images" / f"{chosen}.jpg", quality=88, optimize=True)
        print(HERE / "images" / f"{chosen}.jpg")
