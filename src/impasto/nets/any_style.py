"""One feed-forward network for any style: a style picture becomes a code, the code paints a photo in one pass.

The photo goes through a small residual network at a quarter and an eighth of its size; after each spatial convolution
instance normalisation takes the photo's own contrast away and the style's code gives a new one (Dumoulin et al. 2017,
Ghiasi et al. 2017, arXiv:1705.06830). Most convolutions are separable, for speed; what mixes their channels is itself
a mixture of several layers by the style's code (Yang et al. 2019, arXiv:1904.04971), which costs nothing once a style
is known. How much of the photo is to be kept is a second input, drawn anew for each sample in training (Dosovitskiy &
Djolonga, ICLR 2020): the `strength` dial.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn

from impasto.errors import UserError
from impasto.nets.cnn import read_tensors

FORMAT = "impasto-any-style-2"
SHIPPED = Path(str(files("impasto") / "data" / "any_style.safetensors"))
SMALLEST_SIDE_PX = 32
# Of the network's two levels; sides are padded to multiples of the deeper one.
NEAR_STRIDE, STRIDE = 4, 8
# What is added to a variance before its root is taken; torch's own default.
EPSILON = 1e-5
# Pixels after which the grain is repeated, and its mean and deviation as bytes.
GRAIN_SIDE, GRAIN_MEAN, GRAIN_DEVIATION = 512, 128, 42

Layer = TypeVar("Layer", bound=nn.Module)

# Of `Notch`: the share of an amplitude that is taken away, and the deviation and reach of its mean, in places.
NOTCH_SHARE, NOTCH_DEVIATION, NOTCH_REACH = 0.7, 2.0, 5

# Relative content weights the network is trained for: at full strength, and where the photo begins to be faded in.
BOLDEST, FAITHFUL = 0.02, 1.0
FADE = 0.2


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. code: numbers a style is told by; near, far: channels at a quarter and at an eighth of the
    size; blocks, last: residual blocks at the eighth, and back at the quarter; inner, inner_last: channels within them;
    experts: layers that a style's own is mixed of; encoder, deep: channels of the style encoder's plain and separable
    convolutions. Without an encoder the network has one style, its own."""

    code: int = 192
    near: int = 48
    far: int = 96
    blocks: int = 6
    last: int = 2
    inner: int = 192
    inner_last: int = 96
    experts: int = 8
    encoder: tuple[int, ...] = (32, 64, 128, 160, 160)
    deep: tuple[int, ...] = (128, 128)
    hidden: int = 384


