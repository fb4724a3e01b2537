"""A convolutional network as a literal table of layers, and what can be known of it without running it.

    table = [conv(32, 3), max_pool(2), conv(64, 3), avg_pool(2), flatten(), dense(10, "linear")]

Every row is a frozen dataclass. Names are Keras's: `block1_conv1`, `block1_pool`, ..., a block ending with its
pooling; `flatten`, `dense1`, `dense2`, ... follow. A row may carry a name of its own instead.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from impasto.errors import LayerError

Activation = Literal["relu", "tanh", "sigmoid", "linear"]
Initialiser = Literal["he_normal", "glorot_uniform"]


@dataclass(frozen=True)
class Preprocess:
    """How a picture (RGB, 0..1) becomes the network's input: `(scale * picture - mean) / std`, then the order.

    scale: 255 for networks trained on 0..255. mean, std: one number a channel, in `order`'s order.
    """

    order: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Conv:
    """A 2-D convolution with bias, followed by its activation."""

    filters: int
    kernel: int = 3
    activation: Activation = "relu"
    stride: int = 1
    padding: Literal["same", "valid"] = "same"
    init: Initialiser = "he_normal"
    name: str | None = None


@dataclass(frozen=True)
class Pool:
    """Non-overlapping max or average pooling; rows and columns that do not fill a window are left out."""

    mode: Literal["max", "avg"]
    size: int = 2
    name: str | None = None


@dataclass(frozen=True)
class Flatten:
    """(channels, h, w) in a row, channels first; fixes the picture's size to the network's `input_shape`."""

    name: str | None = None


@dataclass(frozen=True)
class Dense:
    """A fully connected layer with bias, followed by its activation."""

    units: int
    activation: Activation = "relu"
    init: Initialiser = "he_normal"
    name: str | None = None


Row = Preprocess | Conv | Pool | Flatten | Dense
KINDS: dict[str, Callable[..., Row]] = {
    "preprocess": Preprocess,
    "conv": Conv,
    "pool": Pool,
    "flatten": Flatten,
    "dense": Dense,
}


def preprocess(
    order: Literal["RGB", "BGR"] = "RGB",
    scale: float = 1.0,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Preprocess:
    """The first row of a table; without it the network reads pictures as they are, RGB in 0..1."""
    return Preprocess(order, scale, tuple(mean), tuple(std))


def conv(
    filters: int,
    kernel: int = 3,
    activation: Activation = "relu",
    *,
    stride: int = 1,
    padding: Literal["same", "valid"] = "same",
    init: Initialiser = "he_normal",
    name: str | None = None,
) -> Conv:
    """A convolution of `filters` kernels of `kernel` x `kernel`. `same` pads (kernel - 1) / 2 zeros on each side."""
    if padding == "same" and kernel % 2 == 0:
        raise LayerError(f"A {kernel}x{kernel} convolution cannot be padded evenly: use an odd kernel or 'valid'.")
    return Conv(filters, kernel, activation, stride, padding, init, name)


def max_pool(size: int = 2, *, name: str | None = None) -> Pool:
    """The largest value of each `size` x `size` window."""
    return Pool("max", size, name)


def avg_pool(size: int = 2, *, name: str | None = None) -> Pool:
    """The mean of each `size` x `size` window; smoother pictures than max pooling (Gatys et al. 2016, section 2)."""
    return Pool("avg", size, name)


def flatten(*, name: str | None = None) -> Flatten:
    """From maps to one vector, before the first dense layer."""
    return Flatten(name)


def dense(
    units: int, activation: Activation = "relu", *, init: Initialiser = "he_normal", name: str | None = None
) -> Dense:
    """A fully connected layer of `units` outputs."""
    return Dense(units, activation, init, name)


CLASSICAL: tuple[Row, ...] = (
    preprocess(mean=(0.5,), std=(0.5,)),
    conv(32, 3), max_pool(2),
    conv(64, 3), max_pool(2),
    conv(128, 3), max_pool(2),
    conv(256, 3), max_pool(2),
    flatten(),
    dense(1024, "relu"),
    dense(1, "tanh"),
)  # fmt: skip


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a network as known from its table alone.

    output_shape: (channels, h, w), or (units,), for the network's `input_shape`.
    stride: picture pixels between neighbouring features. receptive_field: picture pixels that one feature sees,
    on a side; 0 for the layers from `flatten` on, which see the whole picture. lead: how many of them lie before
    the pixel at the feature's own place, its row or column times the stride; the others lie behind.
    """

    name: str
    row: Row
    output_shape: tuple[int, ...]
    stride: int
    receptive_field: int
    lead: int

    @property
    def channels(self) -> int:
        return self.output_shape[0]


