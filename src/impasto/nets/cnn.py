"""A network built from its table: parameters, names, files, and the plain forward run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.errors import LayerError, UserError, nearest
from impasto.nets.layers import (
    CLASSICAL,
    Conv,
    Dense,
    Flatten,
    LayerInfo,
    Pool,
    Preprocess,
    Row,
    describe,
    pad_of,
    table_from_json,
    table_to_json,
)

FORMAT = "impasto-cnn-1"
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}
# BT.709 luma: what a one-channel network is given of a colour picture.
LUMA = (0.2126, 0.7152, 0.0722)


class Cnn:
    """A convolutional network: `layers` (what is known of each), `parameters` (by `LAYER.weight`, `LAYER.bias`).

    Weights are (out, in, kernel, kernel) and (out, in), in float32.
    """

    def __init__(
        self,
        table: Sequence[Row],
        input_shape: tuple[int, int, int],
        parameters: dict[str, Tensor],
        name: str = "own network",
    ) -> None:
        self.table = tuple(table)
        self.input_shape = tuple(input_shape)
        self.name = name
        self.layers: list[LayerInfo] = describe(self.table, input_shape)
        self._by_name = {layer.name: position for position, layer in enumerate(self.layers)}
        self.parameters = parameters

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.parameters.values())
        return f"<Cnn {self.name}: {len(self.layers)} layers, {count:,} parameters, input {self.input_shape}>"

    @property
    def preprocessing(self) -> Preprocess:
        return self.table[0] if isinstance(self.table[0], Preprocess) else Preprocess()

    def layer(self, name: str) -> LayerInfo:
        """The layer called `name`; `relu4_2` and `conv4_2` are read as `block4_conv2`."""
        return self.layers[self.position(name)]

    def position(self, name: str) -> int:
        """Index of a layer in `layers`; LayerError, with the nearest name, where there is none."""
        if name in self._by_name:
            return self._by_name[name]
        alias = re.fullmatch(r"(?:relu|conv)(\d+)_(\d+)", name)
        if alias and (keras := f"block{alias[1]}_conv{alias[2]}") in self._by_name:
            return self._by_name[keras]
        if alias := re.fullmatch(r"pool(\d+)", name):
            return self.position(f"block{alias[1]}_pool")
        raise LayerError(f"{self.name} has no layer {name!r}: did you mean {nearest(name, self._by_name)!r}?")

    def check_size(self, height: int, width: int, layers: Iterable[str]) -> None:
        """LayerError if a picture of this size does not reach one of `layers`."""
        deepest = max((self.position(name) for name in layers), default=-1)
        needed = self.layers[: deepest + 1]
        if any(isinstance(info.row, Flatten) for info in needed) and (height, width) != self.input_shape[1:]:
            rows, columns = self.input_shape[1:]
            raise LayerError(
                f"Layer {needed[-1].name} of {self.name} is dense and takes pictures of {columns}x{rows} px only, "
                f"this one has {width}x{height}: choose a convolution or resize the picture."
            )
        convolutional = [row for row in self.table if isinstance(row, Conv | Pool)][: deepest + 1]
        try:
            describe([Conv(1, 1), *convolutional], (1, height, width))
        except LayerError as error:
            raise LayerError(
                f"A {width}x{height} picture is too small for layer {needed[-1].name} of {self.name}: "
                "use a larger picture or an earlier layer."
            ) from error

    def to_input(self, picture: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h w"]:
        """RGB in 0..1 to what the first layer reads; one-channel networks get the luma."""
        pre = self.preprocessing
        if self.input_shape[0] == 1:
            luma = picture.new_tensor(LUMA).view(1, 3, 1, 1)
            picture = (picture * luma).sum(1, keepdim=True)
        elif pre.order == "BGR":
            picture = picture.flip(1)
        mean = picture.new_tensor(pre.mean).view(1, -1, 1, 1)
        std = picture.new_tensor(pre.std).view(1, -1, 1, 1)
        return torch.addcmul(-mean / std, picture, pre.scale / std)

    def to_picture(self, gradient: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """The gradient of the picture from that of what `to_input` makes of it."""
        pre = self.preprocessing
        factor = pre.scale / gradient.new_tensor(pre.std).view(1, -1, 1, 1)
        if self.input_shape[0] == 1:
            return gradient * factor * gradient.new_tensor(LUMA).view(1, 3, 1, 1)
        gradient = gradient * factor
        return gradient.flip(1) if pre.order == "BGR" else gradient

    def features(self, picture: Float[Tensor, "n 3 h w"], layers: Iterable[str]) -> dict[str, Tensor]:
        """What each named layer makes of pictures (RGB, 0..1), keyed as named: (n, c, h, w), or (n, units, 1, 1).

        Differentiable with respect to the pictures; runs no further than the deepest layer asked for.
        """
        wanted: dict[int, list[str]] = {}
        for name in layers:
            wanted.setdefault(self.position(name), []).append(name)
        self.check_size(picture.shape[2], picture.shape[3], [n for names in wanted.values() for n in names])
        x, found = self.to_input(picture), {}
        for position in range(max(wanted, default=-1) + 1):
            x = self.apply_layer(position, x)
            for name in wanted.get(position, ()):
                found[name] = x if x.ndim == 4 else x[:, :, None, None]
        return found

    def apply_layer(self, position: int, x: Tensor) -> Tensor:
        info = self.layers[position]
        weight, bias = (self.parameters.get(f"{info.name}.{part}") for part in ("weight", "bias"))
        match info.row:
            case Conv(activation=activation) as row:
                assert weight is not None
                x = F.conv2d(x, weight.to(x), bias.to(x) if bias is not None else None, row.stride, pad_of(row))
                return ACTIVATIONS[activation](x)
            case Pool(mode=mode, size=size):
                return F.max_pool2d(x, size) if mode == "max" else F.avg_pool2d(x, size)
            case Dense(activation=activation):
                assert weight is not None
                return ACTIVATIONS[activation](F.linear(x, weight.to(x), bias.to(x) if bias is not None else None))
            case _:
                return x.flatten(1)

    def save(self, file: str | Path) -> None:
        """Table, input shape and parameters to one safetensors file; `load_cnn` makes the same network of it."""
        metadata = {
            "format": FORMAT,
            "name": self.name,
            "input_shape": json.dumps(self.input_shape),
            "table": json.dumps(table_to_json(self.table)),
        }
        save_file({name: p.contiguous() for name, p in self.parameters.items()}, str(file), metadata)

    def load(self, file: str | Path) -> Cnn:
        """Take the parameters in a safetensors file, which must fit this network's layers by name and shape."""
        _, tensors = read_tensors(file)
        for name, parameter in self.parameters.items():
            if name not in tensors:
                raise UserError(f"{file} has no {name}: it was saved from a network with other layers.")
            if tensors[name].shape != parameter.shape:
                found, wanted = tuple(tensors[name].shape), tuple(parameter.shape)
                raise UserError(f"{name} in {file} is {found}, this network needs {wanted}.")
        self.parameters = {name: tensors[name].float() for name in self.parameters}
        return self


