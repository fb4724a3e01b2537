"""What pictures of one session share: networks, loaded once, and the codes of styles, worked out once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from impasto.nets.any_style import SHIPPED, AnyStyle, load_any_style
from impasto.nets.catalogue import network
from impasto.nets.cnn import Cnn


@dataclass
class Loaded:
    """Loads what is asked for, and keeps it."""

    backbones: dict[tuple[str, str | None], Cnn] = field(default_factory=dict)
    models: dict[tuple[Path, torch.device, torch.dtype], AnyStyle] = field(default_factory=dict)
    codes: dict[tuple[AnyStyle, bytes], Tensor] = field(default_factory=dict)

    def backbone(self, name: str, pooling: Literal["max", "avg"] | None) -> Cnn:
        if (name, pooling) not in self.backbones:
            self.backbones[name, pooling] = network(name, pooling=pooling)
        return self.backbones[name, pooling]

    def model(self, file: str | None, device: torch.device, dtype: torch.dtype) -> AnyStyle:
        """The any-style network of a file, or the one that ships with the program."""
        key = (Path(file) if file else SHIPPED, device, dtype)
        if key not in self.models:
            self.models[key] = load_any_style(key[0]).to(device, dtype)
        return self.models[key]

    def code(self, model: AnyStyle, digest: bytes, style: Callable[[], Tensor]) -> Tensor:
        """The code of a style; digest: of all that it depends on besides the model."""
        if (model, digest) not in self.codes:
            self.codes[model, digest] = model.encode(style().to(model.conv1.weight.device))
        return self.codes[model, digest]
