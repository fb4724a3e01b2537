"""The makers' own formats of fluorescence microscopes: Zeiss CZI by pylibCZIrw, Leica LIF by liffile.

Both are read only. What is written is OME-TIFF with the size of a voxel, the names of the channels, and all that the
maker's file says of itself as a comment in the OME-XML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Shaped

from impasto.errors import UserError
from impasto.medical.scans import Part, Scan
from impasto.medical.tiff import KNOWN, parts_of

_ORDER = "TCZYX"
_UNITS_UM = 1e6


def read_czi(path: Path) -> Scan:
    """A CZI file of one scene; the tiles of a mosaic are put together. Colour, and axes beyond TCZYX, are refused."""
    pyczi = _library("pylibCZIrw.czi")
    try:
        with pyczi.open_czi(str(path)) as document:
            ends = document.total_bounding_box
            _check_czi(path, document, ends)
            sizes = {axis: ends[axis][1] - ends[axis][0] for axis in _ORDER if axis in ends}
            outer = [axis for axis in "TCZ" if axis in sizes]
            planes = [
                document.read(plane={axis: ends[axis][0] + i for axis, i in zip(outer, place, strict=True)})[..., 0]
                for place in product(*(range(sizes[axis]) for axis in outer))
            ]
            said = document.raw_metadata
    except (RuntimeError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged, cut short or no CZI file ({error}): get a whole copy.") from None
    root = ElementTree.fromstring(said)
    steps = {item.get("Id", ""): item.findtext("Value") for item in root.iterfind(".//Scaling/Items/Distance")}
    step_um = {axis: float(value) * _UNITS_UM for axis, value in steps.items() if value}
    names = [channel.get("Name", "") for channel in root.iterfind(".//Information/Image/Dimensions/Channels/Channel")]
    stored = np.stack(planes).reshape(tuple(sizes.values()))
    return _scan("CZI", path, stored, "".join(sizes), step_um, names, said)


def _check_czi(path: Path, document: Any, ends: Mapping[str, tuple[int, int]]) -> None:
    """UserError for what is more or other than one picture of intensities."""
    if len(document.scenes_bounding_rectangle) > 1:
        count = len(document.scenes_bounding_rectangle)
        raise UserError(f"{path} holds {count} scenes: save the one that is meant as a file of its own.")
    _check_axes(path, {axis: high - low for axis, (low, high) in ends.items()})
    kinds = set(document.pixel_types.values())
    if any(not kind.startswith("Gray") for kind in kinds):
        raise UserError(f"{path} is a colour picture: intensities are harmonised, colours by `impasto stain`.")
    if len(kinds) > 1:
        raise UserError(f"{path} holds channels of different types ({', '.join(sorted(kinds))}): save them as one.")


def read_lif(path: Path) -> Scan:
    """A LIF file of one picture; colour, and axes beyond TCZYX, are refused."""
    liffile = _library("liffile")
    try:
        with liffile.LifFile(path) as file:
            if len(file.images) != 1:
                raise UserError(
                    f"{path} holds {len(file.images)} pictures: save the one that is meant as its own file."
                )
            image = file.images[0]
            if "S" in image.sizes:
                raise UserError(f"{path} is a colour picture: intensities are harmonised, colours by `impasto stain`.")
            _check_axes(path, image.sizes)
            if image.memory_block.size < image.nbytes:
                raise ValueError(f"{image.memory_block.size} of {image.nbytes} bytes")
            stored, axes = image.asarray(), "".join(image.dims)
            places = {axis: image.coords.get(axis, np.zeros(1)) for axis in "XYZ"}
            said = file.xml_header()
    except (ValueError, OSError, KeyError, IndexError, ElementTree.ParseError) as error:
        raise UserError(f"{path} is damaged, cut short or no LIF file ({error}): get a whole copy.") from None
    step_um = {axis: abs(float(at[1] - at[0])) * _UNITS_UM for axis, at in places.items() if len(at) > 1}
    order = "".join(axis for axis in _ORDER if axis in axes)
    stored = np.ascontiguousarray(np.transpose(stored, [axes.index(axis) for axis in order]))
    return _scan("LIF", path, stored, order, step_um, [], said)


def _check_axes(path: Path, sizes: Mapping[str, int]) -> None:
    other = [axis for axis, size in sizes.items() if axis not in KNOWN and size > 1]
    if other:
        raise UserError(f"{path} has the axes {''.join(sizes)}: save a stack of T, Z, C, Y and X only.")


def _scan(
    kind: str, path: Path, stored: np.ndarray, axes: str, step_um: Mapping[str, float], names: list[str], said: str
) -> Scan:
    """The scan of an array whose axes of one voxel, but Y and X, are left out."""
    order = "".join(axis for axis, size in zip(axes, stored.shape, strict=True) if size > 1 or axis in "YX")
    whole = stored.reshape([size for size, axis in zip(stored.shape, axes, strict=True) if axis in order])
    space = tuple(size for size, axis in zip(whole.shape, order, strict=True) if axis in "ZYX")
    parts: tuple[Part, ...] = parts_of(whole, order)
    facts: dict[str, Any] = {"axes": order, "CommentAnnotation": {"Namespace": f"impasto/{kind}", "Value": said}}
    for axis, step in step_um.items():
        facts |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": "µm"}
    if len(names) == len(parts) and all(names):
        facts["Channel"] = {"Name": names if "C" in order else names[0]}
    return Scan(str(path), kind, space, parts, partial(_write_ome, order.find("C"), facts))


def _write_ome(
    channel_axis: int, facts: dict[str, Any], stored: Sequence[Shaped[np.ndarray, "*grid"]], path: Path, derivation: str
) -> None:
    from tifffile import imwrite

    whole = stored[0] if channel_axis < 0 else np.stack(stored, channel_axis)
    imwrite(path, whole, ome=True, bigtiff=True, photometric="minisblack", metadata=facts | {"Description": derivation})


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise UserError("The formats of microscopes need more packages: pip install 'impasto[medical]'.") from None
