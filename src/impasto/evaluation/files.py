"""Text files, written whole or not at all."""

from __future__ import annotations

import secrets
from pathlib import Path

from impasto.errors import RunError, UserError


def check_target(file: Path) -> None:
    """UserError, before the work, for a file that could not be written."""
    if file.is_dir() or not file.resolve().parent.is_dir():
        what = "is a folder" if file.is_dir() else f"cannot be written, since there is no folder {file.parent}"
        raise UserError(f"{file} {what}: name a file in a folder that is there.")


def write_text(file: Path, text: str) -> None:
    """Whole or not at all."""
    part = file.resolve().with_name(f".impasto-{secrets.token_hex(8)}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file.resolve())
    except OSError as error:
        raise RunError(f"{file} could not be written ({error.strerror}): make room or choose another place.") from error
    finally:
        part.unlink(missing_ok=True)