def build_cnn(
    table: Sequence[Row] | None = None,
    *,
    input_shape: tuple[int, int, int] | None = None,
    seed: int = 0,
    name: str = "own network",
) -> Cnn:
    """A network from its table, with seeded random weights: the same table and seed give the same network.

    table: rows made by `preprocess`, `conv`, `max_pool`, `avg_pool`, `flatten`, `dense`. Without one, the classical
        small network: 3x3 convolutions with 32, 64, 128 and 256 filters, each followed by 2x2 max pooling, then
        dense 1024 and dense 1.
    input_shape: (channels, h, w); one channel for grey, three for colour. Default (1, 224, 224) for the classical
        network, (3, 224, 224) for a table. Only dense layers hold the picture to this size.
    seed: of the initial weights, drawn layer by layer as each row's `init` says; biases begin at zero.
    """
    if table is None:
        table, name = CLASSICAL, "classical"
        input_shape = input_shape or (1, 224, 224)
    input_shape = input_shape or (3, 224, 224)
    return Cnn(table, input_shape, initial_parameters(describe(table, input_shape), input_shape, seed), name)


def initial_parameters(layers: Sequence[LayerInfo], input_shape: tuple[int, ...], seed: int) -> dict[str, Tensor]:
    """He (2015) normal or Glorot (2010) uniform weights, zero biases."""
    generator = torch.Generator().manual_seed(seed)
    parameters, inputs = {}, input_shape[0]
    for info in layers:
        if isinstance(info.row, Conv | Dense):
            kernel = (info.row.kernel,) * 2 if isinstance(info.row, Conv) else ()
            shape = (info.channels, inputs, *kernel)
            area = info.row.kernel**2 if isinstance(info.row, Conv) else 1
            fan_in, fan_out = inputs * area, info.channels * area
            if info.row.init == "he_normal":
                weight = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
            else:
                weight = (torch.rand(shape, generator=generator) * 2 - 1) * (6 / (fan_in + fan_out)) ** 0.5
            parameters[f"{info.name}.weight"] = weight
            parameters[f"{info.name}.bias"] = torch.zeros(info.channels)
        inputs = info.channels
    return parameters


def load_cnn(file: str | Path) -> Cnn:
    """The network that `Cnn.save` wrote; UserError for any other file."""
    metadata, tensors = read_tensors(file)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{file} was not written by Cnn.save of this version of Impasto.")
    rows, columns, depth = json.loads(metadata["input_shape"])
    cnn = build_cnn(
        table_from_json(json.loads(metadata["table"])), input_shape=(rows, columns, depth), name=metadata["name"]
    )
    return cnn.load(file) if tensors else cnn


def read_tensors(file: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file; UserError for what is none."""
    if not Path(file).is_file():
        raise UserError(f"There is no network file {file}.")
    try:
        with safe_open(str(file), framework="pt") as opened:
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{file} is not a safetensors file, or is damaged.") from error
