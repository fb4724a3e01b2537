"""Where a run stands: enough to go on from there in another process, and the files that hold it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.errors import UserError
from impasto.events import Entry

FORMAT = "impasto-snapshot-4"


@dataclass
class Snapshot:
    """scale: index of the scale being worked on; done: iterations done on it. picture: the next to be evaluated.

    good, good_gradient: the last picture whose objective was finite; no gradient is kept where the picture is changed
    in place. best: the best one of this scale, best_total its objective. coarse: the best one of the first scale, empty
    until that is over. optimizer: its tensors. failures: evaluations that were not finite, each of which halved the
    step size.
    """

    scale: int
    done: int
    picture: Tensor
    best: Tensor
    best_total: float
    good: Tensor
    good_gradient: Tensor
    coarse: Tensor
    optimizer: dict[str, Tensor]
    failures: int
    seconds: float
    history: list[Entry] = field(default_factory=list)

    TENSORS = ("picture", "best", "good", "good_gradient", "coarse")
    NUMBERS = ("scale", "done", "best_total", "failures", "seconds")

    def save(self, file: Path, job_json: str) -> None:
        """Write one safetensors file: under a temporary name first, so that a kill leaves the last good one."""
        # The same picture may stand for several of them: it is written once.
        owners = {id(getattr(self, name)): name for name in reversed(self.TENSORS)}
        same = {name: owners[id(getattr(self, name))] for name in self.TENSORS}
        tensors = {owner: getattr(self, owner) for owner in same.values()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.items()}
        metadata = {
            "format": FORMAT,
            "job": job_json,
            "same": json.dumps(same),
            "numbers": json.dumps({name: getattr(self, name) for name in self.NUMBERS}),
            "history": json.dumps([dataclasses.asdict(entry) for entry in self.history]),
        }
        temporary = file.with_suffix(".part")
        try:
            copies = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
            save_file(copies, str(temporary), metadata)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, file: Path, device: torch.device) -> Snapshot:
        """Read what `save` wrote; UserError for any other file."""
        try:
            with safe_open(str(file), framework="pt", device=str(device)) as opened:
                metadata = opened.metadata() or {}
                # In the file they lie anywhere, and some processors round products of what is not aligned otherwise.
                tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} is damaged and cannot be resumed: start the job again.") from error
        if metadata.get("format") != FORMAT:
            raise UserError(f"{file} is no checkpoint of this version of Impasto: start the job again.")
        optimizer = {
            name.removeprefix("optimizer."): tensor for name, tensor in tensors.items() if name.startswith("optimizer.")
        }
        return cls(
            **{name: tensors[owner] for name, owner in json.loads(metadata["same"]).items()},
            **json.loads(metadata["numbers"]),
            optimizer=optimizer,
            history=[Entry(**entry) for entry in json.loads(metadata["history"])],
        )


def saved_job(file: Path) -> str:
    """The job, as JSON, that a checkpoint belongs to; UserError for what is no checkpoint."""
    try:
        with safe_open(str(file), framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is damaged and cannot be resumed: start the job again.") from error
    if metadata.get("format") != FORMAT:
        raise UserError(f"{file} is no checkpoint of this version of Impasto: start the job again.")
    return str(metadata["job"])
