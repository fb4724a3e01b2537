"""Thins a network of `impasto.nets.any_style`: fewer channels within its blocks, nearly the same pictures, less time.

Block by block, the channels are left out that the others can best speak for (Hassibi & Stork 1993, by whole channels),
and the layer that reads the kept ones is solved for anew, in all styles at once, so that the block comes as near as it
can to what the whole network has there. No gradient is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from impasto.nets.any_style import AnyStyle, Residual, Styled, doubled

# Channels left out at a time, before it is seen again which can be spared.
AT_A_TIME = 8
# The pull to the weights as they are, in the equations' mean diagonal: decides what the samples leave open.
LITTLE = 1e-5


@dataclass
class Sample:
    """Photos on their way through the whole network and through the thinned one, in one style.

    near: what is added where the network comes back to a quarter of the size.
    """

    code: Float[Tensor, "n k"]
    near: Float[Tensor, "n c h w"]
    whole: Float[Tensor, "n _ _ _"]
    thin: Float[Tensor, "n _ _ _"]


@torch.no_grad()
def sample_of(network: AnyStyle, photos: Float[Tensor, "n 3 h w"], code: Float[Tensor, "n k"]) -> Sample:
    """What comes to the first block; code: one dialled code, expanded."""
    came = dict[Styled, Tensor]()

    def apply(layer: Styled, x: Tensor) -> Tensor:
        done: Tensor = layer(x, code)
        if layer in (network.norm1, network.norm2):
            # A copy, since parts of what follows are done in place.
            came[layer] = F.relu(done)
        return done

    network.paint(photos, apply)
    return Sample(code, came[network.norm1], came[network.norm2], came[network.norm2])


@torch.no_grad()
def thinned(network: AnyStyle, samples: Sequence[Sample], inner: int, inner_last: int) -> AnyStyle:
    """The network with so many channels within its blocks (see `Shape`); the samples are used up.

    samples: two hundred for a network of any style; their styles and strengths are those that count.
    """
    tensors = network.state_dict()
    for level, count in (("trunk", inner), ("last", inner_last)):
        for number, block in enumerate(getattr(network, level)):
            widen, narrow = thinned_block(block, count, samples)
            tensors |= {f"{level}.{number}.widen.weight": widen, f"{level}.{number}.narrow.weight": narrow}
        if level == "trunk":
            for sample in samples:
                sample.whole, sample.thin = (
                    doubled(network.up(low, sample.code)) + sample.near for low in (sample.whole, sample.thin)
                )
    thin = AnyStyle(replace(network.shape, inner=inner, inner_last=inner_last)).to(samples[0].code.device)
    thin.load_state_dict(tensors)
    return thin


def thinned_block(
    block: Residual, count: int, samples: Sequence[Sample]
) -> tuple[Float[Tensor, "e kept c"], Float[Tensor, "e c kept"]]:
    """The weights of a block's two layers with `count` channels between them; the samples go through it."""
    for sample in samples:
        sample.whole = through(block, sample)
    equations = equations_of(block, samples)
    kept = torch.arange(block.narrow.weight.shape[2], device=block.narrow.weight.device)
    while len(kept) > count:
        weight, inverse = solved(block, equations, kept)
        # What leaving each channel out would add to the squared error, the others making up for it.
        loss = (weight * torch.linalg.solve(inverse, weight)).sum((1, 2))
        stay = loss.argsort()[min(AT_A_TIME, len(kept) - count) :]
        kept = kept[stay.sort().values]
    narrow = solved(block, equations, kept)[0].permute(1, 2, 0).float().contiguous()
    for sample in samples:
        mixed = torch.einsum("e,eoi->oi", block.narrow.shares(sample.code[:1])[0], narrow)
        sample.thin = sample.thin + torch.einsum("oi,nihw->nohw", mixed, inner_of(block, sample)[:, kept])
    return block.widen.weight[:, kept], narrow


def inner_of(block: Residual, sample: Sample) -> Float[Tensor, "n i h w"]:
    """What a block's second layer reads in the thinned network, before any channel of it is left out."""
    return F.relu(block.widen(block.norm(block.look(sample.thin), sample.code), sample.code))


def through(block: Residual, sample: Sample) -> Float[Tensor, "n c h w"]:
    """What a block of the whole network gives."""
    done: Tensor = block(sample.whole, lambda layer, x: layer(x, sample.code))
    return done


Equations = tuple[Float[Tensor, "in in"], Float[Tensor, "out in"]]
"""Mean products of what a layer reads with itself, and with what it should say."""


def equations_of(block: Residual, samples: Sequence[Sample]) -> Equations:
    """For a block's second layer. It reads each channel times each expert's share, those of one channel together, and
    should say what brings the thinned network, before the block, to where the whole one is behind it."""
    experts, outputs, inputs = block.narrow.weight.shape
    size = inputs * experts
    products, wanted = (block.narrow.weight.new_zeros(rows, size, dtype=torch.float64) for rows in (size, outputs))
    for sample in samples:
        shares = block.narrow.shares(sample.code[:1])[0].double()
        read, said = rows_of(inner_of(block, sample)), rows_of(sample.whole - sample.thin)
        # Every style counts alike, however strong its textures are.
        scale = len(samples) * (said - said.mean(0)).square().sum().double()
        products += torch.kron((read.T @ read) / scale, torch.outer(shares, shares))
        wanted += torch.kron((said.T @ read) / scale, shares[None])
    return products, wanted


def rows_of(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "places c"]:
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def solved(
    block: Residual, equations: Equations, kept: Int[Tensor, " kept"]
) -> tuple[Float[Tensor, "kept e o"], Float[Tensor, "kept e e"]]:
    """The second layer's weights where it reads the kept channels alone, and each one's part of the inverse."""
    experts, outputs, _ = block.narrow.weight.shape
    products, wanted = equations
    places = (kept[:, None] * experts + torch.arange(experts, device=kept.device)).flatten()
    little = LITTLE * products.diagonal().mean()
    as_is = block.narrow.weight[:, :, kept].permute(1, 2, 0).reshape(outputs, -1)
    inverse = torch.linalg.inv(products[places][:, places] + little * torch.eye(len(places)).to(products))
    weight = (wanted[:, places] + little * as_is) @ inverse
    parts = inverse.view(len(kept), experts, len(kept), experts).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    return weight.view(outputs, len(kept), experts).permute(1, 2, 0), parts
