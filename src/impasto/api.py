"""The Python doors: `style_transfer`, `stylize`, `Session`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from impasto.job import TEXTURE_FIELDS, StyleJob, parse_style
from impasto.nets.cnn import Cnn
from impasto.nets.loaded import Loaded
from impasto.picture import Picture, read_picture
from impasto.run import Result, run

Image = Any
"""A path, `Picture`, PIL image, NumPy array (h, w, 3|4; uint8, uint16 or float 0..1) or torch tensor (3|4, h, w)."""


def style_transfer(
    content_image: Image,
    style_image: Image | Sequence[Image],
    cnn: Cnn | nn.Module | None = None,
    content_layers: Sequence[str] | Mapping[str, float] | str | None = None,
    style_layers: Sequence[str] | Mapping[str, float] | str | None = None,
    num_iterations: int = 1000,
    learning_rate: float | None = None,
    *,
    on_step: Callable[..., Any] | None = None,
    **options: Any,
) -> Result:
    """Paint one picture in the style of another by gradient descent on the picture (Gatys et al., CVPR 2016).

    content_image, style_image: see `Image`; several styles as a list, a path may carry a weight (`"starry.jpg:2"`).
    cnn: whose features are compared: one that `build_cnn` made, any `torch.nn.Module` that reads RGB pictures in
        0..1, or None for VGG-16.
    content_layers: deeper layers keep less of the photo's detail. style_layers: shallow ones take colour and grain,
        deep ones larger figures. Names, a mapping of names to weights, or "auto"; None for those of the look. A torch
        module's have to be named.
    num_iterations: evaluations of the objective over all scales; more is closer to the style.
    learning_rate: the optimizer's own where None; larger is faster, then unstable.
    on_step: called with a `Step` after every iteration; return False to stop.
    options: any other field of `StyleJob`.
    Raises UserError for what cannot be done as asked, WeightsError where VGG's weights were never fetched.
    """
    layers = {"content_layers": content_layers, "style_layers": style_layers}
    fields = {
        "engine": "optimize",
        "iterations": num_iterations,
        "learning_rate": learning_rate,
        **{name: given for name, given in layers.items() if given is not None},
    }
    return transfer(content_image, style_image, cnn, on_step, fields | options)


def stylize(
    photo: Image,
    style: Image | Sequence[Image] | None = None,
    *,
    cnn: Cnn | nn.Module | None = None,
    on_step: Callable[..., Any] | None = None,
    **fields: Any,
) -> Result:
    """Paint a photo in a style by the best engine there is; `fields` are those of `StyleJob`.

    style: None where `mask` and `mask_rest` name the styles. mask: `"sky.png=starry.jpg"`, or with the part of the
    style that counts `"sky.png=starry.jpg=night.png"`; tuples of two or three are the same, and a list gives several.
    """
    return transfer(photo, style, cnn, on_step, fields)


def variations(
    photo: Image, style: Image | Sequence[Image] | None = None, *, count: int, **fields: Any
) -> list[Result]:
    """`count` different pictures of the same job, by seeds that follow one another.

    fields: as `stylize`; unless `start_noise` or `init` says otherwise each begins half as noise.
    """
    job = StyleJob.of({name: value for name, value in fields.items() if name not in ("cnn", "on_step")})
    return [
        stylize(photo, style, **fields | {"seed": varied.seed, "start_noise": varied.start_noise})
        for varied in job.variations(count)
    ]


def texture(style: Image, *, size: int = 512, cnn: Cnn | nn.Module | None = None, **fields: Any) -> Result:
    """A square picture of `size` px that is all texture, made of a style alone (Gatys et al., NeurIPS 2015).

    fields: those of `StyleJob`; `seamless=True` makes a tile.
    """
    return transfer(None, style, cnn, fields.pop("on_step", None), TEXTURE_FIELDS | {"size": size} | fields)


class Session:
    """Holds networks and the codes of styles, so that many pictures pay for loading them once.

    backbone, pooling: as in `StyleJob`. The defaults of `stylize` within the session are `fields`.
    """

    def __init__(self, backbone: str = "vgg16", pooling: Any = None, **fields: Any) -> None:
        self.fields = {"backbone": backbone, "pooling": pooling, **fields}
        StyleJob.of(self.fields)
        self.loaded = Loaded()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_error: object) -> None:
        self.loaded = Loaded()

    def stylize(self, photo: Image, style: Image | Sequence[Image], **fields: Any) -> Result:
        """As `impasto.stylize`, with the session's networks and defaults."""
        cnn, on_step = fields.pop("cnn", None), fields.pop("on_step", None)
        return transfer(photo, style, cnn, on_step, self.fields | fields, self.loaded)


def transfer(
    photo: Image | None,
    style: Image | Sequence[Image] | None,
    cnn: Cnn | nn.Module | None,
    on_step: Callable[..., Any] | None,
    fields: Mapping[str, Any],
    loaded: Loaded | None = None,
) -> Result:
    """Build the job of a call and run it."""
    styles = list(style) if isinstance(style, list | tuple) else [] if style is None else [style]
    described = [described_style(one) for one in styles]
    name = os.fspath(photo) if isinstance(photo, str | os.PathLike) else ""
    job = StyleJob.of({"photo": name, "styles": described, **fields})
    pictures = [
        read_picture(known.file, max_pixels=job.max_pixels)
        if known.file
        else Picture.from_any(given, name="style_image", max_pixels=job.max_pixels)
        for known, given in zip(job.styles, styles, strict=True)
    ]
    # A file is left for `run` to read, which may then use its memory as it likes; a texture has no photo.
    here = photo is not None and not name
    content = Picture.from_any(photo, name="content_image", max_pixels=job.max_pixels) if here else None
    listeners = [on_step] if on_step else []
    return run(job, photo=content, styles=pictures, network=cnn, listeners=listeners, loaded=loaded)


def described_style(style: Image) -> dict[str, Any]:
    """The job's record of a style, to be checked with the job; pictures in memory have no file."""
    described: dict[str, Any] = parse_style(os.fspath(style)) if isinstance(style, str | os.PathLike) else {"file": ""}
    return described
