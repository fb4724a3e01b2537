"""The objective of the optimisation: weighted losses on features, its value and its gradient for a picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto import losses
from impasto.engines.anchor import Anchor
from impasto.engines.surface import EVERYWHERE, Controls, Surface
from impasto.engines.terms import Term, grouped, is_joint
from impasto.engines.tiles import Tile, Tiling
from impasto.hardware import SMALL_BLOCK_BYTES, give_back
from impasto.losses import Kind
from impasto.losses.base import Guide, Place, PlaceLoss, Stats, is_finite
from impasto.losses.gram import CorrelationLoss
from impasto.losses.total_variation import total_variation, variation_gradient
from impasto.nets.passes import NetworkPass


@dataclass(frozen=True)
class Value:
    """The objective at one picture; `losses` are the unweighted distances.

    place: the tile whose features are not finite, in words, where there is one.
    """

    total: float
    content: float
    style: float
    losses: Mapping[str, float]
    place: str | None = None

    @property
    def finite(self) -> bool:
        return math.isfinite(self.total)


@dataclass
class Measured:
    """A value, and what its gradient needs: the slope of the objective along each term's sums.

    run: that of a single tile, whose features are kept for the way back. drift: from the anchor, where there is one.
    """

    value: Value
    slopes: list[Stats]
    run: TileRun | None
    drift: Float[Tensor, "1 3 _ _"] | None


class Objective:
    """content_weight · mean over content layers + style_weight · mean over style layers + tv_weight · variation.

    The means are weighted by the layers' and the styles' own weights; every distance is relative, so that the
    weights mean the same at every size and for every network. turn: number of the evaluation; losses that compare
    samples read others each turn. anchor: what is added for going away from a coarser picture. emphasis: how many times
    as much content counts in the gradient as it does in the value.

    A picture is gone through twice: `measure` adds up the sums of all tiles, `bands` takes each tile's share of the
    gradient. A single tile is run once.
    """

    def __init__(
        self, network: NetworkPass, terms: list[Term], tv_weight: float, tiling: Tiling, surface: Surface
    ) -> None:
        self.network, self.terms, self.tv_weight, self.tiling = network, terms, tv_weight, tiling
        self.surface, self.turn, self.emphasis = surface, 0, 1.0
        self.anchor: Anchor | None = None
        self.groups = grouped(terms)

    def evaluate(self, picture: Float[Tensor, "1 3 h w"]) -> tuple[Value, Float[Tensor, "1 3 h w"]]:
        """Value and gradient."""
        measured = self.measure(picture)
        return measured.value, torch.cat([rows for _, rows in self.bands(picture, measured)], 2)

    def measure(self, picture: Float[Tensor, "1 3 h w"]) -> Measured:
        tiles = self.tiling.tiles()
        sums: list[Stats] = []
        # The picture itself, because a ReLU within a convolution makes NaN to 0.
        broken = [str(tile) for tile in tiles if not is_finite(tile.core.of(picture[0]))]
        run = None
        for tile in tiles:
            run = TileRun(self, picture, tile, keep=len(tiles) == 1)
            found = run.sums()
            if not all(is_finite(value) for stats in found for value in stats.values()):
                broken.append(str(tile))
            sums = [added(*pair) for pair in zip(sums, found, strict=True)] if sums else found
        distances, slopes = self.judge(sums)
        drift = self.anchor.drift(picture) if self.anchor else None
        value = self.value(picture, distances, drift)
        if broken:
            value = replace(value, total=math.nan, place=broken[0] if len(tiles) > 1 else None)
        return Measured(value, slopes, run if len(tiles) == 1 else None, drift)

    def judge(self, sums: list[Stats]) -> tuple[list[Tensor], list[Stats]]:
        """Each term's distance, and the slope of the weighted distance along each of its sums."""
        distances: list[Tensor] = []
        slopes: list[Stats] = []
        for group in self.groups:
            own = sums[len(slopes) : len(slopes) + len(group.terms)]
            with torch.enable_grad():
                leaves = [
                    {name: value.detach().requires_grad_(name != "count") for name, value in stats.items()}
                    for stats in own
                ]
                distance = group.distance(leaves)
                moving = [leaf for stats in leaves for leaf in stats.values() if leaf.requires_grad]
                weight = group.weight * (self.emphasis if group.kind == "content" else 1.0)
                found = iter(torch.autograd.grad(weight * distance, moving))
            distances += [distance.detach()] * len(own)
            slopes += [{name: next(found) for name, leaf in stats.items() if leaf.requires_grad} for stats in leaves]
        return distances, slopes

    def value(self, picture: Tensor, distances: list[Tensor], drift: Tensor | None) -> Value:
        weighted = {"content": 0.0, "style": 0.0}
        found: dict[str, float] = {}
        for term, distance in zip(self.terms, distances, strict=True):
            found[term.name] = found.get(term.name, 0.0) + term.share * float(distance)
            weighted[term.kind] += term.weight * float(distance)
        variation = 0.0
        if self.tv_weight:
            variation = found["tv"] = float(total_variation(picture, seamless=self.surface.wrap_px is not None))
        if self.anchor and drift is not None:
            found["coarse"] = self.anchor.distance(drift)
        total = weighted["content"] + weighted["style"] + self.tv_weight * variation + found.get("coarse", 0.0)
        return Value(total, weighted["content"], weighted["style"], found)

    def bands(
        self, picture: Float[Tensor, "1 3 h w"], measured: Measured
    ) -> Iterator[tuple[int, Float[Tensor, "1 3 rows w"]]]:
        """The gradient from top to bottom, in bands with their first row.

        Whoever takes a band may change these rows of the picture at once: no later tile reads them or adds to them.
        """
        lines = [list(line) for _, line in itertools.groupby(self.tiling.tiles(), key=lambda tile: tile.rows)]
        first = 0
        unfinished = picture.new_zeros(1, 3, 0, picture.shape[3])
        for index, line in enumerate(lines):
            rows = line[0].rows
            more = rows.window_end - first - unfinished.shape[2]
            unfinished = F.pad(unfinished, (0, 0, 0, more))
            for tile in line:
                run = measured.run or TileRun(self, picture, tile, keep=True, sums=False)
                top, bottom = rows.window_start - first, rows.window_end - first
                columns = slice(tile.columns.window_start, tile.columns.window_end)
                unfinished[:, :, top:bottom, columns] += run.gradient(measured.slopes)
            if self.tv_weight or self.anchor:
                at_once = rows_at_once(picture)
                for start in range(rows.core_start, rows.core_end, at_once):
                    end = min(start + at_once, rows.core_end)
                    own = self.pixel_gradient(picture, measured, start, end)
                    unfinished[:, :, start - first : end - first] += own
            needed = [min(later[0].rows.window_start, later[0].rows.core_start - 1) for later in lines[index + 1 :]]
            done = min(needed, default=self.tiling.height)
            if len(lines) > 1:
                # What lies free in pieces would grow from line to line.
                give_back()
            if done > first:
                yield first, unfinished[:, :, : done - first]
                unfinished, first = unfinished[:, :, done - first :].clone(), done

    def pixel_gradient(
        self, picture: Float[Tensor, "1 3 h w"], measured: Measured, top: int, bottom: int
    ) -> Float[Tensor, "1 3 rows w"]:
        """Of what looks at the picture itself, at the rows from `top` to `bottom`."""
        gradient = torch.zeros_like(picture[:, :, top:bottom])
        if self.tv_weight:
            seamless = self.surface.wrap_px is not None
            gradient += self.tv_weight * variation_gradient(picture, top, bottom, seamless=seamless)
        if self.anchor and measured.drift is not None:
            gradient += self.anchor.gradient(measured.drift, top, bottom)
        return gradient


