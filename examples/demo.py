"""`make demo`: paint a real photo, public domain, from the scikit-image package, in one of the styles beside this."""

from __future__ import annotations

import sys
from pathlib import Path

import skimage

from impasto.cli.main import main

PHOTO = Path(skimage.__file__).parent / "data" / "chelsea.png"
STYLE = Path(__file__).parent / "styles" / "night.jpg"

if __name__ == "__main__":
    Path("out").mkdir(exist_ok=True)
    sys.exit(main([str(PHOTO), str(STYLE), "-o", "out/demo.png", "--size", "512", "--report", "out/demo-report"]))
