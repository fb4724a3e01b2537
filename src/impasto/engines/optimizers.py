"""Gradient descent on the picture, in three forms. Each proposes the next picture from the last evaluation.

The engine clamps what they propose to 0..1 before it is evaluated; the differences that L-BFGS learns from are
those of the clamped pictures.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

State = dict[str, Tensor]


class Optimizer(ABC):
    """learning_rate: larger moves the picture more in an iteration, and is unstable when too large."""

    default_rate: float

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
        self.last: tuple[Tensor, Tensor] | None = None
        self.pairs: Pairs | None = None
        self.gains: Tensor | None = None

    def step(self, picture: Tensor, gradient: Tensor, total: float, progress: float) -> Tensor:
        if self.last is not None:
            self.learn(picture - self.last[0], gradient - self.last[1])
        self.last = (picture.clone(), gradient.clone())
        if self.pairs is None:
            move = self.smoothed(gradient)
            return picture - self.rate * self.first_step * move / (move.abs().mean() + 1e-30)
        return picture.sub(self.direction(gradient), alpha=self.rate)

    def learn(self, move: Tensor, change: Tensor) -> None:
        """Take in how the gradient changed over the last move."""
        curvature = torch.dot(move.flatten(), change.flatten())
        if curvature <= 1e-10 * move.norm() * change.norm():
            return
        self.pairs = self.pairs or Pairs.none(self.memory, move)
        self.pairs.add(move, change)

    def direction(self, gradient: Tensor) -> Tensor:
        """The gradient times the approximate inverse of the curvature.

        What the two loops come to, in the compact form (Byrd, Nocedal & Schnabel 1994, eq. 3.13): products with all
        moves or all changes at once take half the time of one after the other.
        """
        assert self.pairs is not None
        pairs, last = self.pairs, self.pairs.last_change.view_as(gradient)
        products = pairs.products_in_order()
        scale = products[-1, -1] / torch.sum(last * self.smoothed(last)).item()
        along = torch.linalg.solve_triangular(products, pairs.along(pairs.moves, gradient), upper=True)
        result = self.smoothed(gradient - pairs.sum_of(pairs.changes, along).view_as(gradient)).mul_(scale)
        back = products.diagonal()[:, None] * along - pairs.along(pairs.changes, result)
        back = torch.linalg.solve_triangular(products.mT, back, upper=False)
        return result.add_(pairs.sum_of(pairs.moves, back).view_as(result))

    def smoothed(self, x: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
        """x with every frequency multiplied by its power of `slope`.

        What the layers see bends the objective least along broad changes of the picture, as measured: from fine to
        broad the inverse curvature grows about so.
        """
        height, width = x.shape[2:]
        if self.gains is None or self.gains.shape != (height, width // 2 + 1):
            down = torch.fft.fftfreq(height, device=x.device)[:, None]
            across = torch.fft.rfftfreq(width, device=x.device)
            self.gains = torch.hypot(down, across).clamp(min=1 / max(height, width)) ** self.slope
        # By channel, because the spectrum of all would need as much again as the picture.
        channels = [torch.fft.irfft2(torch.fft.rfft2(c).mul_(self.gains), s=(height, width)) for c in x[0]]
        return torch.stack(channels)[None]

    def state(self) -> State:
        if self.last is None:
            return {}
        pairs = {} if self.pairs is None else self.pairs.state()
        return {"picture": self.last[0], "gradient": self.last[1], **pairs}

    def restore(self, state: State) -> None:
        self.last = (state["picture"], state["gradient"]) if state else None
        self.pairs = Pairs.of(state) if "moves" in state else None


@dataclass
class Pairs:
    """The last moves of a picture and how its gradient changed over each, one a row.

    The earliest gives its place to the next. What is told of them is in their order in time, in float64 on the CPU.
    products: of each move with each change, right where the change is no earlier. taken: how many there were so far.
    """

    moves: Float[Tensor, "memory n"]
    changes: Float[Tensor, "memory n"]
    products: Float[Tensor, "memory memory"]
    taken: int = 0

    @classmethod
    def none(cls, memory: int, like: Tensor) -> Pairs:
        """Room for so many, of pictures of a size."""
        moves, changes = (like.new_zeros(memory, like.numel()) for _ in range(2))
        return cls(moves, changes, torch.zeros(memory, memory, dtype=torch.float64))

    def add(self, move: Float[Tensor, "*_"], change: Float[Tensor, "*_"]) -> None:
        row = self.taken % len(self.moves)
        self.moves[row], self.changes[row] = move.flatten(), change.flatten()
        self.products[:, row] = on_cpu(self.moves @ self.changes[row])
        self.taken += 1

    @property
    def rows(self) -> list[int]:
        memory = len(self.moves)
        return [index % memory for index in range(max(0, self.taken - memory), self.taken)]

    @property
    def last_change(self) -> Float[Tensor, " n"]:
        return self.changes[self.rows[-1]]

    def products_in_order(self) -> Float[Tensor, "k k"]:
        """Of each move with the changes over it and over later ones, above the diagonal."""
        return self.products[self.rows][:, self.rows].triu()

    def along(self, block: Float[Tensor, "memory n"], x: Tensor) -> Float[Tensor, "k 1"]:
        """The products of the moves, or of the changes, with x."""
        return on_cpu(block @ x.flatten())[self.rows, None]

    def sum_of(self, block: Float[Tensor, "memory n"], weights: Float[Tensor, "k 1"]) -> Float[Tensor, " n"]:
        """The weighted sum of the moves, or of the changes."""
        by_row = torch.zeros(len(block), dtype=weights.dtype)
        by_row[self.rows] = weights[:, 0]
        return by_row.to(block) @ block

    def state(self) -> State:
        taken = torch.tensor(self.taken)
        return {"moves": self.moves, "changes": self.changes, "products": self.products, "taken": taken}

    @classmethod
    def of(cls, state: State) -> Pairs:
        """Those that `state` told of; what becomes of them leaves it as it is."""
        moves, changes = state["moves"].clone(), state["changes"].clone()
        return cls(moves, changes, state["products"].cpu().clone(), int(state["taken"]))


def on_cpu(values: Tensor) -> Float[Tensor, "*_"]:
    return values.cpu().double()


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "lbfgs": Lbfgs, "gd": GradientDescent}
