"""Where a training stands, in one safetensors file: tensors by name, everything else as JSON in the header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.errors import RunError, UserError

FORMAT = "impasto-training-1"


def save_checkpoint(file: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write under a temporary name first, so that a kill leaves the last good one."""
    temporary = file.with_suffix(".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(copies, str(temporary), {"format": FORMAT, "facts": json.dumps(facts)})
        temporary.replace(file)
    except (SafetensorError, OSError) as error:
        raise RunError(
            f"The checkpoint {file} could not be written ({error}): the training goes no further."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and facts; UserError for what `save_checkpoint` did not write."""
    try:
        with safe_open(str(file), framework="pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is no checkpoint, or is damaged: start from another one.") from error
    if header.get("format") != FORMAT:
        raise UserError(f"{file} is no training checkpoint of this version of Impasto.")
    return tensors, json.loads(header["facts"])


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those tensors whose names begin with the prefix, by the rest of their names."""
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }


def set_tensors(targets: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Copy values over tensors of the same names and shapes; UserError where they do not match."""
    with torch.no_grad():
        for name, target in targets.items():
            if name not in values or values[name].shape != target.shape:
                raise UserError(f"The checkpoint has no {name} of this network's shape: it is of another network.")
            target.copy_(values[name])
