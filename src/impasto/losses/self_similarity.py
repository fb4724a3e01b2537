"""Self-similarity: which places of a picture are like which (Kolkin et al., STROTSS, CVPR 2019, eq. 8)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Place, PlaceLoss, Stats, sampled
from impasto.losses.cosine import floor_of, rows_of, unit_rows

SAMPLES = 1024
# Added to cosine distances, so that those of a flat picture, all 0, can be shared out too.
LEAST = 1e-4


class SelfSimilarity(PlaceLoss):
    """Mean over places of ‖D/ΣD − Dₜ/ΣDₜ‖₁, D being the cosine distances from a place to all others; 0 to 2.

    What is alike in the photo stays alike and what differs keeps differing, in whatever colours and strokes: figures
    stay readable while their features change freely. n times the paper's figure, so that it does not depend on n.
    """

    def constants(self, target: Float[Tensor, "c h w"]) -> Stats:
        return {"floor": floor_of(rows_of(target.float()))}

    def stats(
        self, features: Float[Tensor, "c h w"], target: Float[Tensor, "c h w"], constants: Stats, place: Place
    ) -> Stats:
        return {"samples": sampled(features, place, SAMPLES), "wanted": sampled(target, place, SAMPLES)}

    def distance(self, stats: Stats, constants: Stats) -> Float[Tensor, ""]:
        found, wanted = (shares(stats[name], constants["floor"]) for name in ("samples", "wanted"))
        return (found - wanted).abs().sum() / len(found)


def shares(samples: Float[Tensor, "c rows columns"], floor: Float[Tensor, ""]) -> Float[Tensor, "n n"]:
    """How the distance from each place to all others is shared among them: columns of sum 1."""
    rows = unit_rows(rows_of(samples), floor)
    apart = 1 - rows @ rows.T + LEAST
    return apart / apart.sum(0)
