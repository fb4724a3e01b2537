"""Forward and backward through a network for losses on its features.

`ExplicitPass` walks the layers of a `Cnn` itself: nothing is recorded through the network, activations are made in
place, only the layers up to the deepest one needed are run, and the gradient is walked back layer by layer.
`AutogradPass` does the same by autograd for any `torch.nn.Module`, and is what the explicit pass is tested against.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.nets.arithmetic import (
    Prepared,
    activate_,
    by_onednn,
    by_winograd,
    convolved,
    input_gradient,
    pooled,
    unactivate_,
)
from impasto.nets.cnn import Cnn
from impasto.nets.layers import Conv, Dense, LayerInfo, Pool
from impasto.nets.module import ModuleNet
from impasto.nets.rectified import has_bits, max_pooled, through_max_pool_
from impasto.nets.slab import Slab, new_maps
from impasto.nets.winograd import Kernel, Scratch

aten = torch.ops.aten
GradientAt = Callable[[str, Tensor, Tensor | None], Tensor]
"""gradient_at(name, features, behind): the gradient of the loss with respect to one layer's features. `behind` is that
by way of the layers behind it, where there are any: it is added, and may be changed in place and returned."""
Part = Mapping[str, tuple[slice, slice]]
"""Rows and columns of layers' features, by name; of other layers all."""
ALL: Part = {}


@runtime_checkable
class Run(Protocol):
    """One forward run: the features of the layers asked for, and the way back."""

    features: dict[str, Tensor]

    def backward(self, gradient_at: GradientAt) -> Float[Tensor, "n 3 h w"]:
        """Gradient with respect to the pictures, in float32.

        May be called once; the run's activations, features included, are used up on the way.
        """
        ...


@runtime_checkable
class NetworkPass(Protocol):
    """A network made ready to run for a fixed set of layers.

    infos: the layers up to the deepest of them, where the network's table tells; a picture can then be cut into tiles.
    """

    layers: list[str]
    infos: Sequence[LayerInfo]

    def hold_little(self, little: bool) -> None:
        """Where memory is short: what weights are made into is made anew for each run, and maps lie in memory that is
        used again, so that those of a run are no longer there when the next one begins."""
        ...

    def forward(
        self,
        picture: Float[Tensor, "n 3 h w"],
        *,
        keep: bool = True,
        passed: Part = ALL,
        read: Part = ALL,
        late: Collection[str] = (),
    ) -> Run:
        """Run a picture, or several of one size (RGB, 0..1). keep: hold what `backward` needs.

        passed: what goes on of what comes of a pooling. read: what is asked for of a layer's features, of those that go
        on. late: layers whose features are asked for on the way back alone; the run need not have them before.
        """
        ...


