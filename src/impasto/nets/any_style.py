"""One feed-forward network for any style: a style picture becomes a code, the code paints a photo in one pass.

The photo goes through a small residual network at a quarter of its size; after every convolution instance
normalisation takes the photo's own contrast away and the style's code gives a new one (Dumoulin et al. 2017, Ghiasi
et al. 2017, arXiv:1705.06830). How much of the photo is to be kept is a second input, drawn anew for each sample in
training (Dosovitskiy & Djolonga, ICLR 2020): the `strength` dial.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from impasto.errors import UserError
from impasto.nets.cnn import read_tensors

FORMAT = "impasto-any-style-1"
SHIPPED = Path(str(files("impasto") / "data" / "any_style.safetensors"))
SMALLEST_SIDE_PX = 32
# Sides are padded to multiples of the deepest stride.
STRIDE = 8

Layer = TypeVar("Layer", bound=nn.Module)

# Relative content weights the network is trained for: at full strength, and where the photo begins to be faded in.
BOLDEST, FAITHFUL = 0.02, 1.0
FADE = 0.2


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. code: numbers a style is told by; width: channels at a quarter of the size; blocks:
    residual blocks there; encoder, deep: channels of the style encoder's plain and separable convolutions. Without an
    encoder the network has one style, its own."""

    code: int = 256
    width: int = 96
    blocks: int = 5
    encoder: tuple[int, ...] = (48, 96, 128, 192, 192)
    deep: tuple[int, ...] = (128, 128)
    hidden: int = 512


# Of one style: about 310,000 parameters.
ONE_STYLE = Shape(code=8, width=48, encoder=(), deep=())


