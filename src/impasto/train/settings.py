"""What a training does, said once: the command line's options are derived from the fields, checkpoints keep them."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def parse_sizes(value: Any) -> Any:
    """`128,192` as its numbers, by itself or in a list; what is none is left for pydantic to refuse."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple):
        return values
    return [part for one in values for part in (one.split(",") if isinstance(one, str) else [one])]


Side = Annotated[int, Field(ge=32)]
Sizes = Annotated[tuple[Side, ...], BeforeValidator(parse_sizes)]


class Settings(BaseModel):
    """What a training does; kept in its checkpoints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(20_000, ge=1, description="Steps in all; the learning rate falls over the last of them.")
    sizes: Sizes = Field(
        (128, 192, 256),
        min_length=1,
        description="Sides of the crops in px, commas between, one after the other for an equal share of the steps.",
        json_schema_extra={"unit": "PX,PX"},
    )
    groups: int = Field(2, ge=1, description="Groups of four samples a step; more is steadier and slower.")
    learning_rate: float = Field(1e-3, gt=0, description="Of AdamW, between warming up and falling off.")
    warm_up: int = Field(200, ge=0, description="Steps over which the learning rate rises from 0.")
    fall: float = Field(0.3, ge=0, le=1, description="Share of the steps, the last, over which it falls to 0.")
    weight_decay: float = Field(1e-4, ge=0, description="Of AdamW; more keeps the weights smaller.")
    average: float = Field(0.999, ge=0, lt=1, description="Of the moving average of the weights, which is what ships.")
    hard: float = Field(1.0, gt=0, description="Relative Gram distance beyond which a style counts by its root.")
    tv_weight: float = Field(1.0, ge=0, description="Total variation: more gives smoother pictures.")
    steady: float = Field(
        20.0, ge=0, description="Difference made by moving the photo some px: more leaves less of a grid in flat areas."
    )
    seed: int = Field(0, ge=0, description="Of all that is drawn.")

    def rate_at(self, step: int) -> float:
        """Learning rate: linear rise, constant, half a cosine down to 0."""
        rise = min(1.0, (step + 1) / max(1, self.warm_up))
        falling = (step - self.steps * (1 - self.fall)) / max(1e-9, self.steps * self.fall)
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, falling))))

    def size_at(self, step: int) -> int:
        return self.sizes[min(step * len(self.sizes) // self.steps, len(self.sizes) - 1)]


class OneStyleSettings(Settings):
    """What the training of one style does."""

    steps: int = Field(
        ge=1, description="Steps in all; the learning rate falls over the last of them. Default: as --minutes says."
    )
    sizes: Sizes = Field(
        (256,),
        min_length=1,
        description="Sides of the crops in px, commas between, one after the other for an equal share of the steps; "
        "what is learned on smaller ones does not hold for large pictures.",
        json_schema_extra={"unit": "PX,PX"},
    )
    groups: int = Field(1, ge=1, description="Pairs of samples a step; more is steadier and slower.")
    warm_up: int = Field(20, ge=0, description="Steps over which the learning rate rises from 0.")
    fall: float = Field(0.7, ge=0, le=1, description="Share of the steps, the last, over which it falls to 0.")
    # Less than for any style: the network that it begins as has hardly a grid to lose.
    steady: float = Field(
        5.0, ge=0, description="Difference made by moving the photo some px: more leaves less of a grid in flat areas, "
        "and less texture."
    )  # fmt: skip
    average: float = Field(0.995, ge=0, lt=1, description="Of the moving average of the weights, which is kept.")