def named(table: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """The rows that compute something, with their names."""
    block, convs, denses = 1, 0, 0
    for row in table:
        match row:
            case Preprocess():
                continue
            case Conv():
                convs += 1
                name = f"block{block}_conv{convs}"
            case Pool():
                name = f"block{block}_pool"
                block, convs = block + 1, 0
            case Flatten():
                name = "flatten"
            case Dense():
                denses += 1
                name = f"dense{denses}"
        yield row.name or name, row


def pad_of(row: Conv) -> int:
    """Zeros that a convolution puts on each side."""
    return row.kernel // 2 if row.padding == "same" else 0


def out_size(size: int, row: Row) -> int:
    """Length of a side after `row`."""
    match row:
        case Conv():
            return (size + 2 * pad_of(row) - row.kernel) // row.stride + 1
        case Pool():
            return size // row.size
        case _:
            return size


def step_of(row: Row) -> int:
    """From one output of `row` to the next, in places of its input."""
    match row:
        case Conv(stride=stride):
            return stride
        case Pool(size=size):
            return size
        case _:
            return 1


def describe(table: Sequence[Row], input_shape: tuple[int, int, int]) -> list[LayerInfo]:
    """Shape, stride and receptive field of every layer; LayerError where the rows do not fit together."""
    check_table(table, input_shape)
    shape: tuple[int, ...] = tuple(input_shape)
    stride, field, lead, infos = 1, 1, 0, []
    for name, row in named(table):
        match row:
            case Conv(filters=filters, kernel=kernel):
                field += (kernel - 1) * stride
                lead += pad_of(row) * stride
                stride *= step_of(row)
                shape = (filters, out_size(shape[1], row), out_size(shape[2], row))
            case Pool():
                field += (row.size - 1) * stride
                stride *= step_of(row)
                shape = (shape[0], out_size(shape[1], row), out_size(shape[2], row))
            case Flatten():
                field, shape = 0, (math.prod(shape),)
            case Dense():
                shape = (row.units,)
        if min(shape) < 1:
            raise LayerError(
                f"Nothing is left of a {input_shape[1]}x{input_shape[2]} picture at layer {name}: "
                "use a larger input_shape or fewer poolings."
            )
        infos.append(LayerInfo(name, row, shape, stride, field, lead))
    return infos


def check_table(table: Sequence[object], input_shape: tuple[int, int, int]) -> None:
    """LayerError for a table that no network can be built of."""
    if not any(isinstance(row, Conv | Dense) for row in table):
        raise LayerError("A network needs at least one conv or dense layer in its table.")
    if len(input_shape) != 3 or input_shape[0] not in (1, 3) or min(input_shape) < 1:
        raise LayerError(f"input_shape {input_shape} is not (channels, h, w) with 1 or 3 channels.")
    flat = False
    for position, row in enumerate(table):
        if not isinstance(row, Preprocess | Conv | Pool | Flatten | Dense):
            raise LayerError(
                f"Row {position + 1} of the table, {row!r}, is not a layer: use conv(...), max_pool(...), ..."
            )
        if isinstance(row, Preprocess):
            check_preprocess(row, position, input_shape[0])
        if isinstance(row, Conv | Pool) and flat:
            raise LayerError(f"Row {position + 1}, {kind_of(row)}, stands after flatten: only dense layers may.")
        if isinstance(row, Dense) and not flat:
            raise LayerError(f"Row {position + 1} is dense but no flatten() stands before it.")
        flat = flat or isinstance(row, Flatten)
        sizes = [getattr(row, field, 1) for field in ("filters", "kernel", "stride", "size", "units")]
        if any(not isinstance(size, int) or size < 1 for size in sizes):
            raise LayerError(f"Row {position + 1}, {row!r}: sizes and counts must be whole numbers from 1 up.")
    names = [name for name, _ in named([row for row in table if isinstance(row, Row)])]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise LayerError(f"Two layers are called {doubled[0]}: give one of them another name.")


def check_preprocess(row: Preprocess, position: int, channels: int) -> None:
    if position:
        raise LayerError("preprocess(...) must be the first row of the table.")
    if any(len(values) not in (1, channels) for values in (row.mean, row.std)) or not all(row.std):
        raise LayerError(f"preprocess needs one mean and one non-zero std, or {channels} of each.")


def kind_of(row: Row) -> str:
    return type(row).__name__.lower()


def table_to_json(table: Iterable[Row]) -> list[dict[str, Any]]:
    """The table as plain data, for files."""
    return [{"kind": kind_of(row), **dataclasses.asdict(row)} for row in table]


def table_from_json(rows: Iterable[dict[str, Any]]) -> list[Row]:
    """The inverse of `table_to_json`; LayerError for data that is not a table."""
    table: list[Row] = []
    for data in rows:
        fields = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items() if key != "kind"}
        try:
            table.append(KINDS[data["kind"]](**fields))
        except (KeyError, TypeError) as error:
            raise LayerError(f"{data!r} is not a row of a network table.") from error
    return table