class TileRun:
    """One tile run forward: the sums of its owned features, and its window's share of the gradient.

    keep: for the gradient. sums: whether they are asked for; without them, features that only losses read which tell
    the gradient themselves are not asked for before it.
    """

    def __init__(
        self, objective: Objective, picture: Float[Tensor, "1 3 h w"], tile: Tile, *, keep: bool, sums: bool = True
    ) -> None:
        self.terms, self.surface, self.picture, self.tile = objective.terms, objective.surface, picture, tile
        seen, tiling = self.surface.seen(picture, tile.window), objective.tiling
        late = [] if sums else self.direct_layers(tiling)
        self.run = objective.network.forward(
            seen, keep=keep, passed=tiling.passed(tile), read=tiling.read(tile), late=late
        )
        self.leaves: dict[str, Tensor] = {}
        self.places: dict[str, Place] = {}
        for name, features in self.run.features.items():
            # Without the batch dimension from the start: indexing a leaf costs a zero-filled copy on the way back.
            self.leaves[name] = features[0].detach().requires_grad_(keep)
        with torch.set_grad_enabled(keep):
            owned = {name: own_features(leaf, name, self.surface, tiling) for name, leaf in self.leaves.items()}
            for name, features in owned.items():
                self.places[name] = replace(tiling.place(tile, name, features), turn=objective.turn)
            self.direct = [
                term.layer not in owned or self.is_direct(term, self.places[term.layer]) for term in self.terms
            ]
            # Sums of which the losses tell the gradient themselves are taken only where they are asked for.
            self.stats = [
                {} if direct else term.stats(owned[term.layer], self.places[term.layer])
                for term, direct in zip(self.terms, self.direct, strict=True)
            ]

    def is_direct(self, term: Term, place: Place) -> bool:
        """Whether a term's gradient is told by its loss, for all features of its layer."""
        whole = self.surface.wrap_px is None and place.owned == place.window
        return whole and isinstance(term.loss, CorrelationLoss) and term.guide is None

    def direct_layers(self, tiling: Tiling) -> list[str]:
        """Layers of a picture that is cut all of whose terms are so; those without terms too."""
        places = {
            info.name: tiling.cut_place(self.tile, at) for at, info in enumerate(tiling.infos) if info in tiling.counted
        }
        others = {term.layer for term in self.terms if not self.is_direct(term, places[term.layer])}
        return [info.name for info in tiling.infos if info.name not in others]

    def sums(self) -> list[Stats]:
        """Before the gradient is asked for, which uses the features up."""
        return [
            term.stats(self.leaves[term.layer].detach(), self.places[term.layer])
            if direct
            else {name: value.detach() for name, value in stats.items()}
            for term, direct, stats in zip(self.terms, self.direct, self.stats, strict=True)
        ]

    def gradient(self, slopes: list[Stats]) -> Float[Tensor, "1 3 h w"]:
        """The window's gradient, given how the objective changes with each sum."""

        def gradient_at(layer: str, features: Tensor, behind: Tensor | None) -> Tensor:
            leaf = self.leaves.pop(layer, None)
            gradient = None if behind is None else behind[0]
            outputs: list[tuple[Tensor, Tensor]] = []
            for term, direct, stats, along in zip(self.terms, self.direct, self.stats, slopes, strict=True):
                if term.layer == layer and direct:
                    assert isinstance(term.loss, CorrelationLoss)
                    gradient = term.loss.gradient(features[0], along, gradient)
                elif term.layer == layer:
                    # What a tile without owned features adds does not depend on them.
                    outputs += [(stats[name], slope) for name, slope in along.items() if stats[name].requires_grad]
            if outputs and leaf is not None:
                (own,) = torch.autograd.grad([value for value, _ in outputs], leaf, [slope for _, slope in outputs])
                gradient = own if gradient is None else gradient.add_(own)
            assert gradient is not None
            return gradient[None] if behind is None else behind

        return self.surface.back(self.run.backward(gradient_at), self.picture, self.tile.window)


