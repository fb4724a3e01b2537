"""Gradient descent on the picture, in three forms. Each proposes the next picture from the last evaluation.

The engine clamps what they propose to 0..1 before it is evaluated; the differences that L-BFGS learns from are
those of the clamped pictures.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

State = dict[str, Tensor]


class Optimizer(ABC):
    """learning_rate: larger moves the picture more in an iteration, and is unstable when too large.

    seamless: whether the picture's opposite borders are neighbours.
    """

    default_rate: float
    seamless = False

    def __init__(self, learning_rate: float | None = None) -> None:
        self.rate = learning_rate or self.default_rate

    @abstractmethod
    def step(self, picture: Tensor, gradient: Tensor, total: float, progress: float) -> Tensor:
        """The next picture. total: the objective. progress: share of the planned iterations that is done, 0..1."""

    def retreat(self) -> None:
        """Halve the step after a non-finite evaluation, and forget what led there."""
        self.rate /= 2
        self.restore({})

    @abstractmethod
    def state(self) -> State:
        """Tensors from which `restore` goes on exactly, as they are until the next step; {} at the start."""

    @abstractmethod
    def restore(self, state: State) -> None: ...


class RowOptimizer(Optimizer):
    """One that steps every value by itself, so that rows can be stepped as soon as their gradient is known."""

    @abstractmethod
    def begin(self, picture: Tensor, total: float, dtype: torch.dtype) -> None:
        """Before the rows of one iteration. dtype: of what is kept from one iteration to the next."""

    @abstractmethod
    def move(self, gradient: Tensor, top: int, progress: float) -> Tensor:
        """How far the rows from `top` are to go, given their gradient; once a row in an iteration."""

    def step(self, picture: Tensor, gradient: Tensor, total: float, progress: float) -> Tensor:
        self.begin(picture, total, torch.float32)
        return picture + self.move(gradient, 0, progress)


class GradientDescent(RowOptimizer):
    """The textbook's step against the gradient.

    The objective is a mean over the picture, so its gradient shrinks as the picture grows: the rate is multiplied by
    the number of values, and so means the same at every size.
    """

    default_rate = 1e-5

    def begin(self, picture: Tensor, total: float, dtype: torch.dtype) -> None:
        self.values = picture.numel()

    def move(self, gradient: Tensor, top: int, progress: float) -> Tensor:
        return gradient * (-self.rate * self.values)

    def state(self) -> State:
        return {}

    def restore(self, state: State) -> None:
        pass


class Adam(RowOptimizer):
    """Kingma & Ba (2015), with cosine decay of the rate to a hundredth over the planned iterations.

    The rate is in units of the picture's 0..1: at most about how far one value moves in one iteration.
    """

    # Further in 30 to 300 iterations than 0.02 and 0.03; 0.08 was better on one pair, worse on another.
    default_rate = 0.05
    beta1, beta2 = 0.9, 0.99

    def __init__(self, learning_rate: float | None = None) -> None:
        super().__init__(learning_rate)
        self.first: Tensor | None = None
        self.second: Tensor | None = None
        self.count = 0

    def begin(self, picture: Tensor, total: float, dtype: torch.dtype) -> None:
        if self.first is None or self.second is None:
            self.first, self.second = (torch.zeros_like(picture, dtype=dtype) for _ in range(2))
        self.count += 1
        # A gradient of total / values would bring the objective to 0 if every value moved by 1. A value with less than
        # that takes no full step, for which way it points may be rounding's.
        self.least = total / picture.numel() + 1e-30

    def move(self, gradient: Tensor, top: int, progress: float) -> Tensor:
        assert self.first is not None and self.second is not None
        rows = slice(top, top + gradient.shape[2])
        first = self.first[:, :, rows].float().lerp_(gradient, 1 - self.beta1)
        second = self.second[:, :, rows].float().lerp_(gradient.square(), 1 - self.beta2)
        self.first[:, :, rows], self.second[:, :, rows] = first, second
        size = (second / (1 - self.beta2**self.count)).sqrt_()
        decay = 0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2
        moved = first / size.add_(self.least)
        return moved.mul_(-self.rate * decay / (1 - self.beta1**self.count))

    def state(self) -> State:
        if self.first is None or self.second is None:
            return {}
        return {"first": self.first, "second": self.second, "count": torch.tensor(self.count)}

    def restore(self, state: State) -> None:
        self.first, self.second = state.get("first"), state.get("second")
        self.count = int(state.get("count", 0))


class Lbfgs(Optimizer):
    """Limited-memory BFGS (Nocedal 1980; Nocedal & Wright, algorithm 7.4), one evaluation a step, no line search.

    The inverse curvature that it begins from is not the usual multiple of the identity but `smoothed`, which brought
    pictures as far in about three quarters of the evaluations, early on in fewer. The first step moves the picture by
    `first_step` times `rate` on average. Pairs of little or negative curvature, which the clamp to 0..1 can make, are
    left out, so that every direction descends.
    """

    # A little less than the whole step, because the objective curves more than its last pairs tell; with the whole one
    # the style loss `ssim` comes apart.
    default_rate = 0.8
    # With 12 up to a fifteenth more evaluations are needed late in a run, with 60 up to a twentieth fewer.
    memory = 20
    # As smooth as it is, the first step may go far.
    first_step = 8 / 255
    # Of the inverse curvature over frequency; anything from -0.5 to -1 does as well.
    slope = -0.7

    def __init__(self, learning_rate: float | None = None) -> None:
        super().__init__(learning_rate)
        # The picture of the last step, its gradient, and that smoothed.
        self.last: tuple[Tensor, Tensor, Tensor] | None = None
        self.pairs: Pairs | None = None
        self.gains: Tensor | None = None

    def step(self, picture: Tensor, gradient: Tensor, total: float, progress: float) -> Tensor:
        smoothed = self.smoothed(gradient)
        if self.last is not None:
            self.learn(picture, gradient, smoothed)
        self.last = (picture.clone(), gradient.clone(), smoothed)
        if self.pairs is None:
            return picture - self.rate * self.first_step * smoothed / (smoothed.abs().mean() + 1e-30)
        return picture.sub(self.pairs.direction(smoothed), alpha=self.rate)

    def learn(self, picture: Tensor, gradient: Tensor, smoothed: Tensor) -> None:
        """Take in how the gradient changed over the last move."""
        assert self.last is not None
        move, change = picture - self.last[0], gradient - self.last[1]
        curvature = torch.dot(move.flatten(), change.flatten())
        if curvature > 1e-10 * move.norm() * change.norm():
            self.pairs = self.pairs or Pairs.none(self.memory, move)
            self.pairs.add(move, smoothed - self.last[2], self.last[1], gradient)
        elif self.pairs is not None:
            self.pairs.see(gradient)

    def smoothed(self, x: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
        """x with every frequency multiplied by its power of `slope`.

        What the layers see bends the objective least along broad changes of the picture, as measured: from fine to
        broad the inverse curvature grows about so.
        """
        height, width = x.shape[2:]
        # Zeros behind it: still symmetric and positive, as a beginning of the inverse curvature has to be. Between
        # borders that are neighbours they would leave a seam.
        size = [length if self.seamless else fast_length(length) for length in (height, width)]
        if self.gains is None or self.gains.shape != (size[0], size[1] // 2 + 1):
            down = torch.fft.fftfreq(size[0], device=x.device)[:, None]
            across = torch.fft.rfftfreq(size[1], device=x.device)
            self.gains = torch.hypot(down, across).clamp(min=1 / max(height, width)) ** self.slope
        # By channel, because the spectrum of all would need as much again as the picture.
        spectra = (torch.fft.rfft2(channel, s=size).mul_(self.gains) for channel in x[0])
        channels = [torch.fft.irfft2(spectrum, s=size)[:height, :width] for spectrum in spectra]
        return torch.stack(channels)[None]

    def state(self) -> State:
        if self.last is None:
            return {}
        pairs = {} if self.pairs is None else self.pairs.state()
        return dict(zip(("picture", "gradient", "smoothed"), self.last, strict=True)) | pairs

    def restore(self, state: State) -> None:
        self.last = (state["picture"], state["gradient"], state["smoothed"]) if state else None
        self.pairs = Pairs.of(state) if "rows" in state else None


def fast_length(length: int) -> int:
    """The least multiple of 4 from a length on without prime factors above 11.

    Fourier transforms of other lengths take two to seven times as long; the side of a photo is often one of those.
    """
    # A number has no other factors if it divides a high enough power of their product.
    return next(n for n in itertools.count(-(-length // 4) * 4, 4) if pow(2 * 3 * 5 * 7 * 11, n.bit_length(), n) == 0)


@dataclass
class Pairs:
    """The last moves of a picture and how its gradient, smoothed, changed over each.

    The earliest gives its place to the next. rows: the moves, and below them the changes of the smoothed gradient.
    products: of each row with each change of the gradient itself, right where the change is no earlier. along: of each
    row with the last gradient. These are in float64 on the CPU. taken: how many pairs there were so far.
    """

    rows: Float[Tensor, "both n"]
    products: Float[Tensor, "2 memory memory"]
    along: Float[Tensor, "2 memory"]
    taken: int = 0

    @classmethod
    def none(cls, memory: int, like: Tensor) -> Pairs:
        """Room for so many, of pictures of a size."""
        products = torch.zeros(2, memory, memory, dtype=torch.float64)
        return cls(like.new_zeros(2 * memory, like.numel()), products, products[:, 0].clone())

    def add(self, move: Tensor, change: Tensor, before: Tensor, gradient: Tensor) -> None:
        """Take in a move, how the smoothed gradient changed over it, and the gradient before and after it."""
        memory = self.along.shape[1]
        place = self.taken % memory
        for kind, values in enumerate((move.flatten(), change.flatten())):
            self.rows[kind * memory + place] = values
            self.along[kind, place] = float(torch.dot(values, before.flatten()))
        self.products[:, :, place] = self.see(gradient)
        self.taken += 1

    def see(self, gradient: Tensor) -> Float[Tensor, "2 memory"]:
        """Take in the gradient; what the rows' products with it are more than with the one before."""
        before = self.along
        self.along = (self.rows @ gradient.flatten()).cpu().double().view_as(before)
        return self.along - before

    def direction(self, smoothed: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
        """The last gradient, here smoothed, times the approximate inverse of the curvature.

        What the two loops of algorithm 7.4 come to, in the compact form (Byrd, Nocedal & Schnabel 1994, theorem 2.2),
        begun from the smoothing: products with all rows at once take half the time of one after the other.
        """
        memory = self.along.shape[1]
        order = [index % memory for index in range(max(0, self.taken - memory), self.taken)]
        along_moves, along_changes = self.along[:, order, None]
        of_moves, of_changes = self.products[:, order][:, :, order].triu()
        of_changes = of_changes + of_changes.triu(1).mT
        scale = of_moves[-1, -1] / of_changes[-1, -1]
        first = torch.linalg.solve_triangular(of_moves, along_moves, upper=True)
        second = of_moves.diagonal()[:, None] * first - scale * (along_changes - of_changes @ first)
        second = torch.linalg.solve_triangular(of_moves.mT, second, upper=False)
        weights = torch.zeros_like(self.along)
        weights[0, order], weights[1, order] = second[:, 0], -scale * first[:, 0]
        of_rows: Tensor = weights.flatten().to(self.rows) @ self.rows
        return of_rows.view_as(smoothed).add_(smoothed, alpha=float(scale))

    def state(self) -> State:
        taken = torch.tensor(self.taken)
        return {"rows": self.rows, "products": self.products, "along": self.along, "taken": taken}

    @classmethod
    def of(cls, state: State) -> Pairs:
        """Those that `state` told of; what becomes of them leaves it as it is."""
        rows, products, along = (state[name].clone() for name in ("rows", "products", "along"))
        return cls(rows, products.cpu(), along.cpu(), int(state["taken"]))


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "lbfgs": Lbfgs, "gd": GradientDescent}