class ExplicitPass:
    """A `Cnn` run without an autograd graph, in `dtype` and channels_last memory; by one thread at a time."""

    def __init__(self, cnn: Cnn, layers: Iterable[str], *, dtype: torch.dtype, device: torch.device) -> None:
        self.cnn, self.dtype, self.device = cnn, dtype, device
        self._reach(layers)
        self.weights = {info.name: self._prepared(info) for info in self.infos}
        self.kept_scratch: Scratch | None = None
        self.slab: Slab | None = None

    def narrowed(self, layers: Iterable[str]) -> ExplicitPass:
        """The same for some of its layers, or others no deeper; it has the same weights, not a copy of them."""
        narrowed = copy.copy(self)
        narrowed._reach(layers)
        return narrowed

    @property
    def kernels(self) -> list[Kernel]:
        """Of its layers whose way back is Winograd's."""
        prepared = [self.weights[info.name] for info in self.infos]
        return [one.turned for one in prepared if one is not None and isinstance(one.turned, Kernel)]

    def hold_little(self, little: bool) -> None:
        for kernel in self.kernels:
            kernel.keep(not little)
        # Where memory that is freed is kept anyway, what stays among it would only leave gaps.
        self.kept_scratch = Scratch() if little else None
        self.slab = Slab() if little and self.device.type == "cpu" else None

    @property
    def scratch(self) -> Scratch:
        """For one convolution."""
        return Scratch() if self.kept_scratch is None else self.kept_scratch

    def _reach(self, layers: Iterable[str]) -> None:
        cnn = self.cnn
        self.layers = sorted({cnn.layer(name).name for name in layers}, key=cnn.position)
        self.infos: Sequence[LayerInfo] = cnn.layers[: cnn.position(self.layers[-1]) + 1] if self.layers else []
        self.unkept = unkept(self.infos, self.layers)

    def _prepared(self, info: LayerInfo) -> Prepared | None:
        if f"{info.name}.weight" not in self.cnn.parameters:
            return None
        weight, bias = (self.cnn.parameters[f"{info.name}.{part}"] for part in ("weight", "bias"))
        weight, bias = weight.to(self.device, self.dtype), bias.to(self.device, self.dtype)
        if not isinstance(info.row, Conv):
            return Prepared(weight, bias)
        channels_last = weight.contiguous(memory_format=torch.channels_last)
        if by_winograd(weight, info.row):
            return Prepared(channels_last, bias, Kernel(channels_last))
        if info.row.stride == 1 and by_onednn(weight):
            # oneDNN's own way back takes up to half as long again with AMX units, and new memory each time.
            turned = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
            return Prepared(channels_last, bias, turned)
        return Prepared(channels_last, bias)

    @torch.no_grad()
    def forward(
        self,
        picture: Float[Tensor, "n 3 h w"],
        *,
        keep: bool = True,
        passed: Part = ALL,
        read: Part = ALL,
        late: Collection[str] = (),
    ) -> ExplicitRun:
        if self.slab:
            self.slab.begin()
        x = self.cnn.to_input(picture).to(self.dtype).contiguous(memory_format=torch.channels_last)
        run = ExplicitRun(self, x, passed, read, made_anew=keep and bool(self.slab) and made_anew(self.infos, late))
        for position in range(len(self.infos)):
            run.step(position, keep)
        return run


def unkept(infos: Sequence[LayerInfo], layers: Iterable[str]) -> set[int]:
    """Positions of the convolutions whose output the way back does without.

    Behind max pooling the gradient is not zero only where a maximum was, and a ReLU lets it pass only where that
    maximum is above zero: the pooled map alone tells both. In bfloat16 on the CPU it is kept in place of where each
    maximum was, which takes as much.
    """
    return {
        position
        for position, (info, behind) in enumerate(itertools.pairwise(infos))
        if isinstance(info.row, Conv) and info.row.activation == "relu" and info.name not in layers
        if isinstance(behind.row, Pool) and behind.row.mode == "max"
    }


def made_anew(infos: Sequence[LayerInfo], late: Collection[str]) -> bool:
    """Whether the first layer's map can be let go of and made again on the way back.

    It is the largest of all that are kept, and a convolution of three channels is the least work. late: as in
    `NetworkPass.forward`.
    """
    return len(infos) > 1 and all(isinstance(info.row, Conv) for info in infos[:2]) and infos[0].name in late


