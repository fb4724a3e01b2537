"""Batches made ahead by other processes, so that a GPU does not wait while pictures are decoded and cropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from impasto.train.data import Batch, Source
from impasto.train.settings import Settings

# Batches that each process has ready.
READY = 3


@dataclass(frozen=True)
class Steps(Dataset[tuple[Batch, set[Path]]]):
    """The batches of a training from a step on, each with the files that could not be read until then."""

    source: Source
    settings: Settings
    groups: range
    first: int

    def __len__(self) -> int:
        return self.settings.steps - self.first

    def __getitem__(self, index: int) -> tuple[Batch, set[Path]]:
        step = self.first + index
        return self.source.batch(step, self.settings.size_at(step), self.groups), self.source.unread


class Ahead:
    """The batches of `source`, the same ones, made by `workers` processes; asked for step after step."""

    def __init__(self, source: Source, settings: Settings, workers: int) -> None:
        self.source, self.settings, self.workers = source, settings, workers
        self.unread: set[Path] = set()
        self.next = -1
        self.batches: Iterator[tuple[Batch, set[Path]]] = iter(())

    @property
    def skipped(self) -> int:
        return len(self.unread)

    def batch(self, step: int, size: int, groups: range) -> Batch:
        if step != self.next:
            loader = DataLoader(
                Steps(self.source, self.settings, groups, step),
                batch_size=None,
                num_workers=self.workers,
                prefetch_factor=READY,
                pin_memory=torch.cuda.is_available(),
                # The decoder's threads do not outlive a fork.
                multiprocessing_context="spawn",
            )
            self.batches = iter(loader)
        self.next = step + 1
        batch, unread = next(self.batches)
        self.unread |= unread
        return batch