def content_weight(strength: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The weight of the content loss that a strength stands for: even steps of strength are even factors."""
    position = ((strength.clamp(FADE, 1) - FADE) / (1 - FADE)).double()
    log = math.log(FAITHFUL) + position * (math.log(BOLDEST) - math.log(FAITHFUL))
    return log.exp().to(strength)


def conv(inputs: int, outputs: int, stride: int = 1, *, bias: bool = True) -> nn.Conv2d:
    """3x3 with mirrored borders, which leave no frame around the picture. bias: none where a normalisation follows."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias, padding_mode="reflect")


def depthwise(channels: int, size: int) -> nn.Conv2d:
    """Each channel by itself, with mirrored borders."""
    return nn.Conv2d(channels, channels, size, 1, size // 2, groups=channels, bias=False, padding_mode="reflect")


def made_grain() -> UInt8[Tensor, "side side"]:
    """Noise as strong in every octave (1/f), seamless where it is repeated; `grain_under` reads it."""
    spectrum = np.fft.rfft2(np.random.default_rng(0).standard_normal((GRAIN_SIDE, GRAIN_SIDE)))
    down, across = np.fft.fftfreq(GRAIN_SIDE)[:, None], np.fft.rfftfreq(GRAIN_SIDE)
    # Waves longer than the network sees are left out.
    spectrum /= np.maximum(np.hypot(down, across), 1 / 64)
    noise = np.fft.irfft2(spectrum)
    return torch.from_numpy((GRAIN_MEAN + GRAIN_DEVIATION * noise / noise.std()).clip(0, 255).round().astype(np.uint8))


def grain_under(
    grain: UInt8[Tensor, "side side"], corner: tuple[int, int], photo: Float[Tensor, "n 3 h w"]
) -> Float[Tensor, "n 1 h w"]:
    """The grain about 0, deviation 1, under a photo whose upper left pixel is `corner` of the whole."""
    side = len(grain)
    if torch.onnx.is_in_onnx_export():
        # By number, since the file is of any size, and a number of repetitions would be fixed.
        rows, columns = (torch.arange(length, device=grain.device) % side for length in photo.shape[2:])
        whole = grain[rows][:, columns]
    else:
        height, width = photo.shape[2:]
        moved = grain.roll((-corner[0], -corner[1]), (0, 1)) if any(corner) else grain
        whole = moved.repeat(-(-height // side), -(-width // side))[:height, :width]
    part = (whole.to(photo.dtype) - GRAIN_MEAN) / GRAIN_DEVIATION
    return part.expand(len(photo), 1, -1, -1)


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
    return [mean, (variance + EPSILON).sqrt()]


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
        if torch.onnx.is_in_onnx_export():
            # The exporter's own needs to know the channels, and has lost track of them.
            variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
            return torch.addcmul(shift, (x - mean) * torch.rsqrt(variance + EPSILON), scale)
        return torch.addcmul(shift, F.instance_norm(x), scale)


class StyledMix(nn.Module):
    """A 1x1 layer that is a weighted sum of several, with weights from the style's code."""

    def __init__(self, inputs: int, outputs: int, experts: int, code: int) -> None:
        super().__init__()
        # As large as one layer would begin, whatever their number.
        self.weight = nn.Parameter(torch.randn(experts, outputs, inputs) / math.sqrt(inputs * experts))
        self.shares = nn.Linear(code, experts)
        nn.init.normal_(self.shares.weight, std=0.05)
        nn.init.ones_(self.shares.bias)

    def mixed(self, code: Float[Tensor, "n k"]) -> Float[Tensor, "n o i"]:
        """The weights for each code."""
        mixed: Tensor = torch.einsum("ne,eoi->noi", self.shares(code), self.weight.to(code.dtype))
        return mixed

    def forward(self, x: Float[Tensor, "n i h w"], code: Float[Tensor, "n k"]) -> Float[Tensor, "n o h w"]:
        count, _, height, width = x.shape
        weights = self.mixed(code).to(x.dtype)
        rows = torch.bmm(x.permute(0, 2, 3, 1).reshape(count, height * width, -1), weights.transpose(1, 2))
        return rows.reshape(count, height, width, -1).permute(0, 3, 1, 2)


class ToPicture(nn.Module):
    """A 3x3 layer that makes side x side pixels of every place, each colour scaled and shifted by the style."""

    def __init__(self, inputs: int, side: int, code: int) -> None:
        super().__init__()
        self.side, self.conv, self.affine = side, conv(inputs, 3 * side * side), small(nn.Linear(code, 6))
        # All pixels of a place begin as one, so that no grid is there to be unlearned (Aitken et al. 2017,
        # arXiv:1707.02937).
        with torch.no_grad():
            for parameter in self.conv.parameters():
                parameter.copy_(parameter[:: side * side].repeat_interleave(side * side, 0))

    def scale_shift(self, code: Float[Tensor, "n k"]) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]:
        change, shift = self.affine(code).repeat_interleave(self.side * self.side, 1).chunk(2, 1)
        return change + 1, shift

    def weight_bias(self, code: Float[Tensor, "1 k"]) -> tuple[Float[Tensor, "o i 3 3"], Float[Tensor, " o"]]:
        """Weights and biases of a plain layer that does the same for one code."""
        scale, shift = (part[0] for part in self.scale_shift(code))
        assert self.conv.bias is not None
        return self.conv.weight * scale[:, None, None, None], self.conv.bias * scale + shift

    def forward(self, x: Float[Tensor, "n i h w"], code: Float[Tensor, "n k"]) -> Float[Tensor, "n o h w"]:
        scale, shift = (part.to(x.dtype)[..., None, None] for part in self.scale_shift(code))
        return torch.addcmul(shift, self.conv(x), scale)


class Notch(nn.Module):
    """Weakens rows, columns and diagonals of 4 px in a picture, given in places of `NEAR_STRIDE` px.

    The network's finest texture falls into them, up to 5 dB over what is beside them in the spectrum, in every style.
    Of their amplitude about a place, a Gaussian mean over places, `NOTCH_SHARE` is taken away.
    """

    found: Tensor
    along: Tensor
    across: Tensor
    taken: Tensor

    def __init__(self) -> None:
        super().__init__()
        sides = torch.tensor([[1.0, 1, 1, 1], [1, -1, -1, 1], [1, 1, -1, -1]])
        flat, _, odd = sides
        # All that is repeated every 4 px down and right, but what is flat both ways and waves of 2 px.
        waves = torch.kron(sides, sides)[1:]
        # An odd wave is also found in a slope, and by so much less as the means of places about it rise.
        rising = torch.stack([torch.kron(flat, odd), torch.kron(odd, flat)])
        distances = torch.arange(-NOTCH_REACH, NOTCH_REACH + 1)
        mean = torch.softmax(-((distances / NOTCH_DEVIATION) ** 2) / 2, 0)
        rise = distances * mean / (NEAR_STRIDE * (distances.square() * mean).sum())
        found = torch.cat([waves, torch.ones_like(rising)]) / NEAR_STRIDE**2
        along = torch.stack([mean] * len(waves) + [rise, mean])
        across = torch.stack([mean] * len(waves) + [mean, rise])
        taken = -NOTCH_SHARE * torch.cat([waves, rising])
        self.register_buffer("found", torch.block_diag(*[found] * 3)[..., None, None], persistent=False)
        self.register_buffer("along", along.repeat(3, 1)[:, None, None], persistent=False)
        self.register_buffer("across", across.repeat(3, 1)[:, None, :, None], persistent=False)
        self.register_buffer("taken", torch.block_diag(*[taken] * 3).T[..., None, None], persistent=False)

    def forward(self, places: Float[Tensor, "n 48 h w"]) -> Float[Tensor, "n 48 h w"]:
        amplitudes = F.pad(F.conv2d(places, self.found), (NOTCH_REACH,) * 4, mode="reflect")
        for means in (self.along, self.across):
            amplitudes = F.conv2d(amplitudes, means, groups=len(means))
        # In place, since new memory would take longer than all of the above.
        return F.conv2d(amplitudes, self.taken).add_(places).clamp_(0, 1)


Styled = StyledNorm | StyledMix | ToPicture
Apply = Callable[[Styled, Tensor], Tensor]
"""How a layer that depends on the style is run: itself with its code, or what was made of them beforehand."""


class Residual(nn.Module):
    """A block that sees `size` x `size` places: each channel by itself, normalised, then widened and narrowed."""

    def __init__(self, channels: int, size: int, inner: int, shape: Shape) -> None:
        super().__init__()
        self.look, self.norm = depthwise(channels, size), StyledNorm(channels, shape.code)
        self.widen = StyledMix(channels, inner, shape.experts, shape.code)
        self.narrow = StyledMix(inner, channels, shape.experts, shape.code)

    def forward(self, x: Float[Tensor, "n c h w"], apply: Apply) -> Float[Tensor, "n c h w"]:
        inner = F.relu(apply(self.widen, apply(self.norm, self.look(x))), inplace=True)
        return apply(self.narrow, inner).add_(x)


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
        x = to_blocks(style, 2)
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


def doubled(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """At twice the size; bilinear, so that no grid of doubled pixels is left."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def to_blocks(picture: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n k h2 w2"]:
    """Each side x side pixels as one place of c side² channels, in channels_last memory by one copy."""
    count, channels, height, width = picture.shape
    places = picture.reshape(count, channels, height // side, side, width // side, side).permute(0, 2, 4, 1, 3, 5)
    return places.reshape(count, height // side, width // side, channels * side * side).permute(0, 3, 1, 2)


def from_blocks(places: Float[Tensor, "n c h2 w2"], side: int) -> Float[Tensor, "n 3 h w"]:
    """What `to_blocks` took apart."""
    count, channels, height, width = places.shape
    split = places.permute(0, 2, 3, 1).reshape(count, height, width, channels // side**2, side, side)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(count, channels // side**2, height * side, width * side)


class AnyStyle(nn.Module):
    """The network. `encode` a style once, then call it on as many photos as wanted."""

    grain: Tensor

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or Shape()
        code, near, far = shape.code, shape.near, shape.far
        self.encoder = StyleEncoder(shape) if shape.encoder else None
        if self.encoder is None:
            self.own = nn.Parameter(torch.ones(1, code))
        self.dial = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), zeroed(nn.Linear(64, code)))
        # Where a photo is flat, its places differ by this alone, and need not fall into a regular pattern to differ
        # (Karras et al. 2019, arXiv:1812.04948).
        self.register_buffer("grain", made_grain())
        self.conv1, self.norm1 = conv(4 * NEAR_STRIDE**2, near, bias=False), StyledNorm(near, code)
        self.conv2, self.norm2 = conv(near, far, stride=2, bias=False), StyledNorm(far, code)
        self.trunk = nn.ModuleList(Residual(far, 5, shape.inner, shape) for _ in range(shape.blocks))
        self.up = StyledMix(far, near, shape.experts, code)
        self.last = nn.ModuleList(Residual(near, 3, shape.inner_last, shape) for _ in range(shape.last))
        self.norm3, self.out = StyledNorm(near, code), ToPicture(near, NEAR_STRIDE, code)
        self.notch = Notch()
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
        self,
        photo: Float[Tensor, "n 3 h w"],
        code: Float[Tensor, "n k"],
        strength: Float[Tensor, " n"],
        corner: tuple[int, int] = (0, 0),
    ) -> Float[Tensor, "n 3 h w"]:
        """Paint photos (RGB, 0..1, sides from 32 px), each with its own code and strength.

        strength: 0 gives the photo itself, 1 the boldest picture; below `FADE` the photo shows through. corner: as in
        `paint`.
        """
        code = self.dialled(code, strength)
        height, width = photo.shape[2:]
        painted = self.paint(mirrored(photo, STRIDE), lambda layer, x: layer(x, code), corner)
        share = (strength / FADE).clamp(0, 1).view(-1, 1, 1, 1)
        return torch.lerp(photo.float(), painted[..., :height, :width].float(), share.float())

    def dialled(self, code: Float[Tensor, "n k"], strength: Float[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """Codes that also tell how much of the photo is to be kept."""
        log = content_weight(strength).log()
        told: Tensor = code + self.dial(torch.stack([log, log * log], 1).to(code.dtype))
        return told

    def paint(
        self, photo: Float[Tensor, "n 3 h w"], apply: Apply, corner: tuple[int, int] = (0, 0)
    ) -> Float[Tensor, "n 3 h w"]:
        """The pass itself, on photos with sides that are multiples of `STRIDE`.

        corner: row and column in px at which the photo lies in the whole picture that it is a tile of.
        """
        photo = photo.to(self.conv1.weight.dtype)
        x = to_blocks(torch.cat([photo, grain_under(self.grain, corner, photo)], 1), NEAR_STRIDE)
        x = F.relu(apply(self.norm1, self.conv1(x)), inplace=True)
        low = F.relu(apply(self.norm2, self.conv2(x)), inplace=True)
        for block in self.trunk:
            low = block(low, apply)
        x = doubled(apply(self.up, low)).add_(x)
        for block in self.last:
            x = block(x, apply)
        x = F.relu(apply(self.norm3, x), inplace=True)
        return from_blocks(self.notch(torch.sigmoid(apply(self.out, x))), NEAR_STRIDE)

    def save(self, file: str | Path, card: dict[str, str] | None = None) -> None:
        """Write the weights in half precision, with the network's sizes and a model card in the file's header."""
        header = {"format": FORMAT, "shape": json.dumps(asdict(self.shape)), **(card or {})}
        tensors = {
            name: (tensor.detach().half() if tensor.is_floating_point() else tensor).contiguous()
            for name, tensor in self.state_dict().items()
        }
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
        raise UserError(
            f"{file} is of another version of Impasto ({written}, not {FORMAT}): update Impasto, or train it anew."
        )
    if written != FORMAT:
        raise UserError(f"{file} is no any-style network: give a file that impasto train or train-any wrote.")
    network = AnyStyle(shape_of(header, file))
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        raise UserError(f"{file} does not hold the tensors that its header tells of: get a whole copy of it.")
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def shape_of(header: dict[str, str], file: str | Path) -> Shape:
    """The sizes in a file's header; UserError for what makes no network."""
    try:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in json.loads(header["shape"]).items()
        }
        shape = Shape(**fields)
        lengths = [shape.code, shape.near, shape.far, shape.inner, shape.inner_last, shape.hidden]
        lengths += [*shape.encoder, *shape.deep]
        counts = [shape.blocks, shape.last, shape.experts - 1]
        if all(1 <= length <= 4096 for length in lengths) and all(0 <= count <= 64 for count in counts):
            return shape
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} tells of no sizes that make a network: get another copy of it.") from error
    raise UserError(f"{file} tells of sizes that make no network: get another copy of it.")


def blend(codes: Sequence[Float[Tensor, "1 k"]], weights: Sequence[float]) -> Float[Tensor, "1 k"]:
    """One code between several, by weights of any scale; a larger weight draws the picture nearer to that style."""
    total = sum(weights)
    return torch.stack([code * (weight / total) for code, weight in zip(codes, weights, strict=True)]).sum(0)