class ExplicitRun:
    """`activations[i]` is layer i's input, the last one the network's output; `indices` are max pooling's.

    `shapes` are those of inputs that were not kept, `uncut` those of outputs of which a part went on. made_anew: the
    first layer's output is let go of when the second has read it.
    """

    def __init__(self, network: ExplicitPass, x: Tensor, passed: Part, read: Part, *, made_anew: bool) -> None:
        self.network, self.passed, self.read, self.slab = network, passed, read, network.slab
        self.made_anew = made_anew
        self.activations: list[Tensor | None] = [x]
        self.indices: dict[int, Tensor] = {}
        self.shapes: dict[int, torch.Size] = {}
        self.uncut: dict[int, torch.Size] = {}
        self.features: dict[str, Tensor] = {}

    def step(self, position: int, keep: bool) -> None:
        info, prepared = self.network.infos[position], self.network.weights[self.network.infos[position].name]
        x = self.activations[-1]
        assert x is not None
        match info.row:
            case Conv() as row:
                assert prepared is not None
                y = convolved(x, prepared, row, self.slab)
            case Pool(mode="max", size=2) if position - 1 in self.network.unkept and has_bits(x):
                y = max_pooled(x, self.slab)
            case Pool(mode="max", size=size):
                y, indices = pooled(x, size, self.slab)
                if keep:
                    self.indices[position] = indices
                else:
                    self.done(indices)
                if position - 1 in self.network.unkept:
                    self.shapes[position] = x.shape
                    self.drop(position)
            case Pool(size=size):
                y = F.avg_pool2d(x, size)
            case Dense() as row:
                assert prepared is not None
                y = activate_(F.linear(x, prepared.weight, prepared.bias), row.activation)
            case _:
                y = x.flatten(1)
        if info.name in self.passed:
            self.uncut[position] = y.shape
            whole, part = y, y[:, :, *self.passed[info.name]]
            y = new_maps(part.shape, part, self.slab).copy_(part)
            self.done(whole)
        if not keep:
            self.drop(position)
        self.activations.append(y)
        if self.made_anew and position == 1:
            self.shapes[position] = x.shape
            self.drop(position)
        if info.name in self.network.layers and not (self.made_anew and position == 0):
            self.see(info.name, y)

    def see(self, name: str, y: Tensor) -> None:
        """Have what is read of a layer's output among the features."""
        self.features[name] = as_maps(y)[:, :, *self.read.get(name, ())]

    def make_anew(self) -> None:
        """The first layer's output."""
        info, x = self.network.infos[0], self.activations[0]
        prepared = self.network.weights[info.name]
        assert x is not None and prepared is not None and isinstance(info.row, Conv)
        self.activations[1] = y = convolved(x, prepared, info.row, self.slab)
        if info.name in self.network.layers:
            self.see(info.name, y)

    def drop(self, position: int) -> None:
        """Let go of a layer's input, unless it is among the features."""
        x, self.activations[position] = self.activations[position], None
        if x is not None and (not position or self.network.infos[position - 1].name not in self.features):
            self.done(x)

    def done(self, maps: Tensor) -> None:
        if self.slab:
            self.slab.done(maps)

    @torch.no_grad()
    def backward(self, gradient_at: GradientAt) -> Float[Tensor, "n 3 h w"]:
        gradient: Tensor | None = None
        for position in reversed(range(len(self.network.infos))):
            name = self.network.infos[position].name
            if self.made_anew and position == 0:
                self.make_anew()
            x, y = self.activations[position], self.activations[position + 1]
            if name in self.network.layers:
                assert y is not None
                gradient = self.with_own(gradient, name, y, gradient_at)
            assert gradient is not None
            behind, gradient = gradient, self.through(position, gradient, x, y)
            if gradient.data_ptr() != behind.data_ptr():
                self.done(behind)
            self.drop(position + 1)
        assert gradient is not None
        # The optimizers mix it with pictures, which are contiguous; so are the files it is saved to.
        of_picture = self.network.cnn.to_picture(gradient.float().contiguous())
        self.done(gradient)
        return of_picture

    def through(self, position: int, gradient: Tensor, x: Tensor | None, y: Tensor | None) -> Tensor:
        """The gradient of one layer's input from that of its output; x and y are None where they were not kept."""
        info, prepared = self.network.infos[position], self.network.weights[self.network.infos[position].name]
        match info.row:
            case Conv() as row:
                assert prepared is not None
                if y is not None:
                    gradient = unactivate_(gradient, y, row.activation)
                shape = self.shapes[position] if x is None else x.shape
                result = input_gradient(gradient, shape, prepared, row, self.network.scratch, self.slab)
            case Pool(mode="max") if x is not None and position not in self.indices:
                assert y is not None
                whole = self.before_cut(position, unactivate_(gradient, y, "relu"))
                result = through_max_pool_(whole, x, self.slab)
                # Its place is the gradient's now.
                self.activations[position] = None
                if whole is not gradient:
                    self.done(whole)
            case Pool(mode="max", size=size):
                window, indices = [size, size], self.indices.pop(position)
                if x is None:
                    assert y is not None
                    gradient = unactivate_(gradient, y, "relu")
                whole = self.before_cut(position, gradient)
                result = new_maps(self.shapes[position] if x is None else x.shape, gradient, self.slab)
                aten.max_pool2d_with_indices_backward.grad_input(
                    whole, result, window, window, [0, 0], [1, 1], False, indices, grad_input=result
                )
                self.done(indices)
                if whole is not gradient:
                    self.done(whole)
            case Pool(size=size):
                window = [size, size]
                assert x is not None
                gradient = self.before_cut(position, gradient)
                result = aten.avg_pool2d_backward(gradient, x, window, window, [0, 0], False, True, None)
            case Dense() as row:
                assert prepared is not None and y is not None
                result = unactivate_(gradient, y, row.activation) @ prepared.weight
            case _:
                assert x is not None
                result = gradient.view(x.shape)
        assert isinstance(result, Tensor)
        return result

    def with_own(self, gradient: Tensor | None, name: str, y: Tensor, gradient_at: GradientAt) -> Tensor:
        """The gradient of a layer's output y with that of what is read of its features."""
        features = self.features.pop(name)
        if name in self.read:
            if gradient is None:
                return self.widened(gradient_at(name, features, None).to(y.dtype), y.shape, self.read[name])
            part = gradient[:, :, *self.read[name]]
            added = gradient_at(name, features, part)
            if added is not part:
                part.copy_(added)
            return gradient
        behind = None if gradient is None else as_maps(gradient)
        own = gradient_at(name, features, behind)
        if gradient is not None and own is behind:
            return gradient
        own = own.to(y.dtype).view_as(y)
        return own.contiguous(memory_format=torch.channels_last) if y.ndim == 4 else own.contiguous()

    def before_cut(self, position: int, gradient: Tensor) -> Tensor:
        """The gradient of all that came of a layer: nothing comes back for what did not go on."""
        if position not in self.uncut:
            return gradient
        return self.widened(gradient, self.uncut[position], self.passed[self.network.infos[position].name])

    def widened(self, part: Tensor, shape: torch.Size, place: tuple[slice, slice]) -> Tensor:
        """Maps of that shape with `part` in its place and zeros around it."""
        whole = new_maps(shape, part, self.slab).zero_()
        whole[:, :, *place] = part
        return whole


