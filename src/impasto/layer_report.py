"""What each layer of a network keeps of a photo and takes from a style, and which layers the program chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from impasto.engines.balance import conv_blocks
from impasto.errors import JobError
from impasto.job import StyleJob
from impasto.nets.cnn import Cnn
from impasto.nets.loaded import Loaded
from impasto.picture import Picture
from impasto.run import aim_of, load_network, pulls_of, run


@dataclass(frozen=True)
class Layer:
    """One convolution.

    content_pull, style_pull: size of the gradient that it gives by itself. content_weight, style_weight: its weight
    among those that the program chose, 0 where it did not. keeps, takes: pictures made from noise by the layer's
    content alone, and by its style alone.
    """

    name: str
    content_pull: float
    style_pull: float
    content_weight: float
    style_weight: float
    keeps: Picture
    takes: Picture


def explain_layers(job: StyleJob, told: Callable[[str], object] = lambda name: None) -> list[Layer]:
    """Every convolution of the job's network, from the shallowest; told: hears of each before its two runs."""
    network = load_network(job, None, Loaded())
    if not isinstance(network, Cnn):
        raise JobError("impasto layers is for networks made by build_cnn.")
    names = [name for block in conv_blocks(network) for name in block]
    every = dict.fromkeys(names, 1.0)
    content, style = pulls_of(job.with_changes(content_layers=every, style_layers=every), network)
    auto = aim_of(job.with_changes(content_layers="auto", style_layers="auto"), network)
    layers = []
    for name in names:
        told(name)
        keeps = job.with_changes(content_layers={name: 1}, style_layers={name: 1}, style_weight=0, init="random")
        takes = keeps.with_changes(content_weight=0, style_weight=job.style_weight)
        pictures = [run(alone, network=network).picture for alone in (keeps, takes)]
        weights = auto.content_layers.get(name, 0.0), auto.style_layers.get(name, 0.0)
        layers.append(Layer(name, content[name], style[name], *weights, *pictures))
    return layers


def layer_figure(layers: Sequence[Layer]) -> Picture:
    """What each layer keeps, what it takes, and bars of the weights chosen; one column a layer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 * len(layers) + 0.8, 5.6), layout="constrained", dpi=110)
    canvas = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, len(layers), height_ratios=[1, 1, 1.1])
    for column, layer in enumerate(layers):
        for row, (picture, title) in enumerate(((layer.keeps, "keeps"), (layer.takes, "takes"))):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(picture.to_uint8())
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(layer.name if row == 0 else "", fontsize=9)
            axes.set_ylabel(title if column == 0 else "", fontsize=10)
    bars = figure.add_subplot(grid[2, :])
    places = np.arange(len(layers))
    bars.bar(places - 0.2, [layer.content_weight for layer in layers], 0.4, label="content weight")
    bars.bar(places + 0.2, [layer.style_weight for layer in layers], 0.4, label="style weight")
    bars.set_xticks(places, [layer.name for layer in layers], fontsize=8)
    bars.legend()
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]
    return Picture.from_any(np.ascontiguousarray(pixels), name="the figure")
