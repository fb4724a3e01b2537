"""Results that a benchmark keeps, so that it can be run again, or longer, without painting them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import impasto


def painted(session: impasto.Session, folder: Path, photo: Path, style: Path, **fields: Any) -> Path:
    """A pair's result as PHOTO-STYLE.png in a folder, painted where it is not there yet."""
    file = folder / f"{photo.stem}-{style.stem}.png"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        session.stylize(photo, style, **fields).save(file)
    return file