def as_maps(y: Tensor) -> Tensor:
    """Dense outputs as maps of one pixel, so that losses see one kind of features."""
    return y if y.ndim == 4 else y[:, :, None, None]


class AutogradPass:
    """The same by autograd, for a `Cnn` or any module; float32, as the network's own parameters are."""

    def __init__(self, network: Cnn | ModuleNet, layers: Iterable[str], *, device: torch.device) -> None:
        self.network, self.device = network, device
        self.layers = list(dict.fromkeys(network.layer(name).name for name in layers))
        self.infos: Sequence[LayerInfo] = ()

    def hold_little(self, little: bool) -> None:
        """It holds what autograd holds."""

    def forward(
        self,
        picture: Float[Tensor, "n 3 h w"],
        *,
        keep: bool = True,
        passed: Part = ALL,
        read: Part = ALL,
        late: Collection[str] = (),
    ) -> AutogradRun:
        assert not passed and not read, "its layers are not known, so that nothing can be cut off"
        with torch.set_grad_enabled(keep):
            leaf = picture.detach().requires_grad_(keep)
            return AutogradRun(leaf, self.network.features(leaf, self.layers))


class AutogradRun:
    def __init__(self, leaf: Tensor, recorded: dict[str, Tensor]) -> None:
        self.leaf, self.recorded = leaf, recorded
        self.features = {name: features.detach() for name, features in recorded.items()}

    def backward(self, gradient_at: GradientAt) -> Float[Tensor, "n 3 h w"]:
        gradients = [gradient_at(name, self.features[name], None) for name in self.recorded]
        torch.autograd.backward(list(self.recorded.values()), gradients)
        assert self.leaf.grad is not None
        return self.leaf.grad.contiguous()