def content_weight(strength: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The weight of the content loss that a strength stands for: even steps of strength are even factors."""
    position = ((strength.clamp(FADE, 1) - FADE) / (1 - FADE)).double()
    log = math.log(FAITHFUL) + position * (math.log(BOLDEST) - math.log(FAITHFUL))
    return log.exp().to(strength)


def conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """3x3 with mirrored borders, which leave no frame around the picture."""
    return nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, padding_mode="reflect")


def doubled(x: Float[Tensor, "n c h w"], layer: nn.Conv2d) -> Float[Tensor, "n k h2 w2"]:
    """A 3x3 layer with mirrored borders on x doubled in size, each pixel repeated.

    Where pixels come in twos, each of the four places within a pixel is a 2x2 layer on x itself, which is less than
    half of the work (Shi et al. 2016, arXiv:1609.07009).
    """
    if torch.onnx.is_in_onnx_export():
        # ONNX has no way to write into places of a picture.
        plain: Tensor = layer(F.interpolate(x, scale_factor=2))
        return plain
    count, _, height, width = x.shape
    outputs = layer.weight.shape[0]
    kernels = [kernel for rows in paired(layer.weight, 2) for kernel in paired(rows, 3)]
    kernel = torch.cat(kernels).contiguous(memory_format=torch.channels_last)
    bias = layer.bias.repeat(4) if layer.bias is not None else None
    # A mirrored border of repeated pixels repeats the border.
    places: Tensor = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, bias)
    size = (count, outputs, 2 * height, 2 * width)
    result = torch.empty(size, dtype=places.dtype, device=places.device, memory_format=torch.channels_last)
    for at, place in enumerate(places.split(outputs, 1)):
        row, column = divmod(at, 2)
        result[:, :, row::2, column::2] = place[:, :, row : row + height, column : column + width]
    return result


def paired(weight: Float[Tensor, "k c rows columns"], axis: int) -> list[Float[Tensor, "k c rows2 columns2"]]:
    """What three taps are to the first and to the second of two repeated pixels, as two taps along an axis."""
    first, middle, last = weight.unbind(axis)
    return [torch.stack([first, middle + last], axis), torch.stack([first + middle, last], axis)]


def zeroed(layer: Layer) -> Layer:
    """The layer beginning as one that adds nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def small(layer: nn.Linear) -> nn.Linear:
    """The layer beginning with next to no effect of the code."""
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


def moments(features: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n c"]]:
    """Mean and standard deviation of every channel, in float32."""
    # Of a style as small as 32 px one feature is left, which varies by nothing.
    correction = int(features.shape[2] * features.shape[3] > 1)
    variance, mean = torch.var_mean(features.float(), (2, 3), correction=correction)
    return [mean, (variance + 1e-5).sqrt()]


class StyledNorm(nn.Module):
    """Instance normalisation whose scale and shift come from the style's code (conditional instance norm)."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.affine = small(nn.Linear(code, 2 * channels))

    def scale_shift(self, code: Float[Tensor, "n k"]) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]:
        change, shift = self.affine(code).chunk(2, 1)
        return change + 1, shift

    def forward(self, x: Float[Tensor, "n c h w"], code: Float[Tensor, "n k"]) -> Float[Tensor, "n c h w"]:
        scale, shift = (part.to(x.dtype)[..., None, None] for part in self.scale_shift(code))
        return torch.addcmul(shift, F.instance_norm(x), scale)


Normalise = Callable[[StyledNorm, Tensor], Tensor]
"""How a layer's output is normalised: the layer with its code, or what was made of them beforehand."""


class Residual(nn.Module):
    def __init__(self, channels: int, code: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1, self.norm1 = conv(channels, channels), StyledNorm(channels, code)
        self.conv2, self.norm2 = conv(channels, channels, dilation=dilation), StyledNorm(channels, code)

    def forward(self, x: Float[Tensor, "n c h w"], norm: Normalise) -> Float[Tensor, "n c h w"]:
        inner = F.relu(norm(self.norm1, self.conv1(x)), inplace=True)
        return norm(self.norm2, self.conv2(inner)).add_(x)


class Coarse(nn.Module):
    """A residual block at half the trunk's size, for figures wider than the trunk can see; begins as no change."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.down, self.norm = conv(channels, channels, stride=2), StyledNorm(channels, code)
        self.block = Residual(channels, code, dilation=2)
        self.up = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Float[Tensor, "n c h w"], norm: Normalise) -> Float[Tensor, "n c h w"]:
        low = self.block(F.relu(norm(self.norm, self.down(x)), inplace=True), norm)
        # Bilinear, so that no grid of doubled pixels is left.
        return x + F.interpolate(self.up(low), scale_factor=2, mode="bilinear", align_corners=False)


class StyleEncoder(nn.Module):
    """A style picture's code: means and deviations of the channels of a small network, at strides 1 to 32."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        inputs = (12, *shape.encoder)
        self.convs = nn.ModuleList(
            conv(before, after, stride=1 + at % 2)
            for at, (before, after) in enumerate(zip(inputs, shape.encoder, strict=False))
        )
        count = 2 * (3 + sum(shape.encoder))
        self.norm = nn.LayerNorm(count)
        self.mlp = nn.Sequential(nn.Linear(count, shape.hidden), nn.ReLU(), nn.Linear(shape.hidden, shape.code))
        self.skip = nn.Linear(count, shape.code)
        inputs = (shape.encoder[-1], *shape.deep)
        self.deep = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, before, 3, 2, 1, groups=before, padding_mode="replicate"),
                nn.Conv2d(before, after, 1),
            )
            for before, after in zip(inputs, shape.deep, strict=False)
        )
        deep = 2 * sum(shape.deep)
        self.deep_norm, self.deep_skip = nn.LayerNorm(deep), zeroed(nn.Linear(deep, shape.code))

    def forward(self, style: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        x = to_blocks(style)
        shallow, deep = moments(style), list[Tensor]()
        for layer in self.convs:
            x = F.relu(layer(x))
            shallow += moments(x)
        for layer in self.deep:
            x = F.relu(layer(x))
            deep += moments(x)
        dtype = self.norm.weight.dtype
        near, far = self.norm(torch.cat(shallow, 1).to(dtype)), self.deep_norm(torch.cat(deep, 1).to(dtype))
        code: Tensor = self.mlp(near) + self.skip(near) + self.deep_skip(far)
        return code


def to_blocks(picture: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 12 h2 w2"]:
    """Each 2x2 pixels as one of twelve channels."""
    return F.pixel_unshuffle(picture, 2).contiguous(memory_format=torch.channels_last)


class AnyStyle(nn.Module):
    """The network. `encode` a style once, then call it on as many photos as wanted."""

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or Shape()
        code, width, half = shape.code, shape.width, shape.width // 2
        self.encoder = StyleEncoder(shape) if shape.encoder else None
        if self.encoder is None:
            self.own = nn.Parameter(torch.ones(1, code))
        self.dial = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), zeroed(nn.Linear(64, code)))
        self.conv1, self.norm1 = conv(12, half), StyledNorm(half, code)
        self.conv2, self.norm2 = conv(half, width, stride=2), StyledNorm(width, code)
        self.coarse = Coarse(width, code)
        self.trunk = nn.ModuleList(Residual(width, code) for _ in range(shape.blocks))
        self.conv3, self.norm3 = conv(width, half), StyledNorm(half, code)
        self.conv4, self.colour = conv(half, 12), small(nn.Linear(code, 24))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, style: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Codes of style pictures (RGB, 0..1, sides from 32 px), in float32; averages of codes are styles in between.

        The scale of the style is that of its pixels: a larger picture of the same painting gives larger strokes. A
        network of one style gives its own code, whatever it is shown.
        """
        if self.encoder is None:
            return self.own.float().expand(len(style), -1)
        code: Tensor = self.encoder(mirrored(style, 2).to(self.conv1.weight.dtype))
        return code.float()

    def forward(
        self, photo: Float[Tensor, "n 3 h w"], code: Float[Tensor, "n k"], strength: Float[Tensor, " n"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Paint photos (RGB, 0..1, sides from 32 px), each with its own code and strength.

        strength: 0 gives the photo itself, 1 the boldest picture; below `FADE` the photo shows through.
        """
        code = self.dialled(code, strength)
        height, width = photo.shape[2:]
        painted = self.paint(mirrored(photo, STRIDE), lambda layer, x: layer(x, code), self.colours(code))
        share = (strength / FADE).clamp(0, 1).view(-1, 1, 1, 1)
        return torch.lerp(photo.float(), painted[..., :height, :width].float(), share.float())

    def dialled(self, code: Float[Tensor, "n k"], strength: Float[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """Codes that also tell how much of the photo is to be kept."""
        log = content_weight(strength).log()
        told: Tensor = code + self.dial(torch.stack([log, log * log], 1).to(code.dtype))
        return told

    def colours(self, code: Float[Tensor, "n k"]) -> tuple[Float[Tensor, "n 12"], Float[Tensor, "n 12"]]:
        """Scale and shift of the last layer's channels."""
        change, shift = self.colour(code).chunk(2, 1)
        return change + 1, shift

    def paint(
        self,
        photo: Float[Tensor, "n 3 h w"],
        norm: Normalise,
        colours: tuple[Float[Tensor, "n 12"], Float[Tensor, "n 12"]],
    ) -> Float[Tensor, "n 3 h w"]:
        """The pass itself, on photos with sides that are multiples of `STRIDE`."""
        x = to_blocks((photo * 2 - 1).to(self.conv1.weight.dtype))
        x = F.relu(norm(self.norm1, self.conv1(x)), inplace=True)
        x = F.relu(norm(self.norm2, self.conv2(x)), inplace=True)
        x = self.coarse(x, norm)
        for block in self.trunk:
            x = block(x, norm)
        x = F.relu(norm(self.norm3, doubled(x, self.conv3)), inplace=True)
        scale, shift = (part.to(x.dtype)[..., None, None] for part in colours)
        return F.pixel_shuffle(torch.sigmoid(torch.addcmul(shift, self.conv4(x), scale)), 2)

    def save(self, file: str | Path, card: dict[str, str] | None = None) -> None:
        """Write the weights in half precision, with the network's sizes and a model card in the file's header."""
        header = {"format": FORMAT, "shape": json.dumps(asdict(self.shape)), **(card or {})}
        tensors = {name: tensor.detach().half().contiguous() for name, tensor in self.state_dict().items()}
        temporary = Path(file).with_suffix(".part")
        try:
            save_file(tensors, str(temporary), header)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)


def mirrored(picture: Float[Tensor, "n 3 h w"], multiple: int) -> Float[Tensor, "n 3 h2 w2"]:
    """The picture continued below and to the right, to sides that are multiples of `multiple`; at least 32 px."""
    height, width = picture.shape[2:]
    if min(height, width) < SMALLEST_SIDE_PX:
        raise UserError(f"A picture of {width}x{height} px is too small for the fast engine: it needs 32 px a side.")
    below, right = -height % multiple, -width % multiple
    return F.pad(picture, (0, right, 0, below), mode="reflect") if below or right else picture


def load_any_style(file: str | Path) -> AnyStyle:
    """The network that `AnyStyle.save` wrote, in float32; UserError for any other file."""
    header, tensors = read_tensors(file)
    written = header.get("format", "")
    if written.startswith(FORMAT.rstrip("0123456789")) and written != FORMAT:
        raise UserError(f"{file} is of another version of Impasto ({written}, not {FORMAT}): update Impasto.")
    if written != FORMAT:
        raise UserError(f"{file} is no any-style network: give a file that impasto train or train-any wrote.")
    network = AnyStyle(shape_of(header, file))
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        raise UserError(f"{file} does not hold the tensors that its header tells of: get a whole copy of it.")
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network.eval().requires_grad_(False)


def shape_of(header: dict[str, str], file: str | Path) -> Shape:
    """The sizes in a file's header; UserError for what makes no network."""
    try:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in json.loads(header["shape"]).items()
        }
        shape = Shape(**fields)
        lengths = [shape.code, shape.width, shape.hidden, *shape.encoder, *shape.deep]
        if all(1 <= length <= 4096 for length in lengths) and 0 <= shape.blocks <= 64:
            return shape
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} tells of no sizes that make a network: get another copy of it.") from error
    raise UserError(f"{file} tells of sizes that make no network: get another copy of it.")


def blend(codes: Sequence[Float[Tensor, "1 k"]], weights: Sequence[float]) -> Float[Tensor, "1 k"]:
    """One code between several, by weights of any scale; a larger weight draws the picture nearer to that style."""
    total = sum(weights)
    return torch.stack([code * (weight / total) for code, weight in zip(codes, weights, strict=True)]).sum(0)