def own_features(
    features: Float[Tensor, "c rows columns"], layer: str, surface: Surface, tiling: Tiling
) -> Float[Tensor, "c h w"]:
    """Those of the picture, without those of its continuation."""
    if surface.wrap_px is None:
        return features
    info = next(info for info in tiling.infos if info.name == layer)
    height, width = (tiling.features_of(length, info) for length in (tiling.height, tiling.width))
    return surface.own(features, info.stride, height, width)


def rows_at_once(picture: Float[Tensor, "1 3 h w"]) -> int:
    """Rows of a picture of which something as wide is worked out: few enough for memory that the allocator keeps."""
    return max(1, SMALL_BLOCK_BYTES // (3 * 4 * picture.shape[3]))


def added(first: Stats, second: Stats) -> Stats:
    return {name: first[name] + second[name] for name in first}


@dataclass(frozen=True)
class Aim:
    """What the objective is made of, apart from pictures: losses, layers with weights, and the balance."""

    content_loss: str
    style_loss: str
    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    content_weight: float
    style_weight: float
    tv_weight: float
    style_shares: tuple[float, ...]

    @property
    def layers(self) -> list[str]:
        """The layers that count."""
        content = [name for name, weight in self.content_layers.items() if weight and self.content_weight]
        style = [name for name, weight in self.style_layers.items() if weight and self.style_weight]
        return list(dict.fromkeys(content + style))


def build_objective(
    network: NetworkPass,
    aim: Aim,
    photo: Float[Tensor, "1 3 h w"],
    styles: list[Float[Tensor, "1 3 _ _"]],
    tile_px: int | None = None,
    controls: Controls = EVERYWHERE,
    kept: torch.dtype | None = None,
) -> Objective:
    """The objective for a photo and its styles.

    A style loss that compares place by place is given the style pictures resized to the photo; the others read them
    as they are. tile_px: longest side of a tile's core; the result does not depend on it. controls: where what
    happens; a seamless picture is one tile. kept: type in which the photo's features are held where they are compared
    place by place; None for that of the network.
    """
    terms: list[Term] = []
    if aim.content_weight:
        terms += terms_of("content", aim, network, [photo], (1.0,), tile_px, kept, controls.seamless)
    if aim.style_weight:
        if isinstance(losses.load("style", aim.style_loss), PlaceLoss):
            styles = [resized_to(style, photo) for style in styles]
        shares, guides = aim.style_shares, controls.style_guides
        targets = terms_of("style", aim, network, styles, shares, tile_px, kept, guides=guides)
        terms += guided(targets, controls.guides)
    tiling = tiling_of(network, photo, terms, tile_px)
    surface = Surface(photo, controls.keep, tiling.halo_px if controls.seamless else None)
    return Objective(network, terms, aim.tv_weight, tiling, surface)


def guided(terms: list[Term], guides: Sequence[Float[Tensor, "_ _"] | None] | None) -> list[Term]:
    """Terms that count features where the guide of their style says."""
    return [replace(term, guide=guide_of(term.style, guides)) for term in terms]


def guide_of(style: int, guides: Sequence[Float[Tensor, "_ _"] | None] | None) -> Guide | None:
    values = None if guides is None else guides[style]
    return None if values is None else Guide(values)


def terms_of(
    kind: Kind,
    aim: Aim,
    network: NetworkPass,
    pictures: list[Tensor],
    shares: tuple[float, ...],
    tile_px: int | None,
    kept: torch.dtype | None = None,
    seamless: bool = False,
    guides: Sequence[Float[Tensor, "_ _"] | None] | None = None,
) -> list[Term]:
    """The terms of one kind, with their targets taken from the pictures. guides: how much their pixels count."""
    loss_name = aim.content_loss if kind == "content" else aim.style_loss
    layers = aim.content_layers if kind == "content" else aim.style_layers
    weight = aim.content_weight if kind == "content" else aim.style_weight
    loss, total = losses.load(kind, loss_name), sum(layers.values())
    joint = is_joint(loss)
    terms: list[Term] = []
    for index, (picture, share) in enumerate(zip(pictures, shares, strict=True)):
        part = share / sum(shares)
        own = [
            Term(
                kind,
                f"{kind}_{loss_name}" if joint else f"{kind}_{loss_name}/{name}",
                name,
                loss,
                weight * part * among / total,
                part * among / total if joint else part,
                index,
            )
            for name, among in layers.items()
            if among and share
        ]
        tiling = tiling_of(network, picture, own, tile_px)
        own = guided(own, guides)
        set_targets(own, network, picture, tiling, Surface(wrap_px=tiling.halo_px if seamless else None), kept)
        terms += own
    return terms


def set_targets(
    terms: list[Term],
    network: NetworkPass,
    picture: Tensor,
    tiling: Tiling,
    surface: Surface,
    kept: torch.dtype | None,
) -> None:
    """Give every term what it compares with: the sums of a picture's features, or the features themselves."""
    tiles = tiling.tiles() if terms else []
    for tile in tiles:
        seen = surface.seen(picture, tile.window)
        run = network.forward(seen, keep=False, passed=tiling.passed(tile), read=tiling.read(tile))
        for term in terms:
            features = own_features(run.features[term.layer][0], term.layer, surface, tiling)
            place = tiling.place(tile, term.layer, features)
            if isinstance(term.loss, PlaceLoss):
                if term.target is None:
                    # Channels last, as the features come: so that comparing them reads both in one order.
                    size = (place.whole.bottom, place.whole.right, features.shape[0])
                    term.target = features.new_empty(size, dtype=kept).permute(2, 0, 1)
                owned = place.owned.relative_to(place.window).of(features)
                place.owned.of(term.target).copy_(owned)
            else:
                stats = term.statistics(features, place)
                term.constants = added(term.constants, stats) if term.constants else stats
    for term in terms:
        if isinstance(term.loss, PlaceLoss):
            assert term.target is not None
            term.constants = term.loss.constants(term.target)
        elif not is_joint(term.loss):
            term.constants = term.loss.reference(term.constants)


def tiling_of(network: NetworkPass, picture: Tensor, terms: list[Term], tile_px: int | None) -> Tiling:
    """How a picture is cut for the layers and losses of some terms."""
    margins = {term.layer: 0 for term in terms}
    for term in terms:
        halo = term.loss.halo if isinstance(term.loss, PlaceLoss) else 0
        margins[term.layer] = max(margins[term.layer], halo)
    return Tiling(picture.shape[2], picture.shape[3], network.infos, margins, tile_px)


def resized_to(picture: Tensor, like: Tensor) -> Tensor:
    size = (like.shape[2], like.shape[3])
    return torch.nn.functional.interpolate(picture, size, mode="bilinear", antialias=True).clamp(0, 1)
