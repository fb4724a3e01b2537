"""What a search for layer weights does; the command line's options are derived from the fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LearningSettings(BaseModel):
    """What a search does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(60, ge=1, description="Settings tried in all; more comes nearer to the best.")
    pairs: int = Field(12, ge=1, description="Photos with a style to learn from; more carries over better.")
    pairs_a_trial: int = Field(
        4,
        ge=1,
        description="Pairs that each setting is tried on, others each generation; more is steadier.",
    )
    held_out: int = Field(6, ge=2, description="Pairs that only the check sees; more makes it surer.")
    size: int = Field(
        160,
        ge=48,
        description="Longest side of the runs; larger is slower, and nearer to real runs.",
        json_schema_extra={"unit": "PX"},
    )
    iterations: int = Field(40, ge=1, description="Of each run; more is slower, and nearer to real runs.")
    seed: int = Field(0, ge=0, description="Of the pairs drawn and of the search.")

    @property
    def scores(self) -> int:
        """Runs of a setting on a pair, about: those of the search, and three of the check."""
        return self.trials * min(self.pairs_a_trial, self.pairs) + 3 * self.held_out
