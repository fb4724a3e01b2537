"""Any `torch.nn.Module` as a feature network: its submodules' outputs, by their dotted names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from impasto.errors import LayerError


@dataclass(frozen=True)
class ModuleLayer:
    """A submodule that may be asked for its output."""

    name: str


class StopForward(Exception):  # noqa: N818 - a signal, not an error
    """Raised by the last hook needed: the rest of the module is not run."""


class ModuleNet:
    """A module that reads pictures (n, 3, h, w), RGB in 0..1, and does its own preprocessing.

    Layers are the names of `module.named_modules()`; a layer's features are its output, (n, c, h, w) or (n, c).
    The module is run as it is, in evaluation mode, and its parameters take no gradients.
    """

    def __init__(self, module: nn.Module) -> None:
        self.name = type(module).__name__
        self.module = module.eval().requires_grad_(False)
        self._modules = {name: part for name, part in module.named_modules() if name}

    def layer(self, name: str) -> ModuleLayer:
        """The layer called `name`; LayerError, with the nearest name, where there is none."""
        if name not in self._modules:
            near = difflib.get_close_matches(name, self._modules, n=1, cutoff=0.0)
            hint = f": did you mean {near[0]!r}?" if near else ": it has no named submodules."
            raise LayerError(f"{self.name} has no layer {name!r}{hint}")
        return ModuleLayer(name)

    def check_size(self, height: int, width: int, layers: Iterable[str]) -> None:
        """LayerError if a picture of this size cannot be run; only a run can tell for a module."""
        parameter = next(self.module.parameters(), torch.zeros(()))
        try:
            with torch.no_grad():
                self.features(torch.zeros(1, 3, height, width, device=parameter.device), layers)
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise LayerError(f"{self.name} cannot run a {width}x{height} picture: {first}") from error

    def features(self, picture: Float[Tensor, "n 3 h w"], layers: Iterable[str]) -> dict[str, Tensor]:
        """Outputs of the named submodules as (n, c, h, w); the module runs no further than the last of them."""
        found: dict[str, Tensor] = {}
        missing = set(layers)
        order = list(dict.fromkeys(layers))

        def keep(name: str, output: Tensor) -> None:
            # A copy: a following in-place activation would change the features behind the loss's back.
            found[name] = (output if output.ndim == 4 else output.flatten(1)[:, :, None, None]).clone()
            missing.discard(name)
            if not missing:
                raise StopForward

        hooks = [
            self._modules[self.layer(name).name].register_forward_hook(
                lambda _module, _inputs, output, name=name: keep(name, output)
            )
            for name in order
        ]
        try:
            self.module(picture)
        except StopForward:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        if missing:
            raise LayerError(f"{self.name} never ran its layer {sorted(missing)[0]!r}: choose another.")
        return {name: found[name] for name in order}
